"""A default timeout, for the requests that set none."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Timeout

from requests_gracedb import GraceDBAdapter, TimeoutAdapter
from tests.conftest import mounted
from tests.loopback_server import Answer, LoopbackServer, silence, silence_at_once, slowly

adapter_classes = pytest.mark.parametrize("adapter_class", [TimeoutAdapter, GraceDBAdapter])

TIMEOUTS = [5, 0.5, (5, 60), (5.5, None), (None, 60), (None, None), None]


class RecordingAdapter(HTTPAdapter):
    """What the adapters under test hand on to the next."""

    timeouts: list[Any]

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> requests.Response:
        self.timeouts.append(timeout)
        return super().send(request, stream, timeout, *args, **kwargs)


class Alone(TimeoutAdapter, RecordingAdapter):
    pass


class Whole(GraceDBAdapter, RecordingAdapter):
    pass


recording_classes = pytest.mark.parametrize("adapter_class", [Alone, Whole])


@pytest.fixture
def timeouts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The timeouts of the requests that were sent."""
    timeouts: list[Any] = []
    monkeypatch.setattr(RecordingAdapter, "timeouts", timeouts, raising=False)
    return timeouts


@recording_classes
def test_the_default_is_10_seconds_to_connect_and_120_between_bytes(
    adapter_class: type[HTTPAdapter], server: LoopbackServer, timeouts: list[Any]
) -> None:
    with mounted(adapter_class()) as session:
        session.get(server.url)
    assert timeouts == [(10, 120)]


@recording_classes
@pytest.mark.parametrize("timeout", TIMEOUTS)
def test_a_request_that_sets_no_timeout_has_that_of_the_adapter(
    timeout: Any, adapter_class: type[Any], server: LoopbackServer, timeouts: list[Any]
) -> None:
    with mounted(adapter_class(timeout=timeout)) as session:
        session.get(server.url)
    assert timeouts == [timeout]


@recording_classes
@pytest.mark.parametrize("timeout", [3, (3, 4), (None, None), Timeout(5)])
@pytest.mark.parametrize("default", [1, 1000, None])
def test_the_timeout_of_the_request_comes_first(
    default: Any,
    timeout: Any,
    adapter_class: type[Any],
    server: LoopbackServer,
    timeouts: list[Any],
) -> None:
    with mounted(adapter_class(timeout=default)) as session:
        session.get(server.url, timeout=timeout)
    assert timeouts == [timeout]


@recording_classes
def test_every_hop_of_a_redirect_has_the_timeout(
    adapter_class: type[Any], server: LoopbackServer, timeouts: list[Any]
) -> None:
    server.script = [Answer(302, {"Location": "/there"})]
    with mounted(adapter_class(timeout=7)) as session:
        session.get(server.url)
    assert timeouts == [7, 7]


def test_a_request_that_is_sent_without_a_session_has_the_timeout(
    server: LoopbackServer, timeouts: list[Any]
) -> None:
    with mounted(Alone(timeout=7)) as session:
        session.adapters["http://"].send(requests.Request("GET", server.url).prepare()).close()
    assert timeouts == [7]


@adapter_classes
def test_a_server_that_is_silent_times_out(
    adapter_class: type[Any], server: LoopbackServer
) -> None:
    server.script = [silence]
    with mounted(adapter_class(timeout=(60, 0.1))) as session:
        with pytest.raises(requests.ReadTimeout):
            session.get(server.url)


@adapter_classes
def test_a_server_that_falls_silent_times_out(
    adapter_class: type[Any], server: LoopbackServer
) -> None:
    server.script = [Answer(200, {"Content-Length": "10"}, b"half ")]
    with mounted(adapter_class(timeout=(60, 1))) as session:
        with pytest.raises(requests.ConnectionError, match="Read timed out"):
            session.get(server.url)


@pytest.fixture
def crowded() -> Iterator[str]:
    """The URL of a server that lets nobody in any more."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        host, port = listener.getsockname()
        with socket.create_connection((host, port)):
            yield f"http://{host}:{port}/"


@adapter_classes
def test_a_server_that_lets_nobody_in_times_out(adapter_class: type[Any], crowded: str) -> None:
    with mounted(adapter_class(timeout=(0.1, 60), max_retries=0)) as session:
        with pytest.raises(requests.ConnectTimeout):
            session.get(crowded)


@adapter_classes
def test_the_timeout_of_the_connection_holds_for_the_tls_handshake(
    adapter_class: type[Any], tls_server: LoopbackServer, ca_bundle: str
) -> None:
    tls_server.greetings = [silence_at_once]
    with mounted(adapter_class(timeout=(0.1, None), max_retries=0), ca_bundle) as session:
        with pytest.raises(requests.ReadTimeout):
            session.get(tls_server.url)


@adapter_classes
def test_the_shorter_timeout_of_a_request_counts(
    adapter_class: type[Any], server: LoopbackServer
) -> None:
    server.script = [silence]
    with mounted(adapter_class(timeout=1000)) as session:
        with pytest.raises(requests.ReadTimeout):
            session.get(server.url, timeout=0.1)


@adapter_classes
def test_the_longer_timeout_of_a_request_counts(
    adapter_class: type[Any], server: LoopbackServer
) -> None:
    server.script = [slowly(b"HTTP/1.1 204 No Content\r\n\r\n", pause=0.01)]
    with mounted(adapter_class(timeout=(60, 0.001))) as session:
        assert session.get(server.url, timeout=60).status_code == 204


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 204 A\r\n\r\n", b"HTTP/1.1 200 A\r\nContent-Length: 2\r\n\r\nOK"]
)
def test_a_slow_server_does_not_time_out(answer: bytes, server: LoopbackServer) -> None:
    timeout = 1
    server.script = [slowly(answer, pause=1.2 * timeout / len(answer))]
    with mounted(TimeoutAdapter(timeout=timeout)) as session:
        assert session.get(server.url).ok


@adapter_classes
@pytest.mark.parametrize("timeout", [0, -1, 0.0, "soon", (0, 1), (1, 0), (1,), (1, 2, 3), True])
def test_a_timeout_that_is_no_positive_time_is_refused(
    timeout: Any, adapter_class: type[Any]
) -> None:
    with pytest.raises(ValueError):
        adapter_class(timeout=timeout)


@recording_classes
@pytest.mark.parametrize("timeout", TIMEOUTS)
def test_a_pickled_adapter_keeps_its_timeout(
    timeout: Any, adapter_class: type[Any], server: LoopbackServer, timeouts: list[Any]
) -> None:
    with mounted(pickle.loads(pickle.dumps(adapter_class(timeout=timeout)))) as session:
        session.get(server.url)
    assert timeouts == [timeout]
