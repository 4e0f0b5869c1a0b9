"""Tools that put something in the place of connections, or look at them: recording, and playing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import requests_mock
import responses
import vcr
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from requests_gracedb import ConnectionAdapter, FormData, GraceDBAdapter
from tests.loopback_server import Answer, Handler, LoopbackServer, drop

# Where nobody listens: what answers there is a test tool.
NOWHERE = "https://gracedb.invalid/api/"


@pytest.fixture(params=[ConnectionAdapter, GraceDBAdapter])
def session(request: pytest.FixtureRequest, ca_bundle: str) -> Iterator[requests.Session]:
    """A session with a connection of its own kind."""
    with requests.Session() as session:
        session.verify = ca_bundle
        adapter = request.param(idle_timeout=30)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        yield session


def form() -> FormData:
    """Make a form, whose body is an iterable."""
    return FormData({"group": "Test"}, {"eventFile": ("coinc.xml", b"event")})


def hint(handler: Handler) -> None:
    """Answer with an interim response first, which connections of ours skip."""
    handler.wfile.write(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")


# pyOpenSSL puts its own TLS into urllib3, for a whole process.

WITH_PYOPENSSL = """
import sys
import requests
from urllib3.contrib import pyopenssl
from requests_gracedb import ConnectionAdapter

pyopenssl.inject_into_urllib3()
url, ca_bundle = sys.argv[1:]
with requests.Session() as session:
    session.mount("https://", ConnectionAdapter())
    for verify in (ca_bundle, ca_bundle, False, False):
        print(session.get(url, verify=verify, headers={"Connection": "close"}).status_code)
    try:
        session.get(url, verify=True, headers={"Connection": "close"})
    except requests.exceptions.SSLError:
        print("refused")
"""


def test_pyopenssl_verifies_connection_after_connection(
    tls_server: LoopbackServer, ca_bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    command = [sys.executable, "-W", "ignore", "-c", WITH_PYOPENSSL, tls_server.url, ca_bundle]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.stdout.split(), result.stderr) == ([*["200"] * 4, "refused"], "")


# vcrpy puts its own connections into the pools.


def test_vcrpy_records_and_plays_back(
    session: requests.Session, tls_server: LoopbackServer, tmp_path: Path
) -> None:
    tls_server.answer = lambda received: Answer(201, {"Keep-Alive": "timeout=5"}, b"recorded")
    cassette = str(tmp_path / "cassette.yaml")
    texts = []
    for _ in range(2):
        with vcr.use_cassette(cassette):
            texts += [session.post(tls_server.url, data=form()).text for _ in range(2)]
    assert texts == ["recorded"] * 4
    assert len(tls_server.requests) == 2


def test_vcrpy_leaves_connections_as_they_were(
    session: requests.Session, server: LoopbackServer, tmp_path: Path
) -> None:
    session.get(server.url)
    with vcr.use_cassette(str(tmp_path / "cassette.yaml")):
        session.get(server.url)
    session.get(server.url)
    server.script = [hint]
    assert session.get(server.url).status_code == 204  # These are ours again.


def test_vcrpy_finds_an_adapter_that_was_made_while_it_recorded(
    server: LoopbackServer, tmp_path: Path
) -> None:
    with requests.Session() as session:
        with vcr.use_cassette(str(tmp_path / "cassette.yaml")) as cassette:
            session.mount("http://", GraceDBAdapter())
            session.get(server.url)
            assert len(cassette) == 1
        session.get(server.url)
    assert len(server.requests) == 2


# responses and requests-mock take the place of the adapter.


def test_responses_plays_back(session: requests.Session) -> None:
    with responses.RequestsMock() as played:
        played.post(NOWHERE, status=201, body="played")
        assert session.post(NOWHERE, data=form()).text == "played"


def test_responses_records(
    session: requests.Session, server: LoopbackServer, tmp_path: Path
) -> None:
    from responses import _recorder

    server.answer = lambda received: Answer(201, body=b"recorded")
    path = tmp_path / "recorded.yaml"

    @_recorder.record(file_path=path)  # type: ignore[untyped-decorator]
    def record() -> None:
        session.post(server.url)

    record()
    with responses.RequestsMock() as played:
        played._add_from_file(path)
        assert session.post(server.url).text == "recorded"
    assert len(server.requests) == 1


def test_requests_mock_plays_back_and_lets_others_pass(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.answer = lambda received: Answer(body=b"real")
    with requests_mock.Mocker(session=session, real_http=True) as played:
        played.post(NOWHERE, text="played")
        assert session.post(NOWHERE, data=form()).text == "played"
        assert session.get(server.url).text == "real"


# OpenTelemetry wraps a method of the session, and one of urllib3's pools.


@pytest.fixture(params=[RequestsInstrumentor, URLLib3Instrumentor])
def spans(request: pytest.FixtureRequest) -> Iterator[InMemorySpanExporter]:
    """What an instrumentation sees."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = request.param()
    instrumentor.instrument(tracer_provider=provider)
    yield exporter
    instrumentor.uninstrument()
    provider.shutdown()


def test_opentelemetry_sees_a_request(
    spans: InMemorySpanExporter, session: requests.Session, tls_server: LoopbackServer
) -> None:
    session.post(tls_server.url, data=form())
    (span,) = spans.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["http.method"] == "POST"
    assert span.attributes["http.status_code"] == 200
    assert tls_server.requests[0].headers["traceparent"]


def test_opentelemetry_sees_what_fails(
    spans: InMemorySpanExporter, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [drop]
    with pytest.raises(requests.ConnectionError):
        session.post(server.url)
    (span,) = spans.get_finished_spans()
    assert not span.status.is_ok


def test_opentelemetry_sees_nothing_afterwards(
    session: requests.Session, server: LoopbackServer
) -> None:
    instrumentor = URLLib3Instrumentor()
    instrumentor.instrument(tracer_provider=TracerProvider())
    session.get(server.url)
    instrumentor.uninstrument()
    session.get(server.url)
    assert ["traceparent" in received.headers for received in server.requests] == [True, False]
