"""Other people's plug-ins and sessions, and the tools that our users test their code with."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import gracedb_sdk
import pytest
import requests
import requests_mock
import responses
import vcr
from cachecontrol import CacheControlAdapter
from gracedb_sdk.api import API
from requests_cache import CachedSession
from requests_oauthlib import OAuth1Session, OAuth2Session
from requests_ratelimiter import LimiterAdapter
from requests_toolbelt import MultipartEncoder
from requests_toolbelt.sessions import BaseUrlSession
from tqdm import tqdm
from vcr.errors import CannotOverwriteExistingCassetteException
from vcr.request import Request as RecordedRequest

from requests_gracedb import FormData, GraceDBAdapter, GraceDBAuth, GraceDBRetry, __version__
from requests_gracedb.errors import raise_for_status
from requests_gracedb.testing import GraceDBServer
from tests.conftest import CONTENT, make_token, write_token
from tests.loopback_server import Answer, LoopbackServer, redirect

USER_AGENT = f"mine/1 requests_gracedb/{__version__}"
FRESH = {"Cache-Control": "max-age=60"}

# Where nobody listens: what answers there is a test tool.
URL = "https://gracedb.invalid/api/events/"


def mounted(session: requests.Session, *urls: str) -> requests.Session:
    """Mount the adapter, as a user does who has a session of any kind."""
    for url in urls:
        session.mount(url, GraceDBAdapter(user_agent="mine/1"))
    return session


def event(content: bytes | Path = CONTENT) -> FormData:
    """Make the form of an event."""
    return FormData({"group": "Test", "pipeline": "gstlal"}, {"eventFile": ("coinc.xml", content)})


def upload(session: requests.Session, url: str = URL, content: bytes | Path = CONTENT) -> str:
    """Upload an event: the code of a user, which has a test."""
    graceid: str = session.post(url, data=event(content)).json()["graceid"]
    return graceid


# CacheControl: an adapter, which mixes with ours.


class CachingFirst(CacheControlAdapter, GraceDBAdapter):
    pass


class CachingLast(GraceDBAdapter, CacheControlAdapter):
    pass


@pytest.fixture(params=[CachingFirst, CachingLast])
def caching(request: pytest.FixtureRequest) -> Iterator[requests.Session]:
    """A session that keeps what the server allows to keep."""
    with requests.Session() as session:
        session.mount("http://", request.param(user_agent="mine/1"))
        yield session


def test_cachecontrol_keeps_no_error(caching: requests.Session, server: LoopbackServer) -> None:
    server.script = [Answer(404, FRESH), Answer(200, FRESH, b"found")]
    with pytest.raises(requests.HTTPError):
        caching.get(server.url)
    assert caching.get(server.url).text == "found"


def test_cachecontrol_answers_without_the_server(
    caching: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(200, FRESH, b"found"), Answer(500)]
    assert [caching.get(server.url).text for _ in range(3)] == ["found"] * 3
    assert len(server.requests) == 1


def test_cachecontrol_asks_whether_an_answer_still_holds(
    caching: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(200, {"ETag": '"1"'}, b"found"), Answer(304, {"ETag": '"1"'})]
    assert [caching.get(server.url).text for _ in range(2)] == ["found"] * 2
    assert server.requests[1].headers["If-None-Match"] == '"1"'


def test_cachecontrol_takes_a_credential_to_no_other_origin(
    caching: requests.Session,
    server: LoopbackServer,
    other_server: LoopbackServer,
    token_file: Path,
) -> None:
    server.script = [redirect(other_server.url, 301)]
    auth = GraceDBAuth(server.url, token_file)
    for _ in range(2):
        caching.get(server.url, auth=auth)
    assert server.authorizations == [f"Bearer {token_file.read_text()}"]
    assert other_server.authorizations == [None, None]


def test_cachecontrol_lets_uploads_pass(caching: requests.Session, server: LoopbackServer) -> None:
    form = event()
    caching.post(server.url, data=form)
    assert server.requests[0].body == bytes(form)
    assert server.requests[0].headers["User-Agent"] == USER_AGENT


# requests-cache: a session, on which our adapter is mounted.


@pytest.fixture
def cached(server: LoopbackServer) -> Iterator[CachedSession]:
    """A session that keeps everything."""
    with CachedSession(backend="memory") as session:
        yield mounted(session, server.url)


def test_requests_cache_keeps_no_error(cached: CachedSession, server: LoopbackServer) -> None:
    server.script = [Answer(404), Answer(200, body=b"found")]
    with pytest.raises(requests.HTTPError):
        cached.get(server.url)
    assert cached.get(server.url).text == "found"


def test_requests_cache_answers_without_the_server(
    cached: CachedSession, server: LoopbackServer
) -> None:
    server.script = [Answer(200, body=b"found"), Answer(500)]
    assert [cached.get(server.url).text for _ in range(3)] == ["found"] * 3
    assert len(server.requests) == 1


def test_requests_cache_keeps_no_token(
    cached: CachedSession, server: LoopbackServer, token_file: Path
) -> None:
    cached.auth = GraceDBAuth(server.url, token_file)
    cached.get(server.url)
    (kept,) = cached.cache.responses.values()
    assert server.authorizations == [f"Bearer {token_file.read_text()}"]
    assert token_file.read_text() not in str(kept.request.headers)


def test_a_redirect_into_the_cache_of_requests_cache_has_lost_the_upload(
    cached: CachedSession, server: LoopbackServer
) -> None:
    cached.get(f"{server.url}/api/events/")
    server.script = [redirect("/api/events/")]
    with pytest.raises(requests.HTTPError, match="without the body"):
        cached.post(f"{server.url}/api/events", data=b"an event")


def test_requests_cache_lets_uploads_pass(cached: CachedSession, server: LoopbackServer) -> None:
    form = event()
    for _ in range(2):
        cached.post(server.url, data=form)
    assert [received.body for received in server.requests] == [bytes(form)] * 2


# requests-toolbelt.


def test_a_base_url_session_uploads_to_what_is_relative(server: LoopbackServer) -> None:
    server.script = [Answer(201, body=b'{"graceid": "T0001"}')]
    with mounted(BaseUrlSession(f"{server.url}/api/"), server.url) as session:
        assert upload(session, "events/") == "T0001"
    assert server.requests[0].target == "/api/events/"


def test_a_base_url_session_raises(server: LoopbackServer) -> None:
    server.script = [Answer(404)]
    with mounted(BaseUrlSession(f"{server.url}/api/"), server.url) as session:
        with pytest.raises(requests.HTTPError, match="/api/events/G1/"):
            session.get("events/G1/")


def test_a_multipart_encoder_arrives_as_it_is(server: LoopbackServer) -> None:
    encoder = MultipartEncoder({"group": "Test", "eventFile": ("coinc.xml", CONTENT, "text/xml")})
    headers = {"Content-Type": encoder.content_type}
    expected = MultipartEncoder(encoder.fields, encoder.boundary_value).to_string()
    with mounted(requests.Session(), server.url) as session:
        session.post(server.url, data=encoder, headers=headers)
    (received,) = server.requests
    assert received.body == expected
    assert received.headers["Content-Type"] == encoder.content_type


def test_a_multipart_encoder_is_not_sent_when_nothing_is_left_in_it(
    server: LoopbackServer,
) -> None:
    server.script = [Answer(503, {"Retry-After": "0"})]
    encoder = MultipartEncoder({"eventFile": ("coinc.xml", CONTENT)})
    with mounted(requests.Session(), server.url) as session:
        with pytest.raises(requests.HTTPError, match="503"):
            session.post(server.url, data=encoder)
    assert len(server.requests) == 1


# requests-ratelimiter, on pyrate-limiter.


class LimitedFirst(LimiterAdapter, GraceDBAdapter):
    pass


class LimitedLast(GraceDBAdapter, LimiterAdapter):
    pass


@pytest.fixture(params=[LimitedFirst, LimitedLast])
def limited(request: pytest.FixtureRequest) -> Iterator[requests.Session]:
    """A session with two requests left."""
    with requests.Session() as session:
        session.mount("http://", request.param(per_hour=2, max_delay=0, user_agent="mine/1"))
        yield session


def test_a_limit_of_requests_ratelimiter_holds(
    limited: requests.Session, server: LoopbackServer
) -> None:
    for _ in range(2):
        limited.get(server.url)
    with pytest.raises(requests.Timeout, match="Rate limit"):
        limited.get(server.url)
    assert len(server.requests) == 2


def test_an_adapter_with_a_limit_raises(limited: requests.Session, server: LoopbackServer) -> None:
    server.script = [Answer(404)]
    with pytest.raises(requests.HTTPError, match="404"):
        limited.get(server.url)
    assert server.requests[0].headers["User-Agent"] == USER_AGENT


def test_an_adapter_with_a_limit_uploads(limited: requests.Session, server: LoopbackServer) -> None:
    form = event()
    limited.post(server.url, data=form)
    assert server.requests[0].body == bytes(form)


@pytest.mark.parametrize("adapter_class", [LimitedFirst, LimitedLast])
def test_an_adapter_with_a_limit_takes_all_parameters(adapter_class: type[GraceDBAdapter]) -> None:
    adapter = adapter_class(per_hour=2, timeout=3, max_retries=0, pool_maxsize=4)
    assert (adapter.timeout, adapter.max_retries.total, adapter._pool_maxsize) == (3, 0, 4)
    adapter.close()


# requests-oauthlib: sessions that have a credential of their own.


def test_an_oauth2_session_sends_its_token(tls_server: LoopbackServer, ca_bundle: str) -> None:
    token = {"access_token": "access", "token_type": "Bearer"}
    with mounted(OAuth2Session(token=token), tls_server.url) as session:
        session.verify = ca_bundle
        session.post(tls_server.url, data=event())
    assert tls_server.authorizations == ["Bearer access"]
    assert CONTENT in tls_server.requests[0].body


def test_an_oauth2_session_raises(tls_server: LoopbackServer, ca_bundle: str) -> None:
    tls_server.script = [Answer(403, {"Content-Type": "text/plain"}, b"No.")]
    token = {"access_token": "access", "token_type": "Bearer"}
    with mounted(OAuth2Session(token=token), tls_server.url) as session:
        session.verify = ca_bundle
        with pytest.raises(requests.HTTPError, match="403 .*: No.$"):
            session.get(tls_server.url)


def test_an_oauth1_session_signs_what_the_adapter_sends(server: LoopbackServer) -> None:
    form = event()
    with mounted(OAuth1Session("client", client_secret="secret"), server.url) as session:
        session.post(server.url, data=form)
    (received,) = server.requests
    assert str(received.authorization).startswith("OAuth ")
    assert received.headers["Content-Type"] == form.content_type
    assert received.body == bytes(form)


# tqdm.


@pytest.fixture
def bar() -> Iterator[tqdm]:
    """A progress bar for bytes."""
    with tqdm(file=io.StringIO(), unit="B", unit_scale=True) as bar:
        yield bar


@pytest.fixture
def watched(bar: tqdm, tmp_path: Path) -> FormData:
    """A form of several blocks, with a bar that shows its progress."""
    path = tmp_path / "big.fits"
    path.touch()
    os.truncate(path, 1024 * 1024)
    form = FormData({"comment": "sky map"}, {"upload": path}, progress=bar.update)
    bar.reset(total=len(form))
    return form


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([], id="at once"),
        pytest.param([Answer(503, {"Retry-After": "0"})], id="after a retry"),
        pytest.param([redirect("/elsewhere", 307)], id="after a redirect"),
    ],
)
def test_a_progress_bar_ends_at_its_total(
    script: list[Answer], bar: tqdm, watched: FormData, server: LoopbackServer
) -> None:
    server.script = [*script]
    with mounted(requests.Session(), server.url) as session:
        session.post(server.url, data=watched)
    assert len(server.requests) == len(script) + 1
    assert bar.n == bar.total == len(watched)


def test_a_progress_bar_ends_at_its_total_with_a_new_token(
    bar: tqdm, watched: FormData, server: LoopbackServer, token_file: Path
) -> None:
    server.script = [Answer(401)]
    with mounted(requests.Session(), server.url) as session:
        session.auth = GraceDBAuth(server.url, token_file, auth_reload=True)
        write_token(token_file, make_token(name="second"))
        session.post(server.url, data=watched)
    assert len(server.requests) == 2
    assert bar.n == bar.total == len(watched)


# The tools that users test their code with. What is below is what they would write.


@pytest.fixture
def tested() -> Iterator[requests.Session]:
    """The session of the code that is tested."""
    with mounted(requests.Session(), "https://gracedb.invalid/") as session:
        yield session


@responses.activate
def test_responses_sees_what_is_uploaded(tested: requests.Session) -> None:
    responses.post(
        URL,
        json={"graceid": "T0001"},
        match=[lambda request: (CONTENT in bytes(request.body), "it is not the right file")],
    )
    assert upload(tested) == "T0001"
    assert b'name="group"\r\n\r\nTest\r\n' in bytes(responses.calls[0].request.body)


@responses.activate
def test_responses_refuses_another_file(tested: requests.Session) -> None:
    responses.post(
        URL,
        json={"graceid": "T0001"},
        match=[lambda request: (CONTENT in bytes(request.body), "it is not the right file")],
    )
    with pytest.raises(requests.ConnectionError, match="it is not the right file"):
        upload(tested, content=b"another")


@responses.activate
def test_responses_makes_errors(tested: requests.Session) -> None:
    responses.post(URL, status=403, json={"detail": "No."})
    with pytest.raises(requests.HTTPError, match=r"403 .*: No\. \("):
        upload(tested)


@responses.activate
def test_responses_makes_retries(tested: requests.Session) -> None:
    tested.mount(URL, GraceDBAdapter(max_retries=GraceDBRetry(backoff_factor=0)))
    busy = responses.post(URL, status=503, headers={"Retry-After": "0"})
    responses.post(URL, json={"graceid": "T0001"})
    assert upload(tested) == "T0001"
    assert busy.call_count == 1


def test_requests_mock_sees_what_is_uploaded(tested: requests.Session) -> None:
    with requests_mock.Mocker() as mocker:
        mocker.post(
            URL,
            json={"graceid": "T0001"},
            additional_matcher=lambda request: CONTENT in bytes(request.body),
        )
        assert upload(tested) == "T0001"
    assert b'name="group"\r\n\r\nTest\r\n' in bytes(mocker.last_request.body)


def test_requests_mock_refuses_another_file(tested: requests.Session) -> None:
    with requests_mock.Mocker() as mocker:
        mocker.post(URL, additional_matcher=lambda request: CONTENT in bytes(request.body))
        with pytest.raises(requests_mock.NoMockAddress):
            upload(tested, content=b"another")


def test_requests_mock_makes_errors_with_our_hook(tested: requests.Session) -> None:
    # It takes the place of every adapter, and so of the one that would raise.
    tested.hooks["response"].append(raise_for_status)
    with requests_mock.Mocker() as mocker:
        mocker.post(URL, status_code=403, text="No.")
        with pytest.raises(requests.HTTPError, match=r"403 .*: No\. \("):
            upload(tested)


def plain(request: RecordedRequest) -> RecordedRequest:
    """Make of a small form what vcrpy can compare: a boundary that stays."""
    media_type, _, boundary = request.headers.get("Content-Type", "").partition("; boundary=")
    if boundary in ("", "boundary"):
        return request
    body = request.body.replace(boundary.encode(), b"boundary")
    headers = {**request.headers, "Content-Type": f"{media_type}; boundary=boundary"}
    return RecordedRequest(request.method, request.uri, body, headers)


@pytest.fixture
def recorder(tmp_path: Path) -> vcr.VCR:
    """What records, but no token, and plays what has been recorded."""
    return vcr.VCR(
        cassette_library_dir=str(tmp_path),
        filter_headers=["Authorization"],
        before_record_request=plain,
        match_on=["method", "uri", "body"],
    )


def test_vcrpy_plays_an_upload(recorder: vcr.VCR, server: LoopbackServer) -> None:
    server.script = [Answer(201, body=b'{"graceid": "T0001"}')]
    for _ in range(2):
        with recorder.use_cassette("upload"), mounted(requests.Session(), server.url) as session:
            assert upload(session, server.url) == "T0001"
    assert len(server.requests) == 1
    assert CONTENT in server.requests[0].body


def test_vcrpy_refuses_another_file(recorder: vcr.VCR, server: LoopbackServer) -> None:
    server.script = [Answer(201, body=b'{"graceid": "T0001"}')]
    with recorder.use_cassette("upload"), mounted(requests.Session(), server.url) as session:
        upload(session, server.url)
    with recorder.use_cassette("upload"), mounted(requests.Session(), server.url) as session:
        with pytest.raises(CannotOverwriteExistingCassetteException):
            upload(session, server.url, b"another")


def test_vcrpy_plays_an_error(recorder: vcr.VCR, server: LoopbackServer) -> None:
    server.script = [Answer(403, {"Content-Type": "text/plain"}, b"No.")]
    for _ in range(2):
        with recorder.use_cassette("error"), mounted(requests.Session(), server.url) as session:
            with pytest.raises(requests.HTTPError, match=r"403 .*: No\. \("):
                upload(session, server.url)
    assert len(server.requests) == 1


def test_vcrpy_writes_no_token(
    recorder: vcr.VCR, server: LoopbackServer, token_file: Path, tmp_path: Path
) -> None:
    with recorder.use_cassette("cassette"), mounted(requests.Session(), server.url) as session:
        session.get(server.url, auth=GraceDBAuth(server.url, token_file))
    assert server.authorizations == [f"Bearer {token_file.read_text()}"]
    assert token_file.read_text() not in (tmp_path / "cassette").read_text()


# gracedb-sdk: GraceDB's API, over a session.


@pytest.fixture
def api(gracedb: GraceDBServer, tmp_path: Path) -> Iterator[API]:
    """It, over any session with our adapter and our auth object."""
    token = write_token(tmp_path / "token", gracedb.token())
    with mounted(requests.Session(), gracedb.url) as session:
        session.verify = gracedb.ca_bundle
        session.auth = GraceDBAuth(gracedb.url, token)
        yield API(gracedb.url, session)


@pytest.fixture
def graceid(api: API) -> str:
    """An event that it has created."""
    created = api.events.create(
        group="Test", pipeline="gstlal", filename="coinc.xml", filecontents=CONTENT
    )
    return str(created["graceid"])


def test_the_sdk_reads_back_what_it_uploads(api: API, graceid: str) -> None:
    assert api.events[graceid].files["coinc.xml"].get().read() == CONTENT


def test_the_sdk_finds_what_it_creates(api: API, graceid: str) -> None:
    found = api.events.search(query=graceid)
    assert [event["graceid"] for event in found] == [graceid]


def test_the_sdk_writes_log_entries(api: API, graceid: str) -> None:
    logs = api.events[graceid].logs
    logs.create(comment="sky map", filename="bayestar.fits", filecontents=CONTENT, tags=["public"])
    entry = logs.get()[-1]
    assert (entry["comment"], entry["filename"]) == ("sky map", "bayestar.fits")


def test_the_sdk_raises(api: API) -> None:
    with pytest.raises(requests.HTTPError, match="404 "):
        api.events["G1"].get()


def test_the_sdk_does_not_lose_a_file_that_it_is_given_as_a_path(api: API) -> None:
    with pytest.raises(ValueError, match="FormData"):
        api.events.create(group="Test", pipeline="gstlal", filename="coinc.xml")


def test_beside_the_sdk_a_file_is_read_from_disk_while_it_is_sent(
    api: API, tmp_path: Path
) -> None:
    path = tmp_path / "coinc.xml"
    path.write_bytes(CONTENT)
    graceid = upload(api.session, api.events.url, path)
    assert api.events[graceid].files["coinc.xml"].get().read() == CONTENT


def test_the_client_of_the_sdk_has_a_session_of_ours(
    gracedb: GraceDBServer, tmp_path: Path
) -> None:
    token = write_token(tmp_path / "token", gracedb.token())
    with gracedb_sdk.Client(gracedb.url, token=str(token), auth_reload=True) as client:
        client.session.verify = gracedb.ca_bundle
        with pytest.raises(requests.HTTPError, match="404 "):
            client.events["G1"].get()
