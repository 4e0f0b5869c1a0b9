"""Upload a directory of event files from the workers of a Dask cluster, each file once.

``python -m examples.bulk_upload directory`` uses two processes on this machine, and
``--scheduler tcp://host:8786`` a cluster that is there already, whose workers see the same files.
Run it again whenever something went wrong: what has arrived is not sent twice.
"""

from __future__ import annotations

import re
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests
from distributed import Client, Event, LocalCluster, Worker, WorkerPlugin, as_completed, get_worker
from tqdm import tqdm

from requests_gracedb import FormData, GraceDBAdapter, GraceDBAuth

File = tuple[str, str]  # Its name, and the SHA-256 of its content.

_KEPT_AS_IT_IS = re.compile("[A-Za-z0-9][A-Za-z0-9._+-]*")


def main() -> str | None:
    """Upload what is not there yet, and report.

    Returns
    -------
    str or None
        What went wrong, for `sys.exit`.
    """
    try:
        problems = upload_all(_options())
    except (OSError, RuntimeError, ValueError) as error:
        return f"{error}"
    return "\n".join([f"failed: {len(problems)}", *problems]) if problems else None


def upload_all(options: Namespace) -> list[str]:
    """Upload what is not there yet, and tell what cannot be uploaded, and why."""
    files, misnamed = {}, []
    for path in sorted(path for path in options.directory.iterdir() if path.is_file()):
        if _KEPT_AS_IT_IS.fullmatch(path.name):
            files[path.name, _digest(path.read_bytes())] = path
        else:
            misnamed.append(f"{path.name}: rename it, lest GraceDB does")
    with ExitStack() as stack:
        # With TLS: whoever gets at a scheduler can have its workers do anything, in your name.
        cluster = options.scheduler or stack.enter_context(LocalCluster(
            n_workers=options.workers, threads_per_worker=1, dashboard_address=None, security=True
        ))
        client = stack.enter_context(Client(cluster))
        client.register_plugin(Uploader(options.url, options.group, options.pipeline))
        there, newest = _there(client, files)
        missing = {file: path for file, path in files.items() if file not in there}
        problems = _upload(client, missing, newest, options.settle)
    print(f"already there: {len(there)}")
    print(f"uploaded: {len(missing) - len(problems)}")
    return problems + misnamed


def _there(client: Client, files: Iterable[File]) -> tuple[set[File], int]:
    """Find out which files are there already, and the number of the newest event."""
    events = client.submit(_on_worker, "events", pure=False, retries=2).result()
    names = {name for name, _ in files}
    found = [
        client.submit(_on_worker, "files", event, names, pure=False, retries=2) for event in events
    ]
    there: set[File] = set().union(*client.gather(found))
    return there.intersection(files), max(map(_number, events), default=0)


def _upload(client: Client, files: Mapping[File, Path], newest: int, settle: float) -> list[str]:
    """Upload files, with a progress bar, and tell what went wrong."""
    run = f"{uuid4()}"
    futures = {
        client.submit(_on_worker, "upload", path.absolute(), file, run, newest, settle,
                      pure=False, retries=2): path.name
        for file, path in files.items()
    }
    problems = {}
    for future in tqdm(as_completed(futures), "uploading", total=len(futures), unit="file"):
        # Taken out: a result that nobody waits for any more is not made again when its worker dies.
        problems[futures.pop(future)] = future.exception() or future.result()
    return [f"{name}: {problem}" for name, problem in sorted(problems.items()) if problem]


def _on_worker(method: str, *arguments: Any, **options: Any) -> Any:
    """Call a method of the uploader of the worker that this runs on."""
    uploader = get_worker().plugins[Uploader.name]
    try:
        return getattr(uploader, method)(*arguments, **options)
    except (OSError, ValueError) as error:  # Every exception of requests is an OSError.
        problem = f"{type(error).__name__}: {error}"
    # Down here, it does not take along the exception of requests, which has the token in it.
    raise RuntimeError(problem)


class Uploader(WorkerPlugin):
    """What every worker gets: a session of its own, with the token that is on its machine.

    Parameters
    ----------
    url : str
        The API of a GraceDB.
    group, pipeline : str
        Those of all events.
    """

    name = "uploader"

    def __init__(self, url: str, group: str, pipeline: str) -> None:
        self._url = url.rstrip("/") + "/"
        self._data = {"group": group, "pipeline": pipeline}

    def setup(self, worker: Worker) -> None:
        """Open the session: after the plug-in has been pickled, and on the worker."""
        self._session = requests.Session()
        self._session.mount(self._url, GraceDBAdapter(user_agent="bulk-upload/1.0"))
        self._session.auth = GraceDBAuth(self._url, fail_if_noauth=True, auth_reload=True)

    def teardown(self, worker: Worker) -> None:
        """Close the session."""
        self._session.close()

    def events(self) -> list[dict[str, Any]]:
        """List the events of this group and pipeline."""
        query = " ".join(f"{name}: {value}" for name, value in self._data.items())
        page = self._session.get(f"{self._url}events/", params={"query": query})
        events: list[dict[str, Any]] = page.json()["events"]
        while url := page.json()["links"].get("next"):
            page = self._session.get(url)
            events += page.json()["events"]
        return events

    def files(self, event: dict[str, Any], names: Iterable[str]) -> set[File]:
        """Find out which files of these names an event was made from."""
        urls = self._session.get(event["links"]["files"]).json()
        first = {name: urls[f"{name},0"] for name in names if f"{name},0" in urls}
        return {(name, _digest(self._session.get(url).content)) for name, url in first.items()}

    def upload(self, path: Path, file: File, run: str, newest: int, settle: float) -> str:
        """Upload a file, and tell what the server has against it: nothing, as a rule.

        Dask calls this again after an exception, and elsewhere when the worker has died. What was
        sent by then may have arrived: the events that are new are looked through for it.
        """
        form = FormData(self._data, {"eventFile": path})
        started = Event(f"{run} {path}")  # The scheduler keeps it, whatever happens to the worker.
        if started.is_set():
            time.sleep(settle)  # The server may be at work on it still.
            new = [event for event in self.events() if _number(event) > newest]
            if any(file in self.files(event, [path.name]) for event in new):
                return ""
        started.set()
        try:
            self._session.post(f"{self._url}events/", data=form)
        except requests.HTTPError as error:
            if error.response.status_code < 500:
                return f"{error}"
            raise
        return ""


def _number(event: dict[str, Any]) -> int:
    return int(event["graceid"][1:])  # A GraceID is a letter and a number that grows.


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def _options() -> Namespace:
    parser = ArgumentParser("python -m examples.bulk_upload", description="Upload event files.")
    parser.add_argument("directory", type=Path, help="where the files are")
    parser.add_argument("--url", default="https://gracedb.ligo.org/api/", help="API of a GraceDB")
    parser.add_argument("--group", default="Test")
    parser.add_argument("--pipeline", default="gstlal")
    parser.add_argument("--workers", type=int, default=2, help="how many processes to use here")
    parser.add_argument("--scheduler", help="address of a Dask cluster to use instead")
    parser.add_argument("--settle", type=float, default=30, help="how many seconds a server may "
                        "still be at work on what a worker sent before it died")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
