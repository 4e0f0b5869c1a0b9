"""Each adapter alone, and ours with those of others."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

import requests_gracedb
from requests_gracedb import ErrorAdapter, GraceDBAdapter, UserAgentAdapter, __version__
from tests.conftest import mounted
from tests.contract.conftest import ADAPTERS
from tests.loopback_server import Answer, LoopbackServer

every_adapter = pytest.mark.parametrize("adapter_class", ADAPTERS)


class ForeignAdapter(HTTPAdapter):
    """An adapter as anyone may have written it, with a parameter and two overridden methods."""

    def __init__(self, *args: Any, mark: str = "", **kwargs: Any) -> None:
        self.mark = mark
        super().__init__(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "mark": self.mark}

    def add_headers(self, request: requests.PreparedRequest, **kwargs: Any) -> None:
        super().add_headers(request, **kwargs)
        request.headers["X-Mark"] = self.mark

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        response = super().send(*args, **kwargs)
        response.headers["X-Mark"] = self.mark
        return response


class OursFirst(GraceDBAdapter, ForeignAdapter):
    pass


class TheirsFirst(ForeignAdapter, GraceDBAdapter):
    pass


class Some(UserAgentAdapter, ForeignAdapter, ErrorAdapter):
    pass


def test_every_public_adapter_is_a_base_of_gracedb_adapter() -> None:
    public = {name for name in requests_gracedb.__all__ if name.endswith("Adapter")}
    assert public - {"GraceDBAdapter"} == {base.__name__ for base in GraceDBAdapter.__bases__}


@every_adapter
def test_each_adapter_mounts_alone(
    adapter_class: type[HTTPAdapter], server: LoopbackServer
) -> None:
    with mounted(adapter_class()) as session:
        assert session.get(server.url).status_code == 200


@every_adapter
def test_each_adapter_takes_the_parameters_of_requests(adapter_class: type[HTTPAdapter]) -> None:
    adapter = adapter_class(pool_connections=1, pool_maxsize=2, max_retries=3, pool_block=True)
    assert (adapter._pool_connections, adapter._pool_maxsize, adapter._pool_block) == (1, 2, True)
    assert adapter.max_retries.total == 3


@pytest.mark.parametrize("adapter_class", [OursFirst, TheirsFirst, Some])
def test_a_mixture_with_the_adapter_of_others_does_what_theirs_does(
    adapter_class: type[ForeignAdapter], server: LoopbackServer
) -> None:
    with mounted(adapter_class(mark="theirs")) as session:
        response = session.get(server.url)
    assert server.requests[0].headers["X-Mark"] == "theirs"
    assert response.headers["X-Mark"] == "theirs"


@pytest.mark.parametrize("adapter_class", [OursFirst, TheirsFirst, Some])
def test_a_mixture_with_the_adapter_of_others_does_what_ours_do(
    adapter_class: type[ForeignAdapter], server: LoopbackServer
) -> None:
    server.script = [Answer(404)]
    with mounted(adapter_class(user_agent="mine/1")) as session:
        with pytest.raises(requests.HTTPError):
            session.get(server.url)
    assert server.requests[0].headers["User-Agent"] == f"mine/1 requests_gracedb/{__version__}"


@pytest.mark.parametrize("adapter_class", [OursFirst, TheirsFirst, Some])
def test_a_mixture_with_the_adapter_of_others_pickles(
    adapter_class: type[ForeignAdapter], server: LoopbackServer
) -> None:
    adapter = adapter_class(mark="theirs", user_agent="mine/1")
    with mounted(pickle.loads(pickle.dumps(adapter))) as session:
        session.get(server.url)
    headers = server.requests[0].headers
    assert headers["X-Mark"] == "theirs"
    assert headers["User-Agent"] == f"mine/1 requests_gracedb/{__version__}"
