"""Errors of the server become exceptions that say what the server said."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from requests import HTTPError, PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.utils import urldefragauth

from .body import read_body

_MAXIMUM_EXPLANATION = 500  # characters


class ErrorAdapter(HTTPAdapter):
    """An adapter whose responses of status 400 or more raise `requests.HTTPError`.

    It saves every caller from writing ``response.raise_for_status()``, and does more: the message
    ends with the server's own explanation, the response is read, so that ``exception.response`` can
    be used even of a ``stream=True`` request, and the connection is back in the pool.

    The exception is raised by a response hook that comes after every other hook of the request
    (`requests.Session.send` dispatches the hook list after it has called the adapter), so that
    challenge-response authentication, such as `requests.auth.HTTPDigestAuth`, has answered first.
    Called without a session, the adapter raises nothing.

    Parameters
    ----------
    **kwargs
        See `requests.adapters.HTTPAdapter`.

    Examples
    --------
    >>> session = requests.Session()
    >>> session.mount("https://gracedb.ligo.org/", ErrorAdapter())
    >>> try:
    ...     session.get("https://gracedb.ligo.org/api/events/G1/")
    ... except requests.HTTPError as error:
    ...     print(error.response.status_code)
    """

    def build_response(
        self, req: PreparedRequest, resp: Any, *args: Any, **kwargs: Any
    ) -> Response:
        """Build the response, and see to it that an error is raised."""
        response = super().build_response(req, resp, *args, **kwargs)
        if response.status_code >= 400 and raise_for_status not in req.hooks["response"]:
            req.register_hook("response", raise_for_status)
        return response


def raise_for_status(response: Response, **kwargs: Any) -> None:
    """Raise an exception for a response of status 400 or more; a response hook of requests.

    Parameters
    ----------
    response : requests.Response
        Its body is read to the end, and its connection is free afterwards.
    **kwargs
        The parameters of the request, which every response hook gets.

    Raises
    ------
    requests.HTTPError
        The message is that of `requests.Response.raise_for_status`, followed by the ``detail``,
        ``error`` or ``message`` of a JSON object (RFC 9457, Django REST framework), the field
        errors of Django REST framework, or the start of a text body.
    """
    if response.status_code < 400:
        return
    message = _message_of_requests(response)
    explanation = _explanation(response, read_body(response))
    # Before and after, since a line break may be part of a secret, or hide one.
    explanation = _one_line(_without_secrets(explanation, response.request))
    explanation = _cut(_without_secrets(explanation, response.request))
    if explanation:
        message = f"{message}: {explanation}"
    raise HTTPError(message, response=response)


def _message_of_requests(response: Response) -> str:
    try:
        response.raise_for_status()
    except HTTPError as error:
        message = str(error)
    else:
        # requests takes a status of 600 or more for a success.
        message = f"{response.status_code} Unknown Status for url: {response.url}"
    return message.replace(response.url, _without_userinfo(response.url))


def _without_userinfo(url: str) -> str:
    return urldefragauth(url) if "@" in urlsplit(url).netloc else url


def _explanation(response: Response, body: bytes) -> str:
    content_type = response.headers.get("Content-Type", "text/plain")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "application/json" or media_type.endswith("+json"):
        try:
            return "; ".join(islice(_phrases(json.loads(body)), _MAXIMUM_EXPLANATION))
        except (ValueError, RecursionError):
            return _start_of_text(body, "utf-8")
    if media_type.startswith("text/") and media_type != "text/html":
        # requests takes text without a charset for ISO-8859-1, a default that RFC 9110 dropped.
        is_declared = "charset" in content_type.lower()
        return _start_of_text(body, response.encoding if is_declared else None)
    return ""


def _phrases(answer: Any) -> Iterator[str]:
    """Find the explanation in an answer of Django REST framework, or of one that does likewise."""
    if isinstance(answer, dict):
        for name in ("detail", "error", "message"):
            if answer.get(name):
                return _leaves(answer[name])
    return _leaves(answer)


def _leaves(answer: Any, name: str = "") -> Iterator[str]:
    if isinstance(answer, dict):
        for key, value in answer.items():
            inner = name if key == "non_field_errors" else f"{name}.{key}" if name else key
            yield from _leaves(value, inner)
    elif isinstance(answer, list):
        for value in answer:
            yield from _leaves(value, name)
    elif answer is not None:
        yield f"{name}: {answer}" if name else str(answer)


def _start_of_text(body: bytes, encoding: str | None) -> str:
    start = body[: 8 * _MAXIMUM_EXPLANATION]
    try:
        text = start.decode(encoding or "utf-8", "replace")
    except (LookupError, ValueError):
        text = start.decode("utf-8", "replace")
    return "" if text.lstrip()[:5].lower() in ("<!doc", "<html") else text


def _one_line(text: str) -> str:
    return "".join(filter(str.isprintable, " ".join(text.split())))


def _without_secrets(text: str, request: PreparedRequest) -> str:
    """Take out the credential that the request carried, which a server may echo."""
    scheme, _, credential = str(request.headers.get("Authorization", "")).partition(" ")
    secrets = [credential]
    if scheme.lower() == "basic":
        try:
            for encoding in ("utf-8", "latin-1"):
                pair = b64decode(credential).decode(encoding, "replace")
                secrets.append(pair.partition(":")[2])
        except ValueError:
            pass  # not of our making: nothing more is known of it
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text


def _cut(text: str) -> str:
    return text if len(text) <= _MAXIMUM_EXPLANATION else text[: _MAXIMUM_EXPLANATION - 1] + "…"
