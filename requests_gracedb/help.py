"""Which credential a request gets, and why no other: ``python -m requests_gracedb``."""

from __future__ import annotations

import argparse
import json
import platform
import re
import ssl
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from ._version import __version__
from .adapter import GraceDBAdapter
from .auth import GraceDBAuth, describe
from .body import read_body
from .credential import Origin, shown
from .errors import redaction_for

_PATIENCE = 2  # seconds
_API = r".*?/api/(?:v\d+/)?"
_NOBODY = "the server treats us as anonymous"
_REFUSED = "the server refuses the credential, or treats us as anonymous"


def info(url: str | None = None) -> dict[str, Any]:
    """Gather what matters when authentication does not work, like `requests.help.info`.

    Parameters
    ----------
    url : str, optional
        A URL of the service.

    Returns
    -------
    dict
        The installed versions, and what `GraceDBAuth.describe` returns. No secrets.

    Raises
    ------
    ValueError
        ``url`` is not an http or https URL.
    """
    if url is not None:
        Origin.of(url)
    versions = {
        "requests-gracedb": __version__,
        "requests": version("requests"),
        "urllib3": version("urllib3"),
        "scitokens": version("scitokens"),
        "Python": platform.python_version(),
        "OpenSSL": ssl.OPENSSL_VERSION.removeprefix("OpenSSL "),
    }
    try:
        facts = GraceDBAuth(url).describe()
    except (OSError, ValueError) as error:
        facts = describe(url, None, str(error))
    return {"versions": versions, **facts}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print `info`, and on request ask the server who it thinks we are.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the command line by default.

    Returns
    -------
    int
        The exit status: 0 if there is a credential to use, and the check, if any, found nothing
        wrong; 1 if not. Bad usage exits with 2.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.check and options.url is None:
        parser.error("--check needs a URL")
    try:
        facts = info(options.url)
    except ValueError as error:
        parser.error(str(error))
    if options.check:
        facts["check"], problem = _check(options.url)
        facts["problem"] = facts["problem"] or problem
    print(json.dumps(facts, indent=2) if options.json else "\n".join(_lines(facts)))
    return 0 if facts["problem"] is None else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "requests-gracedb",
        description="Tell which credential a request gets, and why. No secret is shown.",
        epilog="Exit status: 0, there is a credential, and --check found nothing wrong; 1, there "
        "is none, it cannot be used, or the server treats us as anonymous; 2, bad usage.",
    )
    parser.add_argument("url", nargs="?", help="a URL of the server")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--check", action="store_true", help="ask the server who it thinks you are, without retries"
    )
    parser.add_argument("--version", action="version", version=f"requests-gracedb {__version__}")
    return parser


def _check(url: str) -> tuple[list[str], str | None]:
    """Ask the server; return what it answered, and what is wrong."""
    answers: list[str] = []
    with requests.Session() as session:
        # A quick answer, or none.
        adapter = GraceDBAdapter(timeout=_PATIENCE, max_retries=0)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        try:
            session.auth = GraceDBAuth(url)
            answers.append(_status(_get(session, url)))
            links = _links(session, url)
            if "user-info" in links:
                response = _get(session, links["user-info"])
                user = response.json()
                # In JSON, no control character reaches the terminal.
                answers += _status(response), redaction_for(response)(json.dumps(user))
                return answers, None if _is_somebody(user) else _NOBODY
            if "events" not in links:
                return [*answers, "That proves nothing: the page may be public."], None
            answers.append(_status(_get(session, f"{links['events']}?count=1")))
            return answers, None
        except requests.HTTPError as error:
            return [*answers, _without_query(error)], _problem(error)
        except (OSError, ValueError) as error:
            return [*answers, _without_query(error)], "the check failed"


def _get(session: requests.Session, url: str) -> requests.Response:
    """Get a page, reading no more of it, and for no longer, than of an error."""
    response = session.get(url, stream=True)
    read_body(response)
    return response


def _status(response: requests.Response) -> str:
    # Without the reason phrase, which may say anything.
    return f"GET {shown(response.url)}: {response.status_code}"


def _links(session: requests.Session, url: str) -> dict[str, str]:
    """Get the links that the API root lists, within its own origin."""
    origin = Origin.of(url)
    within = re.match(_API, urlsplit(url).path)
    try:
        root = _get(session, urljoin(url, within[0] if within else "/api/")).json()
        links = root["links"].items()
        return {name: link for name, link in links if Origin.of(link) == origin}
    except requests.HTTPError as error:
        if _is_refused(error):
            raise
        return {}
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}  # It is not a GraceDB.


def _problem(error: requests.HTTPError) -> str:
    if not _is_refused(error):
        return "the check failed"
    response: Any = error.response
    return _REFUSED if "Authorization" in response.request.headers else _NOBODY


def _is_refused(error: requests.HTTPError) -> bool:
    return error.response is not None and error.response.status_code in (401, 403)


def _without_query(error: OSError | ValueError) -> str:
    """Tell what went wrong, without the queries of URLs, which may be secret."""
    return re.sub(r"\?\S+", "", str(error))


def _is_somebody(user: Any) -> bool:
    return isinstance(user, dict) and bool(user.get("username"))


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    yield ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    yield f"\nCredential for {facts['url'] or 'the host of each request'} (* is used):"
    for place in facts["places"]:
        yield _printable(f"{'*' if place['used'] else ' '} {place['place']}: {place['found']}")
    if facts["token"] is not None:
        yield "\nToken (its signature is not verified here):"
        for name, value in facts["token"].items():
            # In JSON, no control character of a claim reaches the terminal.
            yield f"  {name.replace('_', ' ')}: {json.dumps(value)}"
    if "check" in facts:
        yield "\nCheck:"
        yield from (f"  {answer}" for answer in facts["check"])
    if facts["problem"] is not None:
        yield f"\nProblem: {facts['problem']}"


def _printable(text: str) -> str:
    """Escape what could affect the terminal in a file name, or what it cannot show."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
