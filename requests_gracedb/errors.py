"""Errors of the server become exceptions that say what the server said."""

from __future__ import annotations

import json
import threading
from base64 import b64decode
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from requests import HTTPError, PreparedRequest, Response
from requests.utils import get_auth_from_url, urldefragauth

from .body import read_body
from .described import DescribedAdapter
from .redaction import Redaction, shown_url

_MAXIMUM_EXPLANATION = 500  # characters
_SLOW = "punycode", "idna"  # They take a time that grows with the square of the length.
_REFUSED = 401, 403, 404  # of GraceDB's events, those that you may not see do not exist
_SHORTEST_COOKIE = 8  # characters that are no setting, such as a language


class ErrorAdapter(DescribedAdapter):
    """An adapter whose responses of status 400 or more raise `requests.HTTPError`.

    It saves every caller from writing ``response.raise_for_status()``, and does more. The message
    has the server's own explanation in it, and what the client knows of a credential that was
    refused; it is one line without control characters, and without anything that the request
    carried as a secret. The response is read, so that ``exception.response`` can be used even of a
    ``stream=True`` request, and the connection is back in the pool. No more than 1 MiB is read, for
    no longer than the read timeout altogether; then the connection is closed.

    The exception is raised by a response hook that comes after every other hook of the request
    (`requests.Session.send` dispatches the hook list after it has called the adapter), so that
    challenge-response authentication, such as `requests.auth.HTTPDigestAuth`, has answered first.
    Called without a session, the adapter raises nothing. Cookies that come with an error are in
    ``exception.response.cookies``, not in ``session.cookies``, which a hook cannot reach.

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
        """Build the response, and see to it that an error is raised, at once or after redirects."""
        response = super().build_response(req, resp, *args, **kwargs)
        if response.status_code >= 400:
            if raise_for_status not in req.hooks["response"]:
                req.register_hook("response", raise_for_status)
        elif response.status_code >= 300 and not any(_records(response)):
            req.register_hook("response", RedirectRecord())
        return response


class _Hop(NamedTuple):
    response: Response
    redirects: list[Response]
    requests: list[PreparedRequest]


class RedirectRecord:
    """A response hook that knows which redirects led to a response.

    requests tells no hook, and puts the history of a response together when the hooks are done. It
    copies the hooks along with the request on each redirect, but a prepared request, hooks
    included, may also be sent again, and by several threads at once.
    """

    def __init__(self) -> None:
        self._thread = threading.local()

    def __reduce__(self) -> tuple[type[RedirectRecord], tuple[()]]:
        # A response, or the exception that holds it, pickles; what a thread does at the moment is
        # of no use elsewhere.
        return type(self), ()

    def __call__(self, response: Response, **kwargs: Any) -> None:
        """See every response to the request, as requests calls its hooks.

        Parameters
        ----------
        response : requests.Response
        **kwargs
            The parameters of the request.
        """
        redirects = self.redirects(response)
        # A look at the status is cheaper than one at the headers.
        if response.status_code >= 300 and (redirects or response.is_redirect):
            # Now, since requests takes another history for that of a redirect later.
            requests = [*self.requests(response), *_requests(response)]
            self._thread.last = _Hop(response, redirects, requests)
        else:
            self._thread.last = None

    def redirects(self, response: Response) -> list[Response]:
        """Get the redirects that led to a response, the oldest first, as requests' history.

        Parameters
        ----------
        response : requests.Response
            That of this moment in this thread.

        Returns
        -------
        list of requests.Response
        """
        last: _Hop | None = getattr(self._thread, "last", None)
        if last is None:
            return []
        if last.response is response:
            return last.redirects
        return [*last.redirects, last.response] if _is_followed(last, response) else []

    def requests(self, response: Response) -> list[PreparedRequest]:
        """Get the requests that led to a response, but for its own.

        Parameters
        ----------
        response : requests.Response
            That of this moment in this thread.

        Returns
        -------
        list of requests.PreparedRequest
        """
        return self._thread.last.requests if self.redirects(response) else []


def _is_followed(last: _Hop, response: Response) -> bool:
    """Tell whether requests got a response by following the redirect before it."""
    if not last.response.is_redirect:
        return False
    if last.redirects:
        return response.request is not last.redirects[0].request
    # Only where it does not follow the first one does requests set `next` (requests 2.34).
    return last.response.next is None and response.request is not last.response.request


def raise_for_status(response: Response, **kwargs: Any) -> None:
    """Raise an exception for a response of status 400 or more; a response hook of requests.

    Parameters
    ----------
    response : requests.Response
        Its body is read, and its connection is free afterwards, or closed; see `ErrorAdapter`.
    **kwargs
        The parameters of the request, which every response hook gets.

    Raises
    ------
    requests.HTTPError
        The message is that of `requests.Response.raise_for_status`, followed by the explanation in
        the body: a text, or that of a JSON answer of Django REST framework, or of RFC 9457. After
        401, 403 and 404 comes what is known of the credential: what the first hook says that has a
        method ``explain``, which is called with the response and returns a `str`, or None if it
        has nothing to say; or, but for 404, that there was none.
    """
    if response.status_code < 400:
        return
    redaction = redaction_for(response, **kwargs)
    response.history = redirects_before(response) or response.history
    message = redaction(_message_of_requests(response))
    explanation = _cut(redaction(_explanation(response, read_body(response))))
    if explanation:
        message = f"{message}: {explanation}"
    hint = _hint(response, kwargs.get("cert"))
    if hint:
        url = shown_url(response.url)
        hint = redaction(f"{hint}; python -m requests_gracedb {url} tells more")
        message = f"{message} ({hint})"
    raise HTTPError(message, response=response)


def redirects_before(response: Response) -> list[Response]:
    """Get the redirects that led to a response, as far as a `RedirectRecord` saw them.

    Parameters
    ----------
    response : requests.Response
        The one that the hooks are called with.

    Returns
    -------
    list of requests.Response
        The oldest first.
    """
    return next(filter(None, (record.redirects(response) for record in _records(response))), [])


def redaction_for(response: Response, **kwargs: Any) -> Redaction:
    """Get what takes the secrets of a request, and of those that led to it, out of a text.

    Parameters
    ----------
    response : requests.Response
        The one that the hooks are called with.
    **kwargs
        The parameters of the request, which every response hook gets.

    Returns
    -------
    Redaction
    """
    earlier = chain.from_iterable(record.requests(response) for record in _records(response))
    secrets = chain.from_iterable(map(_secrets, [*earlier, *_requests(response)]))
    proxies = kwargs.get("proxies") or {}
    return Redaction([*secrets, *(get_auth_from_url(proxy)[1] for proxy in proxies.values())])


def _records(response: Response) -> Iterator[RedirectRecord]:
    hooks = response.request.hooks["response"]
    return (hook for hook in hooks if isinstance(hook, RedirectRecord))


def _requests(response: Response) -> list[PreparedRequest]:
    """Get the requests of a response, those included that were rejected and sent again."""
    return [answer.request for answer in (*response.history, response)]


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
    is_json = media_type == "application/json" or media_type.endswith("+json")
    if is_json or body.lstrip()[:1] in (b"{", b"[", b'"'):
        try:
            return "; ".join(_first(_phrases(json.loads(body))))
        except (ValueError, RecursionError):
            pass  # It is shown as it is.
    # requests takes text without a charset for ISO-8859-1, a default that RFC 9110 dropped.
    is_declared = "charset" in content_type.lower()
    is_text = is_json or media_type.startswith("text/")
    text = _text(body, is_declared and response.encoding or "utf-8", is_text)
    return "" if text.lstrip("\ufeff \t\r\n").startswith("<") else text


def _first(phrases: Iterator[str]) -> Iterator[str]:
    length = 0
    for phrase in phrases:
        yield phrase
        length += len(phrase) + 2
        if length > _MAXIMUM_EXPLANATION:
            return


def _phrases(answer: Any) -> Iterator[str]:
    """Find the explanation in an answer of Django REST framework, or of one that does likewise."""
    if isinstance(answer, dict):
        names = ("detail", "error", "errors", "message", "warnings")
        said = [answer[name] for name in names if answer.get(name)]
        if said:
            return _leaves(said)
    return _leaves(answer)


def _leaves(answer: Any, *names: str) -> Iterator[str]:
    if isinstance(answer, dict):
        for key, value in answer.items():
            yield from _leaves(value, *names, *([] if key == "non_field_errors" else [key]))
    elif isinstance(answer, list):
        for value in answer:
            yield from _leaves(value, *names)
    elif answer is not None:
        name = ".".join(filter(None, names))
        yield f"{name}: {answer}" if name else str(answer)


def _text(body: bytes, encoding: str, is_text: bool) -> str:
    """Decode a body; what is no text, and does not claim to be, is nothing."""
    if encoding.lower() in _SLOW:
        encoding = "utf-8"
    try:
        return body.decode(encoding, "replace" if is_text else "strict")
    except UnicodeDecodeError:
        return ""
    except (LookupError, ValueError):
        return body.decode("utf-8", "replace")


def _hint(response: Response, certificate: Any) -> str | None:
    """Tell what is known of a credential that was refused."""
    if response.status_code not in _REFUSED:
        return None
    for hook in response.request.hooks["response"]:
        if hasattr(hook, "explain"):
            hint: str | None = hook.explain(response)
            if hint is not None:
                return hint
    has_none = certificate is None and "Authorization" not in response.request.headers
    # A 404 may be just that.
    return "no credential was sent" if has_none and response.status_code != 404 else None


def _secrets(request: PreparedRequest) -> Iterator[str]:
    """Find what a request carried that others must not see."""
    for name in ("Authorization", "Proxy-Authorization"):
        yield from _credentials(_native(request.headers.get(name, "")))
    yield get_auth_from_url(request.url or "")[1]
    for cookie in _native(request.headers.get("Cookie", "")).split(";"):
        value = cookie.partition("=")[2].strip()
        if len(value) >= _SHORTEST_COOKIE:
            yield value


def _credentials(header: str) -> Iterable[str]:
    scheme, _, credential = header.partition(" ")
    if scheme.lower() != "basic":
        return [credential or scheme]
    try:
        decoded = b64decode(credential)
    except ValueError:
        return [credential]  # not of our making: nothing more is known of it
    pairs = [decoded.decode(encoding, "replace") for encoding in ("utf-8", "latin-1")]
    return [credential, *pairs, *(pair.partition(":")[2] for pair in pairs)]


def _native(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _cut(text: str) -> str:
    return text if len(text) <= _MAXIMUM_EXPLANATION else text[: _MAXIMUM_EXPLANATION - 1] + "…"
