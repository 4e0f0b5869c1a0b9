"""The clients that are compared, each used as its own documentation says.

Each runs in a process of its own, which does a job for every line that it reads: see `main`. The
process of requests-gracedb 1.0.0, which has the name of this package, runs this very file in an
environment that has nothing of ours. So only the standard library is imported here at the top.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

# As many connections as the largest number of threads.
POOL_SIZE = 16


@dataclass(frozen=True)
class Target:
    """Where to send requests, and the settings that all clients share; times are in seconds."""

    url: str
    ca_bundle: str
    token_file: str
    connect_timeout: float | None = 10
    read_timeout: float | None = 120
    trust_env: bool = True


class Client:
    """A client; its public methods are the jobs that it can be given.

    A subclass tells how to open it, and how a file is uploaded: as ``usage`` has it for readers.
    What follows is the same for requests and httpx.
    """

    name: ClassVar[str]
    module: ClassVar[str]
    usage: ClassVar[str]

    def __init__(self, target: Target) -> None:
        self.target = target
        with open(target.token_file) as file:  # For clients that know no token files.
            self._authorization = f"Bearer {file.read()}"
        self._options: dict[str, Any] = {}
        self._http = self._open()

    def _open(self) -> Any:
        raise NotImplementedError

    def _form(self, path: str) -> dict[str, Any]:
        return {"files": {"f": open(path, "rb")}}

    def get(self, path: str) -> str:
        """Get a page, which may be missing, and tell the number of the connection."""
        try:
            response = self._http.get(self.target.url + path, **self._options)
            response.raise_for_status()
        except Exception as error:
            response = getattr(error, "response", None)
            if response is None:
                raise
        return str(response.headers["Connection-Number"])

    def upload(self, path: str, to: str = "/") -> str:
        """Upload a file, and tell what the server says."""
        url = self.target.url + to
        return str(self._http.post(url, **self._form(path), **self._options).text)

    def upload_bytes(self, content: bytes) -> None:
        """Upload what is in memory, by ``files=``."""
        files = {"f": ("skymap.fits", content)}
        self._http.post(self.target.url + "/", files=files, **self._options)

    def repeat(
        self, action: str, argument: Any, times: int = 1, threads: int = 1,
        clock: str = "perf_counter",
    ) -> float:
        """Tell how many seconds one takes of many, with connections that are open already."""
        act = self._action(action, argument)
        now = getattr(time, clock)

        def act_repeatedly(first: int) -> None:
            for _ in range(first, times, threads):
                act()

        with ThreadPoolExecutor(threads) as executor:
            run = executor.map if threads > 1 else map
            list(run(lambda _: self.get("/"), range(threads)))
            start = now()
            list(run(act_repeatedly, range(threads)))
            return float(now() - start) / times

    def growth(self, action: str, argument: Any) -> float:
        """Tell how many MiB of memory an action adds at most, in a process that did nothing yet."""
        act = self._action(action, argument)
        self.get("/")
        before = _memory("VmRSS")
        act()
        return _memory("VmHWM") - before

    def connections(self, path: str, times: int) -> int:
        """Count the connections that it takes to get a page a number of times."""
        return len({self.get(path) for _ in range(times)})

    def upload_after(self, path: str, to: str, pauses: list[float]) -> list[float | None]:
        """Upload twice over a new connection for each of some pauses, which lies between.

        For each it tells how many seconds the second upload took, or None if it failed.
        """
        def upload(pause: float) -> float | None:
            client = type(self)(self.target)
            client.upload(path, to)
            time.sleep(pause)
            start = time.perf_counter()
            try:
                client.upload(path, to)
            except Exception:  # Each library has its own.
                return None
            return time.perf_counter() - start

        with ThreadPoolExecutor(len(pauses)) as executor:
            return list(executor.map(upload, pauses))

    def _action(self, name: str, argument: Any) -> partial[Any]:
        content = os.urandom(argument) if name == "upload_bytes" else argument
        return partial(getattr(self, name), content)


class Requests(Client):
    """requests, with an auth object: for a header of the session, it would look at netrc."""

    name = module = "requests"
    usage = 'session.post(url, files={"f": open(path, "rb")}, timeout=(10, 120))'

    def _open(self) -> Any:
        self._options["timeout"] = self.target.connect_timeout, self.target.read_timeout
        session = self._session()
        session.verify = self.target.ca_bundle
        session.trust_env = self.target.trust_env
        return session

    def _session(self) -> Any:
        import requests
        from requests.adapters import HTTPAdapter

        session = requests.Session()
        session.auth = self._authenticate
        session.mount(self.target.url, HTTPAdapter(pool_maxsize=POOL_SIZE))
        return session

    def _authenticate(self, request: Any) -> Any:
        request.headers["Authorization"] = self._authorization
        return request


class GraceDB(Requests):
    """A session of requests with the adapter, the auth object and the form of this package."""

    name = "requests-gracedb"
    module = "requests_gracedb"
    usage = 'session.post(url, data=FormData(files={"f": (path,)}))'

    def _session(self) -> Any:
        import requests

        from requests_gracedb import FormData, GraceDBAdapter, GraceDBAuth

        session = requests.Session()
        session.auth = GraceDBAuth(self.target.url, self.target.token_file, auth_reload=True)
        # It has the timeouts.
        adapter = GraceDBAdapter(timeout=self._options.pop("timeout"), pool_maxsize=POOL_SIZE)
        session.mount(self.target.url, adapter)
        self._form_data = FormData
        return session

    def _form(self, path: str) -> dict[str, Any]:
        return {"data": self._form_data(files={"f": (path,)})}


class Legacy(Requests):
    """requests-gracedb 1.0.0, in an environment of its own."""

    name = "requests-gracedb 1.0.0"
    module = "requests_gracedb"
    usage = 'session.post(url, files={"f": (path, None)}, timeout=(10, 120))'

    def _session(self) -> Any:
        from requests.adapters import HTTPAdapter

        from requests_gracedb import Session

        session = Session(self.target.url, token=self.target.token_file, auth_reload=True)
        session.mount(self.target.url, HTTPAdapter(pool_maxsize=POOL_SIZE))
        return session

    def _form(self, path: str) -> dict[str, Any]:
        return {"files": {"f": (path, None)}}


class Toolbelt(Requests):
    """The encoder of requests-toolbelt."""

    name = "MultipartEncoder"
    module = "requests_toolbelt"
    usage = (
        'encoder = MultipartEncoder({"f": (name, open(path, "rb"), content_type)}); '
        'session.post(url, data=encoder, headers={"Content-Type": encoder.content_type}, '
        "timeout=(10, 120))"
    )

    def _session(self) -> Any:
        from requests_toolbelt import MultipartEncoder  # type: ignore[import-untyped]

        self._encoder = MultipartEncoder
        return super()._session()

    def _form(self, path: str) -> dict[str, Any]:
        file = os.path.basename(path), open(path, "rb"), "application/octet-stream"
        encoder = self._encoder({"f": file})
        return {"data": encoder, "headers": {"Content-Type": encoder.content_type}}


class LigoGraceDB(Requests):
    """The session of ligo-gracedb, which is spared asking for keys to verify the token with."""

    name = "ligo-gracedb"
    module = "ligo.gracedb.rest"
    usage = 'GraceDb(url).post(url, files={"f": open(path, "rb")}, timeout=(10, 120))'

    def _session(self) -> Any:
        from ligo.gracedb.rest import GraceDb  # type: ignore[import-untyped]

        session = GraceDb(self.target.url, force_noauth=True)
        session.auth = self._authenticate
        return session


class Httpx(Client):
    """httpx."""

    name = module = "httpx"
    usage = 'client.post(url, files={"f": open(path, "rb")})'

    def _open(self) -> Any:
        import httpx

        target = self.target
        return self._client(
            verify=ssl.create_default_context(cafile=target.ca_bundle),
            timeout=httpx.Timeout(target.read_timeout, connect=target.connect_timeout),
            trust_env=target.trust_env,
        )

    def _client(self, **options: Any) -> Any:
        import httpx

        return httpx.Client(headers={"Authorization": self._authorization}, **options)


class HttpxGraceDB(Httpx):
    """httpx-gracedb."""

    name = "httpx-gracedb 0.1.0"
    module = "httpx_gracedb"
    usage = 'client.post(url, files={"f": (path, None)})'

    def _client(self, **options: Any) -> Any:
        from httpx_gracedb import Client

        return Client(self.target.url, self.target.token_file, auth_reload=True, **options)

    def _form(self, path: str) -> dict[str, Any]:
        return {"files": {"f": (path, None)}}


class Curl(Client):
    """curl: a process for each upload, of which only the transfer is timed."""

    name = "curl"
    usage = "curl --cacert CA -F f=@PATH URL"

    def _open(self) -> None:
        pass

    def upload(self, path: str, to: str = "/") -> str:
        """Upload a file; see `Client.upload`."""
        return self._run("-F", f"f=@{path}", self.target.url + to)

    def repeat(  # type: ignore[override]  # Neither threads nor CPU.
        self, action: str, argument: Any, times: int = 1
    ) -> float:
        """Tell how many seconds an upload takes; see `Client.repeat`."""
        form = ("-o", os.devnull, "-F", f"f=@{argument}", self.target.url + "/")
        seconds = 0.0
        for _ in range(times):
            start, end = self._run("-w", "%{time_pretransfer} %{time_total}", *form).split()
            seconds += float(end) - float(start)
        return seconds / times

    def _run(self, *arguments: str) -> str:
        command = ["curl", "--silent", "--show-error", "--fail", "--connect-timeout", "10",
                   "--cacert", self.target.ca_bundle, "-H",
                   f"Authorization: {self._authorization}", *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


CLIENTS: dict[str, type[Client]] = {
    client.name: client
    for client in (GraceDB, Requests, Legacy, Httpx, HttpxGraceDB, Toolbelt, LigoGraceDB, Curl)
}


def _memory(field: str) -> float:
    """Read the resident memory of this process, in MiB."""
    with open("/proc/self/status") as status:
        lines = dict(line.split(":", 1) for line in status)
    return int(lines[field].split()[0]) / 1024


def main() -> None:
    """Be the client whose name is the argument; jobs and what they return are lines of JSON."""
    clients: dict[str, Client] = {}
    for line in sys.stdin:
        target, job, arguments = json.loads(line)
        client = clients.get(json.dumps(target))
        if client is None:
            client = clients[json.dumps(target)] = CLIENTS[sys.argv[1]](Target(**target))
        print(json.dumps(getattr(client, job)(**arguments)), flush=True)


if __name__ == "__main__":
    main()
