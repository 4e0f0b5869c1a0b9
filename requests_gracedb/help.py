"""Which credential a request gets, and why not another: ``python -m requests_gracedb``."""

from __future__ import annotations

import argparse
import json
import platform
import ssl
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

import requests

from ._version import __version__
from .adapter import GraceDBAdapter
from .auth import GraceDBAuth, describe
from .credential import Origin


def info(url: str | None = None) -> dict[str, Any]:
    """Gather what matters when authentication does not work, in the manner of `requests.help.info`.

    Parameters
    ----------
    url : str, optional
        A URL of the service.

    Returns
    -------
    dict
        The versions of what is installed, and what `GraceDBAuth.describe` tells. No secrets.

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
    """Print `info`, and try it out if asked.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the command line by default.

    Returns
    -------
    int
        The exit status: 0 if there is a credential to use, and the check passed; 1 if not. Bad
        usage exits with 2.
    """
    parser = argparse.ArgumentParser(
        "python -m requests_gracedb",
        description="Tell which credential a request gets, and why. No secret is shown.",
    )
    parser.add_argument("url", nargs="?", help="a URL of the server")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--check", action="store_true", help="GET the URL with the credential")
    options = parser.parse_args(arguments)
    if options.check and options.url is None:
        parser.error("--check needs a URL")
    try:
        facts = info(options.url)
    except ValueError as error:
        parser.error(str(error))
    if options.check and facts["problem"] is None:
        facts["check"], facts["problem"] = _check(options.url)
    print(json.dumps(facts, indent=2) if options.json else "\n".join(_lines(facts)))
    return 0 if facts["problem"] is None else 1


def _check(url: str) -> tuple[str, str | None]:
    with requests.Session() as session:
        session.mount(url, GraceDBAdapter())
        try:
            response = session.get(url, auth=GraceDBAuth(url))
        except (OSError, ValueError) as error:
            return str(error), "the check failed"
    return f"{response.status_code} {response.reason}", None


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    yield ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    yield f"\nCredential for {facts['url'] or 'the host of each request'} (* is used):"
    for place in facts["places"]:
        yield f"{'*' if place['used'] else ' '} {place['place']}: {place['found']}"
    if facts["token"] is not None:
        yield "\nToken (its signature is not verified here):"
        for name, value in facts["token"].items():
            # In JSON, no control character of a claim gets to the terminal.
            yield f"  {name.replace('_', ' ')}: {json.dumps(value)}"
        if facts["token"]["audience_fits"] is False:
            yield f"  The audience does not fit {facts['url']}: the server will refuse the token."
    if "check" in facts:
        yield f"\nGET {facts['url']}: {facts['check']}"
    if facts["problem"] is not None:
        yield f"\nProblem: {facts['problem']}"
