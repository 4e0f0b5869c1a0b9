"""A module as users write it, with every public name: type checkers find no fault with it.

It is never run; see `tests.contract.test_types`.
"""

from __future__ import annotations

import pickle
from io import BytesIO
from pathlib import Path

import requests
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.util import Retry

import requests_gracedb
from requests_gracedb import (
    AuthAdapter,
    BasicAuth,
    ConnectionAdapter,
    ErrorAdapter,
    FileAdapter,
    FormData,
    GraceDBAdapter,
    GraceDBAuth,
    GraceDBRetry,
    InsecureTransportError,
    NetrcAuth,
    NoAuth,
    RedirectAdapter,
    RetryAdapter,
    SciTokenAuth,
    Session,
    TimeoutAdapter,
    UserAgentAdapter,
    __version__,
)

URL = "https://gracedb.ligo.org/api/"


class Marked(GraceDBAdapter):
    """An adapter with a behaviour and a parameter of its own."""

    def __init__(self, mark: str, timeout: float | None = None) -> None:
        super().__init__(timeout=timeout, user_agent="mine/1")
        self.mark = mark

    def add_headers(self, request: PreparedRequest, **kwargs: object) -> None:
        super().add_headers(request, **kwargs)
        request.headers["X-Mark"] = self.mark

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float | None, float | None] | None = None,
        verify: bool | str = True,
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: dict[str, str] | None = None,
    ) -> Response:
        return super().send(request, stream, timeout, verify, cert, proxies)


class Some(UserAgentAdapter, RetryAdapter, ConnectionAdapter, ErrorAdapter, AuthAdapter):
    """A choice of behaviours."""


class Patient(GraceDBRetry):
    """A rule of one's own."""

    retry_after_limit = 3600


def adapters() -> list[HTTPAdapter]:
    return [
        ErrorAdapter(),
        FileAdapter(pool_maxsize=2),
        GraceDBAdapter(),
        GraceDBAdapter(
            timeout=(3.05, None),
            max_retries=0,
            user_agent="mine/1",
            pool_connections=1,
            pool_maxsize=2,
            pool_block=True,
        ),
        Marked("mark"),
        RedirectAdapter(pool_maxsize=2),
        RetryAdapter(max_retries=GraceDBRetry(total=3, backoff_factor=0.1)),
        RetryAdapter(max_retries=Retry(3)),
        RetryAdapter(max_retries=Patient()),
        Some(max_retries=3, user_agent="mine/1"),
        TimeoutAdapter(timeout=10),
        TimeoutAdapter(timeout=None),
        UserAgentAdapter(user_agent="mine/1"),
    ]


def auths(path: Path) -> list[AuthBase | None]:
    return [
        GraceDBAuth(),
        GraceDBAuth(URL, fail_if_noauth=True),
        GraceDBAuth(URL, path, auth_reload=True, auth_reload_timeout=60),
        GraceDBAuth(url=URL, username="albert.einstein", password="password"),
        GraceDBAuth(force_noauth=True),
        BasicAuth("albert.einstein", "password"),
        NetrcAuth(URL),
        NoAuth(),
        SciTokenAuth("/run/user/1000/bt_u1000"),
        SciTokenAuth(path, auth_reload=True),
        SciTokenAuth.discover(auth_reload=True),
    ]


def forms(path: Path) -> list[FormData]:
    opened = path.open("rb")
    fields: list[tuple[str, str]] = [("tagname", "sky_loc"), ("tagname", "public")]
    files: dict[str, Path] = {"upload": path}
    done: list[int] = []
    return [
        FormData(),
        FormData({"group": "Test", "offline": True, "gpstime": 1187008882.4, "search": None}),
        FormData({"comment": "sky map", "tagname": ["sky_loc", "public"]}, files),
        FormData(fields, [("upload", opened), ("upload", BytesIO(b"content"))]),
        FormData(files={"upload": ("bayestar.fits.gz",)}),
        FormData(files={"upload": ("plot.png", None, "image/png", {"X-Run": "O4"})}),
        FormData(files={"upload": [path, b"content", "text"]}, progress=done.append),
    ]


def upload(session: requests.Session, path: Path) -> str:
    form = FormData({"group": "Test", "pipeline": "gstlal"}, {"eventFile": path})
    length: int = len(form)
    content: bytes = bytes(form)
    pieces: list[bytes] = list(form)
    if length != len(content) or content != b"".join(pieces):
        raise ValueError(form.content_type)
    try:
        response = session.post(f"{URL}events/", data=form)
    except InsecureTransportError as error:
        raise SystemExit(str(error)) from error
    except requests.HTTPError as error:
        if error.response is not None and error.response.status_code == 409:
            return ""
        raise
    graceid: str = response.json()["graceid"]
    return graceid


def main(path: Path) -> None:
    session = requests.Session()
    for adapter in adapters():
        session.mount(URL, adapter)
    for auth in auths(path):
        session.get(URL, auth=auth)
    for form in forms(path):
        session.post(URL, data=form, headers={"Content-Type": form.content_type})
        requests.put(URL, data=form, timeout=3)
    session.auth = GraceDBAuth(URL)
    facts = session.auth.describe()
    print(__version__, requests_gracedb.__version__, facts["problem"], upload(session, path))
    copy: requests.Session = pickle.loads(pickle.dumps(session))
    copy.close()
    with Session(URL, token=str(path), auth_reload=True) as other:
        other.get(URL)
    Session(username="albert.einstein", password="password").close()


def mistakes() -> None:
    """What type checkers must find: each complains if one of these comments is not needed."""
    FormData(["group"])  # type: ignore[list-item]
    FormData(progress=3)  # type: ignore[arg-type]
    GraceDBAdapter(timeout="3")  # type: ignore[arg-type]
    GraceDBAdapter(user_agent=1)  # type: ignore[arg-type]
    GraceDBAuth(URL, cert="cert.pem")  # type: ignore[call-arg]
    RetryAdapter(max_retries="3")  # type: ignore[arg-type]
    SciTokenAuth()  # type: ignore[call-arg]
    TimeoutAdapter(timeout=(1, 2, 3))  # type: ignore[arg-type]
    Session(URL, timeout=3)  # type: ignore[call-arg]
