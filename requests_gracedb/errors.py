"""Server errors become exceptions that say what the server said."""

from __future__ import annotations

import json
import threading
from base64 import b64decode
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

from requests import HTTPError, PreparedRequest, Response
from requests.utils import get_auth_from_url, urldefragauth

from .body import read_body
from .described import DescribedAdapter
from .redaction import Redaction, shown_url

_MAXIMUM_EXPLANATION = 500  # characters
_SLOW = "punycode", "idna"  # Decoding takes time that grows with the square of the length.
_REFUSED = 401, 403, 404  # in GraceDB, an event that you may not see does not exist
_SHORTEST_COOKIE = 8  # characters; shorter ones are settings, such as a language


class ErrorAdapter(DescribedAdapter):
    """An adapter whose responses of status 400 or more raise `requests.HTTPError`.

    Callers need not write ``response.raise_for_status()``, and get more. The message includes the
    server's own explanation, and what the client knows about a refused credential. It is one line
    without control characters, and without the credentials and cookies that the request carried; a
    query stays, as in the messages of requests. The response is read, so that
    ``exception.response`` can be used even with ``stream=True``, and the connection is back in the
    pool. At most 1 MiB is read, for no longer than the read timeout in total; then the connection
    is closed.

    The exception is raised by a response hook that runs after all other hooks of the request
    (`requests.Session.send` dispatches the hook list after it has called the adapter). So
    challenge-response authentication, such as `requests.auth.HTTPDigestAuth`, answers first. Called
    without a session, the adapter raises nothing. Cookies that come with an error are in
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
        """Build the response, and have an error raised, at once or after redirects."""
        response = super().build_response(req, resp, *args, **kwargs)
        if response.status_code >= 400:
            if raise_for_status not in req.hooks["response"]:
                req.register_hook("response", raise_for_status)
        elif response.status_code >= 300 and not any(_records(response)):
            req.register_hook("response", RedirectRecord())
        return response


class _Hop:
    def __init__(
        self, response: Response, redirects: list[Response], requests: list[PreparedRequest]
    ) -> None:
        self.response = response
        self.redirects = redirects
        self.requests = requests


class RedirectRecord:
    """A response hook that knows which redirects led to a response.

    requests tells hooks nothing of these, and sets the history of a response only after them. It
    copies the hooks along with the request on each redirect. But a prepared request, including its
    hooks, may also be sent again, even by several threads at once.
    """

    # There is none until there is a redirect: it would cost each upload more than all else here.
    _thread: threading.local | None = None

    def __reduce__(self) -> tuple[type[RedirectRecord], tuple[()]]:
        # A response, or the exception that holds it, can be pickled; the current state of a thread
        # is of no use elsewhere.
        return type(self), ()

    def __call__(self, response: Response, **kwargs: Any) -> None:
        """Record every response to the request, as a response hook of requests.

        Parameters
        ----------
        response : requests.Response
        **kwargs
            The parameters of the request.
        """
        redirects = self.redirects(response)
        # Checking the status is cheaper than checking the headers.
        if response.status_code >= 300 and (redirects or response.is_redirect):
            # Now, because requests gives a redirect another history later.
            requests = [*self.requests(response), *_requests(response)]
            # Two threads may do this at the same time, and must get the same.
            thread = vars(self).setdefault("_thread", threading.local())
            thread.last = _Hop(response, redirects, requests)
        elif self._thread is not None:
            self._thread.last = None

    def redirects(self, response: Response) -> list[Response]:
        """Get the redirects that led to a response, oldest first, as in requests' history.

        Parameters
        ----------
        response : requests.Response
            The one that this thread is handling now.

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
        """Get the requests that led to a response, except its own.

        Parameters
        ----------
        response : requests.Response
            The one that this thread is handling now.

        Returns
        -------
        list of requests.PreparedRequest
        """
        last: _Hop | None = getattr(self._thread, "last", None)
        return last.requests if last is not None and self.redirects(response) else []


def _is_followed(last: _Hop, response: Response) -> bool:
    """Tell whether requests got a response by following the redirect before it."""
    if not last.response.is_redirect:
        return False
    if last.redirects:
        return response.request is not last.redirects[0].request
    # requests sets `next` only where it does not follow the first redirect (requests 2.34).
    return last.response.next is None and response.request is not last.response.request


def raise_for_status(response: Response, **kwargs: Any) -> None:
    """Raise an exception for a response of status 400 or more; a response hook of requests.

    Parameters
    ----------
    response : requests.Response
        Its body is read; its connection is then free, or closed. See `ErrorAdapter`.
    **kwargs
        The parameters of the request, which every response hook gets.

    Raises
    ------
    requests.HTTPError
        The message is that of `requests.Response.raise_for_status`, followed by the explanation in
        the body: a text, or that in a JSON answer of Django REST framework, or of RFC 9457. After
        401, 403 and 404 comes what is known about the credential. Hooks with a method ``explain``
        are asked in turn until one answers: the method is called with the response, and returns a
        `str`, or None if it has nothing to say. If none answers, and except for 404, the message
        says if there was no credential.
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
        # Not with --check, which would send a credential: a redirect may have led anywhere.
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
        Oldest first.
    """
    return next(filter(None, (record.redirects(response) for record in _records(response))), [])


def redaction_for(response: Response, **kwargs: Any) -> Redaction:
    """Get the redaction for the secrets of a request, and of those that led to it.

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
    # The answers that requests-cache (1.3) has kept have requests of another kind.
    hooks = getattr(response.request, "hooks", {}).get("response", ())
    return (hook for hook in hooks if isinstance(hook, RedirectRecord))


def _requests(response: Response) -> list[PreparedRequest]:
    """Get the requests of a response, including those that were rejected and sent again."""
    return [answer.request for answer in (*response.history, response)]


def _message_of_requests(response: Response) -> str:
    try:
        response.raise_for_status()
    except HTTPError as error:
        message = str(error)
    else:
        # requests takes a status of 600 or more for success.
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
    # requests reads text without a charset as ISO-8859-1, a default that RFC 9110 dropped.
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
    """Find the explanation in an answer of Django REST framework, or one like it."""
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
    """Decode a body; return nothing if it is not text, and does not claim to be."""
    if encoding.lower() in _SLOW:
        encoding = "utf-8"
    try:
        return body.decode(encoding, "replace" if is_text else "strict")
    except UnicodeDecodeError:
        return ""
    except (LookupError, ValueError):
        return body.decode("utf-8", "replace")


def _hint(response: Response, certificate: Any) -> str | None:
    """Tell what is known about a credential that was refused."""
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
    """Find the secrets that a request carried."""
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
        return [credential]  # not of our making: nothing more is known about it
    pairs = [decoded.decode(encoding, "replace") for encoding in ("utf-8", "latin-1")]
    return [credential, *pairs, *(pair.partition(":")[2] for pair in pairs)]


def _native(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _cut(text: str) -> str:
    return text if len(text) <= _MAXIMUM_EXPLANATION else text[: _MAXIMUM_EXPLANATION - 1] + "…"
