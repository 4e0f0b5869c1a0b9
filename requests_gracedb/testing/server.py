"""Start and stop a GraceDB, and tell it what to do."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import ssl
import subprocess  # nosec B404
import sys
import threading
import time
from contextlib import ExitStack
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

import trustme

from .config import PERMISSIONS, Config, User
from .faults import KINDS
from .tokens import TokenIssuer

_YEAR = 365 * 86400
_PROBE = "/api/"


class GraceDBServer(TokenIssuer):
    """A running GraceDB, as a context manager.

    Parameters
    ----------
    throttle : str, optional
        How many events and superevents each user may create, in the notation of Django REST
        framework; ``None`` for no limit, not even on annotations.
    count_cache : float
        For how many seconds the server caches the number of results of a search.
    content_id : bool
        Whether events can be found by ``content_id``, as in current versions of GraceDB.
    voevents : bool
        Whether VOEvents of superevents can be created, as in older versions of GraceDB.
    names : tuple of str
        Other names of the server besides localhost: in its certificate, in requests and in the
        audience of tokens. It is up to the client to find it by these names.

    Attributes
    ----------
    url : str
        The root of the API, ``https://localhost:PORT/api/``.
    ca_bundle : str
        The path of the CA certificate, for ``session.verify``.
    username, password : str
        An account that may do everything except sign off as an operator. The tokens belong to
        another account with the same permissions, albert.einstein@ligo.org.
    directory : pathlib.Path
        Where the server keeps its files, until it ends.

    Examples
    --------
    >>> with GraceDBServer() as server:
    ...     session = requests.Session()
    ...     session.verify = server.ca_bundle
    ...     session.get(server.url)
    """

    url: str
    ca_bundle: str
    directory: Path

    def __init__(
        self,
        *,
        throttle: str | None = "50/second",
        count_cache: float = 30,
        content_id: bool = True,
        voevents: bool = False,
        names: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.username = "albert.einstein"
        self.password = secrets.token_urlsafe()
        self._throttle = throttle
        self._count_cache = count_cache
        self._content_id = content_id
        self._voevents = voevents
        self._names = names
        self._conversation = threading.Lock()

    def __enter__(self) -> GraceDBServer:
        with ExitStack() as stack:
            temporary = TemporaryDirectory(prefix="gracedb-", ignore_cleanup_errors=True)
            self.directory = Path(stack.enter_context(temporary))
            self._write_certificates()
            # It listens before there is a server: an early client waits in the queue.
            with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
                self._port: int = listener.getsockname()[1]
                origin = f"https://localhost:{self._port}"
                self.url, self.issuer = f"{origin}/api/", f"{origin}/issuer"
                hosts = [f"https://{name}" for name in ("localhost", *self._names)]
                # GraceDB has no port in its URL: some clients do not expect one.
                self.audiences = [*(f"{host}:{self._port}" for host in hosts), *hosts]
                self._process = self._start(listener.fileno())
                stack.callback(self._stop)
            self._check()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def reset(self) -> None:
        """Forget all events, superevents, faults, and users except the first two."""
        self._tell("reset")

    def add_user(
        self,
        name: str,
        *,
        password: str | None = None,
        password_lifetime: float = _YEAR,
        permissions: tuple[str, ...] = ("upload", "superevents", "advocate"),
        is_member: bool = True,
        is_active: bool = True,
    ) -> None:
        """Add an account, or replace the one with this name.

        Parameters
        ----------
        name : str
            The subject of its tokens, in lower case.
        password : str, optional
            For basic authentication.
        password_lifetime : float
            How many seconds the password is valid for; negative for one that has expired.
        permissions : tuple of str
            Some of ``upload`` (events), ``superevents`` (of other categories than Test),
            ``advocate`` (expose and hide, sign off) and ``operator`` (sign off). A user without
            any can read and annotate everything.
        is_member : bool
            Others see only what is public.
        is_active : bool
            Others are refused.
        """
        if unknown := set(permissions).difference(PERMISSIONS):
            raise ValueError(f"unknown permissions: {unknown}; choose from {PERMISSIONS}")
        expires = time.time() + password_lifetime
        self._tell("add_user", name=name, password=password, password_expires=expires,
                   permissions=permissions, is_member=is_member, is_active=is_active)

    def fault(
        self,
        name: str,
        times: int | None = 1,
        *,
        method: str | None = None,
        path: str = "",
        chance: float = 1,
        seconds: float = 1,
    ) -> Fault:
        """Make requests fail.

        =============  ===========================================================================
        503-database   503 with Retry-After: the server has done nothing
        maintenance    503 without Retry-After: the server has done nothing
        throttled      429 with Retry-After: the server has done nothing
        login          a redirect to a login page
        dropped        the connection is closed before the server has done anything
        502-gateway    an HTML page of a gateway, after the server has done its work
        503-gateway    the same
        504-gateway    the same
        503-cache      503 with Retry-After from a cache, after the server has done its work
        lost-answer    the connection is closed after the server has done its work
        slow           the answer comes late
        empty-file     a download has status 200 and no content
        503-log-entry  503 without Retry-After: the file of a log entry was stored, its entry not
        =============  ===========================================================================

        Parameters
        ----------
        name : str
            See above.
        times : int, optional
            How often; ``None`` for until it is ended.
        method : str, optional
            Only requests with this method; by default, all.
        path : str
            Only requests with a match of this regular expression in their path.
        chance : float
            The probability that a request fails if all of this applies to it.
        seconds : float
            How late a slow answer is, and what Retry-After says.

        Returns
        -------
        Fault
            The object that ends it.

        Examples
        --------
        >>> server.fault("502-gateway", method="POST", path="/events/$")
        >>> with server.fault("maintenance", times=None):
        ...     pass  # Nothing works.
        """
        if name not in KINDS:
            raise ValueError(f"unknown fault: {name!r}; choose from {', '.join(KINDS)}")
        if times is not None and times < 1:
            raise ValueError(f"times must be at least 1, not {times}")
        re.compile(path)
        number = self._tell("fault", name=name, times=times, method=method, path=path,
                            chance=chance, seconds=seconds)
        return Fault(self, number)

    def wait(self) -> None:
        """Wait until the server ends by itself, or the program is interrupted."""
        self._process.wait()

    def _write_certificates(self) -> None:
        authority = trustme.CA()
        bundle = self.directory / "ca.pem"
        authority.cert_pem.write_to_path(str(bundle))
        certificate = authority.issue_cert("localhost", "127.0.0.1", *self._names)
        certificate.private_key_and_cert_chain_pem.write_to_path(str(self.directory / "server.pem"))
        self.ca_bundle = str(bundle)

    def _start(self, listener: int) -> subprocess.Popen[str]:
        with open(self.directory / "server.log", "w") as log:
            process = subprocess.Popen(  # nosec B603
                [sys.executable, "-m", f"{__package__}.serve"],
                # It finds this package where this process does, wherever it was started.
                env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
                cwd=self.directory,
                pass_fds=[listener],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # An interrupt from the terminal is for the parent, which then ends the server.
                start_new_session=True,
                text=True,
            )
        if process.stdin:
            # The pipe stays open: its end tells the server that this process is gone.
            process.stdin.write(self._config(listener).dump() + "\n")
            process.stdin.flush()
        return process

    def _config(self, listener: int) -> Config:
        return Config(
            listener=listener,
            directory=str(self.directory),
            public_key=self.public_key,
            issuer=self.issuer,
            audiences=tuple(self.audiences),
            names=self._names,
            users=(
                User(self.username, self.password, time.time() + _YEAR),
                User("albert.einstein@ligo.org"),
            ),
            throttle=self._throttle,
            count_cache=self._count_cache,
            knows_content_id=self._content_id,
            takes_voevents=self._voevents,
        )

    def _check(self) -> None:
        context = ssl.create_default_context(cafile=self.ca_bundle)
        connection = HTTPSConnection("127.0.0.1", self._port, timeout=30, context=context)
        try:
            connection.request("GET", _PROBE, headers={"User-Agent": "GraceDBServer"})
            status = connection.getresponse().status
        except (OSError, HTTPException) as error:
            raise RuntimeError(f"the server did not start: {self._log()}") from error
        finally:
            connection.close()
        if status != 200:
            raise RuntimeError(f"the server answered with status {status}: {self._log()}")

    def _tell(self, command: str, **arguments: Any) -> Any:
        """Have the server do something, and return the result when it is done."""
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the server is not running")
        with self._conversation:
            try:
                process.stdin.write(json.dumps([command, arguments]) + "\n")
                process.stdin.flush()
                answer = process.stdout.readline()
            except BrokenPipeError:
                answer = ""
        if not answer:
            raise RuntimeError(f"the server has ended: {self._log()}")
        return json.loads(answer)

    def _log(self) -> str:
        path = self.directory / "server.log"
        return path.read_text() if path.exists() else "its log is gone, too"

    def _stop(self) -> None:
        # On SIGTERM, gunicorn waits for clients that keep their connections open.
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._process.communicate()


class Fault:
    """A fault that was asked for; as a context manager, it stops at the end.

    Parameters
    ----------
    server : GraceDBServer
        Where it happens.
    number : int
        Which one it is.
    """

    def __init__(self, server: GraceDBServer, number: int) -> None:
        self._server = server
        self._number = number

    def __enter__(self) -> Fault:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """End it, if it is still there."""
        self._server._tell("end_fault", number=self._number)
