"""Faults on demand, before or after the server has done its work."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.client import responses
from itertools import count
from random import random
from typing import Any
from urllib.parse import quote

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

# For the view of log entries, the only one that can do half of its work.
STORE_FILE_ONLY = "requests_gracedb.store_file_only"


@dataclass
class Rule:
    """Which requests get which fault, and how often."""

    name: str
    times: int | None = 1
    method: str | None = None
    path: str = ""
    chance: float = 1
    seconds: float = 1

    def applies(self, method: str, path: str) -> bool:
        """Tell whether a request gets this fault, chance aside."""
        kind = KINDS[self.name]
        return (
            self.method in (None, method)
            and kind.method in (None, method)
            and bool(re.search(self.path, path) and re.search(kind.path, path))
        )


@dataclass(frozen=True)
class Answer:
    """An answer in place of GraceDB's."""

    status: int
    content_type: str
    body: str
    headers: dict[str, str] = field(default_factory=dict)

    def send(self, rule: Rule, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Send the answer, filled in with the seconds of the rule, and the URL."""
        values = {
            "seconds": f"{rule.seconds:.0f}",
            "origin": f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}",
            "target": quote(environ["PATH_INFO"], safe=""),
        }
        body = self.body.replace("{seconds}", values["seconds"]).encode()
        start_response(f"{self.status} {responses[self.status]}", [
            ("Content-Type", self.content_type),
            ("Content-Length", str(len(body))),
            *((name, value.format(**values)) for name, value in self.headers.items()),
        ])
        return [body]


@dataclass(frozen=True)
class Kind:
    """A kind of fault: when it happens, to which requests, and with which answer, if any."""

    comes_after: bool = False
    answer: Answer | None = None
    method: str | None = None
    path: str = ""


_RETRY = {"Retry_After": "{seconds}"}


def _html(status: int, **headers: str) -> Answer:
    page = f"<html><body><h1>{status} {responses[status]}</h1></body></html>"
    return Answer(status, "text/html", page, _named(headers))


def _json(status: int, detail: str) -> Answer:
    return Answer(status, "application/json", json.dumps({"detail": detail}), _named(_RETRY))


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


KINDS = {
    "503-database": Kind(answer=_json(503, "The database cannot be reached.")),
    "maintenance": Kind(answer=Answer(
        503, "text/html; charset=utf-8", "GraceDB is down for maintenance."
    )),
    "throttled": Kind(answer=_json(
        429, "Request was throttled. Expected available in {seconds} seconds."
    )),
    "login": Kind(answer=Answer(
        302, "text/html", "", {"Location": "{origin}/login/?next={target}"}
    )),
    "dropped": Kind(),
    "502-gateway": Kind(comes_after=True, answer=_html(502)),
    "503-gateway": Kind(comes_after=True, answer=_html(503)),
    "504-gateway": Kind(comes_after=True, answer=_html(504)),
    "503-cache": Kind(comes_after=True, answer=_html(
        503, **_RETRY, Via="1.1 cache (Varnish)", X_Varnish="32770", Age="0"
    )),
    "lost-answer": Kind(comes_after=True),
    "slow": Kind(comes_after=True),
    "empty-file": Kind(
        comes_after=True, method="GET", path="/files/.*[^/]$",
        answer=Answer(200, "application/octet-stream", ""),
    ),
    "503-log-entry": Kind(comes_after=True, method="POST", path="/logs?/$", answer=Answer(
        503, "text/html; charset=utf-8", "The file was stored, the log entry was not."
    )),
}


class Faults:
    """The faults that were asked for, and the WSGI middleware that makes them happen."""

    def __init__(self) -> None:
        self._rules: dict[int, Rule] = {}
        self._numbers = count(1)
        self._lock = threading.Lock()

    def add(self, **fields: Any) -> int:
        """Add a fault, and return its number."""
        number = next(self._numbers)
        self._rules[number] = Rule(**fields)
        return number

    def remove(self, number: int) -> None:
        """Remove a fault, if it is still there."""
        self._rules.pop(number, None)

    def clear(self) -> None:
        """Remove all faults."""
        self._rules.clear()

    def take(self, method: str, path: str) -> Rule | None:
        """Find the fault for a request: the first that applies and is not used up."""
        with self._lock:
            for number, rule in list(self._rules.items()):
                if rule.applies(method, path) and random() < rule.chance:  # nosec B311
                    if rule.times is not None:
                        rule.times -= 1
                        if not rule.times:
                            self.remove(number)
                    return rule
        return None

    def wrap(self, application: Application) -> Application:
        """Get the same application, with faults."""
        def with_faults(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            rule = self.take(environ["REQUEST_METHOD"], environ["PATH_INFO"])
            if rule is None:
                return application(environ, start_response)
            return _fail(rule, application, environ, start_response)

        return with_faults


def _fail(
    rule: Rule, application: Application, environ: Environ, start_response: StartResponse
) -> Iterable[bytes]:
    kind = KINDS[rule.name]
    if rule.name == "slow":
        answer = application(environ, start_response)
        time.sleep(rule.seconds)
        return answer
    environ[STORE_FILE_ONLY] = rule.name == "503-log-entry"
    if kind.comes_after:
        _run(application, environ)
    elif kind.answer:
        _read_body(environ)
    if kind.answer is None:
        return _drop(environ, start_response)
    return kind.answer.send(rule, environ, start_response)


def _run(application: Application, environ: Environ) -> None:
    """Do the work, and throw the answer away."""
    answer = application(environ, lambda *_: None)
    for _ in answer:
        pass
    if close := getattr(answer, "close", None):
        close()


def _read_body(environ: Environ) -> None:
    """Read what the client sends: while still sending, it may not see the answer."""
    while environ["wsgi.input"].read(65536):
        pass


def _drop(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Close the connection underneath gunicorn, which then has no one to answer."""
    environ["gunicorn.socket"].shutdown(socket.SHUT_RDWR)
    start_response("500 Internal Server Error", [])
    return []
