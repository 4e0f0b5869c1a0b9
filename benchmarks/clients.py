"""The clients that are compared, each used as its own documentation says.

Each runs in a process of its own, which does a job for every line that it reads: see `main`. The
process of requests-gracedb 1.0.0, which has the name of this package, runs this very file in an
environment that has nothing of ours. So only the standard library is imported here at the top.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import ssl
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import requests

LARGE_BLOCKS = 256 * 1024


@dataclass(frozen=True)
class Target:
    """Where to send requests.

    Parameters
    ----------
    url : str
        The root of the server, without a slash at the end.
    ca_bundle : str
        The path of the CA certificate.
    token_file : str
        The path of a bearer token.
    """

    url: str
    ca_bundle: str
    token_file: str

    @property
    def headers(self) -> dict[str, str]:
        """The token, for clients that know no token files."""
        with open(self.token_file) as file:
            return {"Authorization": f"Bearer {file.read()}"}


class Client(ABC):
    """A client that uploads files.

    Parameters
    ----------
    target : Target
    pool_size : int
        How many connections to keep.

    Attributes
    ----------
    name : str
        What it is called in the tables.
    usage : str
        How it uploads a file.
    """

    name: ClassVar[str]
    usage: ClassVar[str]

    def __init__(self, target: Target, pool_size: int = 10) -> None:
        self.target = target
        self.pool_size = pool_size

    @abstractmethod
    def get(self, path: str) -> str:
        """Get a page, which may be missing.

        Parameters
        ----------
        path : str

        Returns
        -------
        str
            The number of the connection.
        """

    @abstractmethod
    def upload(self, path: str, to: str = "/") -> str:
        """Upload a file.

        Parameters
        ----------
        path : str
            Of the file.
        to : str
            The path on the server.

        Returns
        -------
        str
            What the server says.
        """

    def time_uploads(self, path: str, times: int) -> float:
        """Upload a file a number of times over a connection that is open already.

        Parameters
        ----------
        path : str
        times : int

        Returns
        -------
        float
            Seconds for one.
        """
        self.get("/")
        start = time.perf_counter()
        for _ in range(times):
            self.upload(path)
        return (time.perf_counter() - start) / times

    def peak_growth(self, path: str) -> int:
        """Upload a file in this process, which has done nothing else yet.

        Parameters
        ----------
        path : str

        Returns
        -------
        int
            How many bytes more memory than before it took at most.
        """
        self.get("/")
        before = _resident("VmRSS")
        self.upload(path)
        return _resident("VmHWM") - before


class SessionClient(Client):
    """A client with a `requests.Session`."""

    def __init__(self, target: Target, pool_size: int = 10) -> None:
        super().__init__(target, pool_size)
        self.session = self.new_session()
        self.session.verify = target.ca_bundle

    def new_session(self) -> requests.Session:
        """Make a session with a token and connections for as many threads as there may be.

        Returns
        -------
        requests.Session
        """
        import requests
        from requests.adapters import HTTPAdapter

        headers = self.target.headers

        def authenticate(request: requests.PreparedRequest) -> requests.PreparedRequest:
            request.headers.update(headers)
            return request

        session = requests.Session()
        # With a header of the session, requests would look for a netrc file at each request.
        session.auth = authenticate
        session.mount(self.target.url, HTTPAdapter(pool_maxsize=self.pool_size))
        return session

    def get(self, path: str) -> str:
        """Get a page; see `Client.get`."""
        import requests

        try:
            response = self.session.get(self.target.url + path)
            response.raise_for_status()
        except requests.HTTPError as error:
            assert error.response is not None
            return error.response.headers["Connection-Number"]
        return response.headers["Connection-Number"]

    def upload_from_memory(self, content: bytes) -> None:
        """Upload what is in memory.

        Parameters
        ----------
        content : bytes
        """
        self.session.post(self.target.url + "/", files={"f": ("skymap.fits", content)})


class GraceDBClient(SessionClient):
    """A session with the adapter and the auth object of this package."""

    def new_session(self) -> requests.Session:
        """Make a session; see `SessionClient.new_session`."""
        import requests

        from requests_gracedb import GraceDBAdapter, GraceDBAuth

        session = requests.Session()
        session.mount(self.target.url, GraceDBAdapter(pool_maxsize=self.pool_size))
        session.auth = GraceDBAuth(
            self.target.url, token=self.target.token_file, auth_reload=True
        )
        return session


class Form(GraceDBClient):
    """A session of requests with the adapter, the auth object and the form of this package."""

    name = "FormData"
    usage = 'session.post(url, data=FormData(files={"f": (path,)}))'

    def upload(self, path: str, to: str = "/") -> str:
        """Upload a file; see `Client.upload`."""
        from requests_gracedb import FormData

        return self.session.post(self.target.url + to, data=FormData(files={"f": (path,)})).text


class Raw(GraceDBClient):
    """The same with the file alone for a body."""

    name = "GraceDBAdapter, raw"
    usage = 'session.post(url, data=open(path, "rb"))'

    def upload(self, path: str, to: str = "/") -> str:
        """Upload a file; see `Client.upload`."""
        with open(path, "rb") as file:
            return self.session.post(self.target.url + to, data=file).text


class Requests(SessionClient):
    """requests."""

    name = "requests"
    usage = 'session.post(url, files={"f": open(path, "rb")})'

    def upload(self, path: str, to: str = "/") -> str:
        """Upload a file; see `Client.upload`."""
        with open(path, "rb") as file:
            return self.session.post(self.target.url + to, files={"f": file}).text


class Legacy(SessionClient):
    """requests-gracedb 1.0.0, in an environment of its own."""

    name = "requests-gracedb 1.0.0"
    usage = 'session.post(url, files={"f": (path, None)})'

    def new_session(self) -> requests.Session:
        """Make a session; see `SessionClient.new_session`."""
        from requests.adapters import HTTPAdapter

        from requests_gracedb import Session

        session = Session(self.target.url, token=self.target.token_file, auth_reload=True)
        session.mount(self.target.url, HTTPAdapter(pool_maxsize=self.pool_size))
        return session

    def upload(self, path: str, to: str = "/") -> str:
        """Upload a file; see `Client.upload`."""
        files: Any = {"f": (path, None)}  # Not what requests takes.
        return self.session.post(self.target.url + to, files=files).text


class Toolbelt(SessionClient):
    """requests-toolbelt."""

    name = "MultipartEncoder"
    usage = (
        'encoder = MultipartEncoder({"f": (name, open(path, "rb"), content_type)}); '
        'session.post(url, data=encoder, headers={"Content-Type": encoder.content_type})'
    )

    def __init__(self, target: Target, pool_size: int = 10) -> None:
        from requests_toolbelt import MultipartEncoder  # type: ignore[import-untyped]

        super().__init__(target, pool_size)
        self.encoder = MultipartEncoder

    def upload(self, path: str, to: str = "/") -> str:
        """Upload a file; see `Client.upload`."""
        with open(path, "rb") as file:
            fields = {"f": (os.path.basename(path), file, "application/octet-stream")}
            encoder = self.encoder(fields)
            headers = {"Content-Type": encoder.content_type}
            return self.session.post(self.target.url + to, data=encoder, headers=headers).text


class Httpx(Client):
    """httpx."""

    name = "httpx"
    usage = 'client.post(url, files={"f": open(path, "rb")})'

    def __init__(self, target: Target, pool_size: int = 10) -> None:
        import httpx

        super().__init__(target, pool_size)
        self.client = httpx.Client(
            base_url=target.url,
            headers=target.headers,
            verify=ssl.create_default_context(cafile=target.ca_bundle),
            timeout=120,
        )

    def get(self, path: str) -> str:
        """Get a page; see `Client.get`."""
        import httpx

        try:
            response = self.client.get(path).raise_for_status()
        except httpx.HTTPStatusError as error:
            response = error.response
        return str(response.headers["Connection-Number"])

    def upload(self, path: str, to: str = "/") -> str:
        """Upload a file; see `Client.upload`."""
        with open(path, "rb") as file:
            return self.client.post(to, files={"f": file}).text


class HttpClient(Client):
    """http.client, which sends the file alone, not a form: little more than the socket."""

    name = "http.client"
    usage = 'connection.request("POST", path, open(path, "rb"), {"Content-Length": size})'
    block_size: ClassVar[int | None] = None

    def __init__(self, target: Target, pool_size: int = 10) -> None:
        super().__init__(target, pool_size)
        url = urlsplit(target.url)
        options: dict[str, Any] = {"blocksize": self.block_size} if self.block_size else {}
        connection_class: type[http.client.HTTPConnection] = http.client.HTTPConnection
        if url.scheme == "https":
            connection_class = http.client.HTTPSConnection
            options["context"] = ssl.create_default_context(cafile=target.ca_bundle)
        self.connection = connection_class(url.netloc, **options)

    def get(self, path: str) -> str:
        """Get a page; see `Client.get`."""
        self.connection.request("GET", path, headers=self.target.headers)
        with self.connection.getresponse() as response:
            response.read()
            return response.headers["Connection-Number"]

    def upload(self, path: str, to: str = "/") -> str:
        """Upload a file; see `Client.upload`."""
        headers = {**self.target.headers, "Content-Length": str(os.path.getsize(path))}
        with open(path, "rb") as file:
            self.connection.request("POST", to, file, headers)
        with self.connection.getresponse() as response:
            return response.read().decode()


class HttpClientLargeBlocks(HttpClient):
    """http.client with the block size of `FormData` instead of its own."""

    name = "http.client, 256 KiB"
    usage = "HTTPSConnection(host, blocksize=256 * 1024), and the same request"
    block_size = LARGE_BLOCKS


class Curl(Client):
    """curl: a process for each upload, of which only the transfer is timed."""

    name = "curl"
    usage = "curl --cacert CA -F f=@PATH URL"

    def get(self, path: str) -> str:
        """Get a page; see `Client.get`. The number of the connection is not known."""
        self._run(self.target.url + path)
        return ""

    def upload(self, path: str, to: str = "/") -> str:
        """Upload a file; see `Client.upload`."""
        return self._run("-F", f"f=@{path}", self.target.url + to)

    def time_uploads(self, path: str, times: int) -> float:
        """Upload a file; see `Client.time_uploads`."""
        return sum(self._time_upload(path) for _ in range(times)) / times

    def peak_growth(self, path: str) -> int:
        """Upload a file and get all the memory that curl takes; see `Client.peak_growth`."""
        form = self._command("-F", f"f=@{path}", self.target.url + "/")
        # It must not end before it is looked at. What the system counts by itself, RUSAGE_CHILDREN,
        # has the copy of this process in it that curl replaced.
        wait = self._command(self.target.url + "/slow")[1:]
        peak = 0
        with subprocess.Popen([*form, "--next", *wait], stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                peak = max(peak, _resident("VmHWM", process.pid))
                time.sleep(0.002)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args)
        return peak

    def _time_upload(self, path: str) -> float:
        form = ("-o", os.devnull, "-F", f"f=@{path}")
        times = self._run("-w", "%{time_pretransfer} %{time_total}", *form, self.target.url + "/")
        pretransfer, total = map(float, times.split())
        return total - pretransfer

    def _run(self, *arguments: str) -> str:
        command = self._command(*arguments)
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def _command(self, *arguments: str) -> list[str]:
        headers = [f"{name}: {value}" for name, value in self.target.headers.items()]
        options = ["--silent", "--show-error", "--fail", "--cacert", self.target.ca_bundle]
        return ["curl", *options, *(word for header in headers for word in ("-H", header)),
                *arguments]


CLIENTS: dict[str, type[Client]] = {
    client.name: client
    for client in (
        Form, Raw, Requests, Legacy, Toolbelt, Httpx, Curl, HttpClient, HttpClientLargeBlocks,
    )
}


def digest(client: Client, path: str) -> str:
    """Upload a file and get the digest of what arrived.

    Parameters
    ----------
    client : Client
    path : str

    Returns
    -------
    str
    """
    return client.upload(path, "/digest")


def time_uploads(client: Client, path: str, times: int) -> float:
    """Time uploads; see `Client.time_uploads`."""
    return client.time_uploads(path, times)


def peak_growth(client: Client, path: str) -> int:
    """Measure the memory for an upload; see `Client.peak_growth`."""
    return client.peak_growth(path)


def time_uploads_from_memory(client: SessionClient, size: int) -> float:
    """Upload random bytes over a connection that is open already.

    Parameters
    ----------
    client : SessionClient
    size : int

    Returns
    -------
    float
        Seconds.
    """
    content = os.urandom(size)
    client.get("/")
    start = time.perf_counter()
    client.upload_from_memory(content)
    return time.perf_counter() - start


def peak_growth_from_memory(client: SessionClient, size: int) -> int:
    """Upload random bytes in this process, which has done nothing else yet.

    Parameters
    ----------
    client : SessionClient
    size : int

    Returns
    -------
    int
        How many bytes more memory than before, when it had the content already, it took at most.
    """
    content = os.urandom(size)
    client.get("/")
    before = _resident("VmRSS")
    client.upload_from_memory(content)
    return _resident("VmHWM") - before


def time_gets(client: Client, path: str, times: int) -> tuple[float, int]:
    """Get a page a number of times, one after the other.

    Parameters
    ----------
    client : Client
    path : str
        ``"/missing"`` for a status of 404.
    times : int

    Returns
    -------
    float
        Seconds for one.
    int
        How many connections it took.
    """
    client = type(client)(client.target)
    connections = {client.get("/")}
    start = time.perf_counter()
    connections.update(client.get(path) for _ in range(times))
    return (time.perf_counter() - start) / times, len(connections)


def time_threads(client: Client, threads: int, times: int) -> float:
    """Get a page a number of times in each of many threads that share a session.

    Parameters
    ----------
    client : Client
    threads : int
    times : int

    Returns
    -------
    float
        Seconds, divided by the number of requests.
    """
    client = type(client)(client.target, threads)

    def run(_: int) -> None:
        for _ in range(times):
            client.get("/")

    with ThreadPoolExecutor(threads) as executor:
        list(executor.map(lambda _: client.get("/"), range(threads)))
        start = time.perf_counter()
        list(executor.map(run, range(threads)))
        return (time.perf_counter() - start) / threads / times


def cpu_of_gets(client: SessionClient, rounds: int, times: int) -> list[list[float]]:
    """Measure what a GET costs above the connection pool, next to that of plain sessions.

    Parameters
    ----------
    client : SessionClient
    rounds : int
    times : int
        How many requests in a round.

    Returns
    -------
    list of list of three floats
        For each round, seconds for one request of this client, of a plain session that has the same
        header, and of a plain session with an auth object that sets the header.
    """
    from urllib3 import HTTPConnectionPool, HTTPResponse

    def urlopen(pool: HTTPConnectionPool, method: str, url: str, **kwargs: Any) -> HTTPResponse:
        headers = {"Content-Type": "application/json", "Content-Length": "2"}
        return HTTPResponse(
            BytesIO(b"{}"), headers, 200, preload_content=False, request_method=method
        )

    def cpu(session: requests.Session) -> float:
        start = time.process_time()
        for _ in range(times):
            session.get(url)
        return (time.process_time() - start) / times

    url = client.target.url + "/api/superevents/"
    authenticated, plain = (Requests(client.target).session for _ in range(2))
    plain.auth = None
    plain.headers.update(client.target.headers)
    sessions = [client.session, plain, authenticated]
    results = []
    with ExitStack() as stack:
        stack.callback(setattr, HTTPConnectionPool, "urlopen", HTTPConnectionPool.urlopen)
        setattr(HTTPConnectionPool, "urlopen", urlopen)
        for number in range(rounds + 1):
            # They take turns in being the first.
            order = [(number + place) % len(sessions) for place in range(len(sessions))]
            measured = {index: cpu(sessions[index]) for index in order}
            results.append([measured[index] for index in range(len(sessions))])
    return results[1:]  # The first round fills caches.


JOBS: dict[str, Callable[..., Any]] = {
    job.__name__: job
    for job in (
        digest, time_uploads, peak_growth, time_uploads_from_memory, peak_growth_from_memory,
        time_gets, time_threads, cpu_of_gets,
    )
}


def _resident(field: str, process: int | str = "self") -> int:
    """Read the resident memory, in bytes; without /proc, that of this process at its peak."""
    try:
        with open(f"/proc/{process}/status") as status:
            lines = dict(line.split(":", 1) for line in status)
        return int(lines.get(field, "0 kB").split()[0]) * 1024
    except FileNotFoundError:
        if process != "self":
            return 0
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    """Be a client: its name and the target are arguments, jobs and results are lines of JSON."""
    client = CLIENTS[sys.argv[1]](Target(**json.loads(sys.argv[2])))
    for line in sys.stdin:
        job, arguments = json.loads(line)
        print(json.dumps(JOBS[job](client, **arguments)), flush=True)


if __name__ == "__main__":
    main()
