"""Which credential a request gets, and why not another: ``python -m requests_gracedb``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import ssl
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from math import inf
from typing import Any

import requests

from . import __version__
from .adapter import GraceDBAdapter
from .auth import GraceDBAuth, NetrcAuth
from .credential import CredentialAuth, Origin
from .scitoken import SciTokenAuth, discovery_places, expiry_of, unverified_claims

# Audiences that are any server: that of SciTokens and that of WLCG Common JWT Profiles.
_ANY_AUDIENCE = {"ANY", "https://wlcg.cern.ch/jwt/v1/any"}


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


def describe(
    url: str | None, credential: CredentialAuth | None, problem: str | None = None
) -> dict[str, Any]:
    """Describe where a credential comes from, for `GraceDBAuth.describe`.

    Parameters
    ----------
    url : str or None
        A URL of the service.
    credential : CredentialAuth or None
        What was chosen, if anything could be.
    problem : str, optional
        Why not.

    Returns
    -------
    dict
        See `GraceDBAuth.describe`.
    """
    found = dict.fromkeys(("force_noauth", "token", "username and password"), "not given")
    found.update(_token_places())
    found["netrc"] = _netrc(url)
    used = credential.place if credential is not None else None
    if used in ("force_noauth", "username and password"):
        found[used] = "given"
    elif used is not None and used not in found:
        found["token"], used = used, "token"
    token = _token(credential, url) if isinstance(credential, SciTokenAuth) else None
    if used == "netrc" and isinstance(credential, NetrcAuth) and not credential.hosts:
        used = None
    if problem is None and used in (None, "force_noauth"):
        problem = "no credential"
    if problem is None and token is not None and token["is_expired"]:
        problem = "the token has expired"
    if problem is None and url is not None and not Origin.of(url).is_secure:
        problem = "a credential does not go over plain http"
    return {
        "url": url,
        "places": [
            {"place": place, "found": what, "used": place == used} for place, what in found.items()
        ],
        "token": token,
        "problem": problem,
    }


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


def _token_places() -> Iterator[tuple[str, str]]:
    for source in discovery_places():
        place = str(source)
        if source.is_there:
            try:
                yield place, _time_left(expiry_of(source.read()))
            except OSError as error:
                yield place, error.strerror or str(error)
            except ValueError as error:
                yield place, str(error)
        else:
            yield place, "passed over: unreadable" if source.exists else "absent"


def _netrc(url: str | None) -> str:
    try:
        auth = NetrcAuth(url)
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:
        return str(error)
    if auth.hosts:
        return f"{auth.path} has {', '.join(sorted(auth.hosts))}"
    if not os.path.exists(auth.path):
        return f"{auth.path} is absent"
    return f"{auth.path} has nothing" + (f" for {Origin.of(url).host}" if url else "")


def _token(auth: SciTokenAuth, url: str | None) -> dict[str, Any]:
    claims = unverified_claims(auth._token)
    audience = claims.get("aud")
    return {
        "issuer": claims.get("iss"),
        "subject": claims.get("sub"),
        "audience": audience,
        "audience_fits": None if url is None else _fits(audience, Origin.of(url)),
        "scope": claims.get("scope"),
        "issued": _date(claims.get("iat")),
        "not_before": _date(claims.get("nbf")),
        "expires": _date(claims.get("exp")),
        "is_expired": expiry_of(auth._token) <= time.time(),
    }


def _fits(audience: Any, origin: Origin) -> bool:
    """Tell whether a server takes tokens for this audience: one without is for all (RFC 7519)."""
    audiences = audience if isinstance(audience, list) else [audience]
    return audience is None or any(_is_server(str(each), origin) for each in audiences)


def _is_server(audience: str, origin: Origin) -> bool:
    if audience in _ANY_AUDIENCE or audience.lower() == origin.host:
        return True
    try:
        return Origin.of(audience) == origin
    except ValueError:
        return False


def _date(seconds: Any) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _time_left(expires_at: float) -> str:
    seconds = expires_at - time.time()
    if seconds == inf:
        return "a token that does not expire"
    text = "0 s"
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if abs(seconds) >= unit:
            text = f"{abs(seconds) // unit:.0f} {name}"
            break
    return f"a token that expires in {text}" if seconds > 0 else f"a token that expired {text} ago"


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
