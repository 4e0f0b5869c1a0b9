"""Upload a directory of event files from the workers of a Dask cluster, each file once.

``python -m examples.bulk_upload directory`` uses two processes on this machine, and
``--scheduler tcp://host:8786`` an existing cluster whose workers see the same files. If something
goes wrong, run it again: what has arrived is not sent twice.
"""

from __future__ import annotations

import logging
import re
import signal
import sys
import time
from argparse import ArgumentParser, Namespace
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import requests
from distributed import Client, Event, LocalCluster, Worker, WorkerPlugin, as_completed, get_worker
from tqdm import tqdm

from requests_gracedb import FormData, GraceDBAdapter, GraceDBAuth

File = tuple[str, str]  # Its name, and the SHA-256 of its content.

_KEPT_AS_IT_IS = re.compile("[A-Za-z0-9][A-Za-z0-9._+-]*")
_RETRIES = 5
_REFUSALS = {*range(400, 500)} - {408, 429}  # These two are worth another attempt.


def main() -> str | None:
    """Upload what is not there yet, and report.

    Returns
    -------
    str or None
        What went wrong, for `sys.exit`.
    """
    options = _options()
    # After an interrupt, Dask would report every unfinished task.
    logging.disable()
    try:
        problems = upload_all(options)
    except KeyboardInterrupt:
        return "interrupted: run it again to upload the rest; what has arrived is not sent twice"
    except (OSError, RuntimeError, ValueError) as error:
        return f"{error}"
    return "\n".join(_report(problems)) if problems else None


def upload_all(options: Namespace) -> dict[str, str]:
    """Upload what is not there yet, and return what cannot be uploaded, and why."""
    files, problems = {}, {}
    for path in sorted(path for path in options.directory.iterdir() if path.is_file()):
        if _KEPT_AS_IT_IS.fullmatch(path.name):
            files[path.name, sha256(path.read_bytes()).hexdigest()] = path
        else:
            problems[path.name] = "rename it, or GraceDB will"
    with ExitStack() as stack:
        cluster = options.scheduler or stack.enter_context(_local_cluster(options.workers))
        client = stack.enter_context(Client(cluster))
        client.register_plugin(Uploader(
            options.url, options.group, options.pipeline, options.settle, options.cached
        ))
        there, newest = _there(client, files, options.cached)
        missing = {file: path for file, path in files.items() if file not in there}
        failed = _upload(client, missing, newest)
    print(f"already there: {len(there)}")
    print(f"uploaded: {len(missing) - len(failed)}")
    return {**failed, **problems}


def _report(problems: Mapping[str, str]) -> list[str]:
    """Write a line for each problem, however many files have it."""
    names = defaultdict(list)
    for name, problem in problems.items():
        names[problem].append(name)
    lines = [
        f"{those[0]}{f' and {len(those) - 1} more' if those[1:] else ''}: {problem}"
        for problem, those in names.items()
    ]
    return [f"failed: {len(problems)}", *lines]


def _local_cluster(workers: int) -> LocalCluster:
    """Start workers on this machine."""
    # They inherit this: an interrupt from the terminal is for this process, which then ends them.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        # With TLS: whoever reaches a scheduler can make its workers do anything in your name.
        return LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address="localhost:0", security=True,
            silence_logs=logging.CRITICAL,
        )
    finally:
        signal.signal(signal.SIGINT, handler)


def _there(client: Client, files: Iterable[File], cached: float) -> tuple[set[File], int]:
    """Find out which files are there already, and the number of the newest event."""
    there = {file for file, found in zip(files, _map(client, "has_content", files)) if found}
    names = frozenset(name for name, _ in files)
    # If there are none, no one knows whether the server goes by content, and a search may be old.
    for pause in [0] if there else [0, cached]:
        if pause:
            tqdm.write(f"searching again in {pause:.0f} s: results may be cached", sys.stderr)
        time.sleep(pause)
        [events] = _map(client, "events", [None])
        there.update(*_map(client, "files", [(event, names) for event in events]))
    return there.intersection(files), max(map(_number, events), default=0)


def _map(client: Client, method: str, arguments: Iterable[Any]) -> list[Any]:
    """Call a method on the workers, once for each argument."""
    return client.gather([
        client.submit(_on_worker, method, argument, pure=False, retries=_RETRIES)
        for argument in arguments
    ])


def _upload(client: Client, files: Mapping[File, Path], newest: int) -> dict[str, str]:
    """Upload files, with a progress bar, and return what went wrong."""
    run = f"{uuid4()}"
    futures = {
        client.submit(_on_worker, "upload", (path.absolute(), file, f"{run} {path}", newest),
                      pure=False, retries=_RETRIES): path.name
        for file, path in files.items()
    }
    problems = {}
    for future in tqdm(as_completed(futures), "uploading", total=len(futures), unit="file"):
        # Popped: a result that no one waits for any more is not made again when its worker dies.
        problems[futures.pop(future)] = future.exception() or future.result()
    return {name: f"{problem}" for name, problem in sorted(problems.items()) if problem}


def _on_worker(method: str, argument: Any) -> Any:
    """Call a method of the uploader on the worker that runs this."""
    uploader = get_worker().plugins[Uploader.name]
    try:
        return getattr(uploader, method)(argument)
    except (OSError, ValueError) as error:  # Every exception of requests is an OSError.
        problem = f"{type(error).__name__}: {error}"
    # Down here, it does not take the exception of requests along, which holds the token.
    raise RuntimeError(problem)


class Uploader(WorkerPlugin):
    """What each worker gets: a session of its own, with the token on its machine.

    Parameters
    ----------
    url : str
        The API of a GraceDB.
    group, pipeline : str
        Those of all events.
    settle : float
        For how many seconds the server may be working on what was sent.
    cached : float
        For how many seconds it may cache the number of events that a search found.
    """

    name = "uploader"

    def __init__(
        self, url: str, group: str, pipeline: str, settle: float, cached: float
    ) -> None:
        self._url = url.rstrip("/") + "/"
        self._data = {"group": group, "pipeline": pipeline}
        self._settle = settle
        self._cached = cached
        self._knows_content: bool | None = None  # Not every GraceDB finds an event by its content.
        self._files: dict[str, dict[str, str]] = {}  # What does not change: the first versions.

    def setup(self, worker: Worker) -> None:
        """Open the session on the worker, after the plug-in has been pickled."""
        self._session = requests.Session()
        self._session.mount(self._url, GraceDBAdapter(user_agent="bulk-upload/1.0"))
        self._session.auth = GraceDBAuth(self._url, fail_if_noauth=True, auth_reload=True)

    def teardown(self, worker: Worker) -> None:
        """Close the session."""
        self._session.close()

    def has_content(self, file: File) -> bool:
        """Ask for the event of a file, by its content."""
        try:
            event = self._get(f"{self._url}events/{_content_id(file)}").json()
        except requests.HTTPError as error:
            if error.response.status_code == 404:
                return False
            raise
        # The same content may be in an event of another pipeline, which proves nothing.
        self._knows_content = self._data.items() <= event.items()
        return self._knows_content

    def events(self, _: object = None) -> list[dict[str, Any]]:
        """List the events of this group and pipeline."""
        query = " ".join(f"{name}: {value}" for name, value in self._data.items())
        page = self._get(f"{self._url}events/", params={"query": query, "count": "1000"}).json()
        events: list[dict[str, Any]] = page["events"]
        while url := page["links"].get("next"):
            page = self._get(url).json()
            events += page["events"]
        return events

    def files(self, event_and_names: tuple[dict[str, Any], Iterable[str]]) -> set[File]:
        """Find out which files of these names an event was made from."""
        event, names = event_and_names
        urls = self._files.get(event["graceid"]) or self._get(event["links"]["files"]).json()
        self._files[event["graceid"]] = urls
        first = {name: urls[f"{name},0"] for name in names if f"{name},0" in urls}
        return {(name, sha256(self._content(url)).hexdigest()) for name, url in first.items()}

    def upload(self, what: tuple[Path, File, str, int]) -> str:
        """Upload a file, and return why the server refuses it: normally, it does not.

        Dask calls this again after an exception, and on another worker if this one has died. What
        was sent by then may have arrived.
        """
        path, file, task, newest = what
        form = FormData({**self._data, "content_id": _content_id(file)}, {"eventFile": path})
        started = Event(task)  # The scheduler keeps it, whatever happens to the worker.
        if started.is_set() and self._has_arrived(file, newest):
            return ""
        started.set()
        try:
            response = self._session.post(f"{self._url}events/", data=form, allow_redirects=False)
        except requests.HTTPError as error:
            if error.response.status_code in _REFUSALS:
                return f"{error}"
            raise
        if response.status_code != 201:
            raise OSError(f"the server answered an upload with {response.status_code}")
        if self._knows_content is None:
            self._knows_content = self.has_content(file)
        return ""

    def _has_arrived(self, file: File, newest: int) -> bool:
        """Look for the event of a file until the server must be done with it."""
        if self.has_content(file):
            return True
        time.sleep(self._settle)
        if self._knows_content:
            return self.has_content(file)
        if self.has_content(file) or self._is_found(file, newest):
            return True
        time.sleep(self._cached)
        return self._is_found(file, newest)

    def _is_found(self, file: File, newest: int) -> bool:
        """Search the new events for a file."""
        new = [event for event in self.events() if _number(event) > newest]
        return any(file in self.files((event, [file[0]])) for event in new)

    def _content(self, url: str) -> bytes:
        content: bytes = self._get(url).content
        if not content:
            # GraceDB accepts no empty files, but has been seen to send files as if they were empty.
            raise OSError(f"{url} was sent as an empty file")
        return content

    def _get(self, url: str, **options: Any) -> requests.Response:
        """Read what is there; a login page does not count."""
        response = self._session.get(url, allow_redirects=False, **options)
        if response.status_code != 200:
            raise OSError(f"{url} leads to {response.headers.get('Location')}")
        return response


def _number(event: dict[str, Any]) -> int:
    return int(event["graceid"][1:])  # A GraceID is a letter and a number that grows.


def _content_id(file: File) -> str:
    return f"{UUID(file[1][:32])}"


def _options() -> Namespace:
    parser = ArgumentParser("python -m examples.bulk_upload", description="Upload event files.")
    parser.add_argument("directory", type=Path, help="where the files are")
    parser.add_argument("--url", default="https://gracedb.ligo.org/api/", help="API of a GraceDB")
    parser.add_argument("--group", default="Test")
    parser.add_argument("--pipeline", default="gstlal")
    parser.add_argument("--workers", type=int, default=2, help="how many processes to use here")
    parser.add_argument("--scheduler", help="address of a Dask cluster to use instead")
    parser.add_argument("--settle", type=float, default=30, help="how many seconds a server may "
                        "still be working on what a worker sent before it died")
    parser.add_argument("--cached", type=float, default=35, help="how many seconds a server may "
                        "cache the number of events that a search found")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
