"""The serving process: it takes commands on standard input, and ends when that does.

It writes the answer to each command to standard output. Only `server` starts it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from gunicorn.app.base import BaseApplication

from .config import Config, User
from .faults import Faults
from .state import State

_VIEWS = f"{__package__}.views"


def main() -> None:
    """Serve until standard input ends."""
    config = Config.load(sys.stdin.readline())
    Path(config.directory, "files").mkdir()
    state = State(config.users, config.count_cache)
    configure(config, state)
    Server(config, state).run()


def configure(config: Config, state: State) -> None:
    """Tell Django about this GraceDB."""
    settings.configure(
        ALLOWED_HOSTS=["localhost", "127.0.0.1", *config.names],
        DATA_UPLOAD_MAX_MEMORY_SIZE=None,
        # Every upload goes to a file: its size does not show in the server's memory, and renaming
        # the file is enough to keep it.
        FILE_UPLOAD_HANDLERS=["django.core.files.uploadhandler.TemporaryFileUploadHandler"],
        FILE_UPLOAD_TEMP_DIR=f"{config.directory}/files",
        GRACEDB_CONFIG=config,
        GRACEDB_STATE=state,
        LOGGING_CONFIG=None,
        MIDDLEWARE=[
            f"{__package__}.serve.take_whole_body",
            "django.middleware.common.CommonMiddleware",
            f"{__package__}.serve.require_user_agent",
        ],
        REST_FRAMEWORK=_rest_framework(config),
        ROOT_URLCONF=f"{_VIEWS}.urls",
        SECRET_KEY=secrets.token_urlsafe(),
        USE_I18N=False,
    )


def _rest_framework(config: Config) -> dict[str, Any]:
    parsers = ("MultiPartParser", "FormParser", "JSONParser")
    return {
        "DEFAULT_PARSER_CLASSES": [f"rest_framework.parsers.{name}" for name in parsers],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_THROTTLE_RATES": {
            "anonymous": "300/minute",
            "annotation": config.throttle and "50/second",
            "creation": config.throttle,
        },
        "EXCEPTION_HANDLER": f"{_VIEWS}.base.handle",
        "UNAUTHENTICATED_USER": None,
    }


GetResponse = Callable[[HttpRequest], HttpResponse]


def take_whole_body(get_response: GetResponse) -> GetResponse:
    """Make a middleware that reads what the view left unread of an upload.

    A client that is still sending when the connection closes may never see the answer.
    """
    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        while request.read(65536):
            pass
        return response

    return middleware


def require_user_agent(get_response: GetResponse) -> GetResponse:
    """Make a middleware that refuses clients without a User-Agent."""
    def middleware(request: HttpRequest) -> HttpResponse:
        if not request.headers.get("User-Agent"):
            return HttpResponse("A User-Agent is required.", status=400)
        return get_response(request)

    return middleware


class Server(BaseApplication):
    """gunicorn, with the one worker process that holds the state."""

    def __init__(self, config: Config, state: State) -> None:
        self._config = config
        self._state = state
        self._faults = Faults()
        super().__init__()

    def load_config(self) -> None:
        """Set what gunicorn is to do differently from its defaults."""
        for name, value in {
            "bind": f"fd://{self._config.listener}",
            "certfile": f"{self._config.directory}/server.pem",
            "control_socket_disable": True,
            "graceful_timeout": 1,
            "keepalive": 5,  # seconds, like the Apache in front of GraceDB
            "loglevel": "error",
            "on_exit": self._remove_directory,
            "post_fork": self._follow_commands,
            "threads": 16,
            "worker_class": "gthread",
            "workers": 1,
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Load Django."""
        return self._faults.wrap(get_wsgi_application())

    def _remove_directory(self, arbiter: object) -> None:
        """Remove what is left of the server, in case no one else is there to do it."""
        shutil.rmtree(self._config.directory, ignore_errors=True)

    def _follow_commands(self, arbiter: object, worker: object) -> None:
        threading.Thread(target=self._obey, daemon=True).start()

    def _obey(self) -> None:
        """Follow the commands on standard input, and end gunicorn when they end."""
        commands: dict[str, Callable[..., object]] = {
            "add_user": lambda **fields: self._state.add_user(User(**fields)),
            "fault": self._faults.add,
            "end_fault": self._faults.remove,
            "reset": self._reset,
        }
        try:
            for line in os.fdopen(0):
                command, arguments = json.loads(line)
                print(json.dumps(commands[command](**arguments)), flush=True)
        finally:
            os.kill(os.getppid(), signal.SIGINT)

    def _reset(self) -> None:
        self._faults.clear()
        self._state.reset()
        cache.clear()  # What throttling has counted.


if __name__ == "__main__":
    main()
