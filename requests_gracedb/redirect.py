"""An upload that is lost in a redirect is an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin
from weakref import ref

from requests import HTTPError, PreparedRequest, Response
from requests.exceptions import UnrewindableBodyError
from requests.sessions import SessionRedirectMixin

from .body import is_repeatable, read_body
from .described import DescribedAdapter
from .errors import RedirectRecord, redaction_for
from .redaction import shown_url

_SAFE = {"GET", "HEAD", "OPTIONS", "TRACE"}  # RFC 9110, section 9.2.1
_SAME_METHOD = 307, 308
_READ_ONCE = (
    "it is not known whether its body can be read a second time (one that can may have an "
    "attribute is_repeatable that is True)"
)


class RedirectAdapter(DescribedAdapter):
    """An adapter that raises `requests.HTTPError` when a redirect has swallowed an upload.

    requests follows a 301 or 302 after a POST, and a 302 after PUT, PATCH or DELETE, with a GET
    without the body, as browsers do (RFC 9110, section 15.4). It follows a 301 after PUT, PATCH or
    DELETE with the same method, but also without the body. It follows a 307 or 308 with what is
    left of the body, which is nothing if the body can be read only once, such as a generator. What
    comes back is some page, often with status 200, and the upload is lost. GraceDB redirects a POST
    like this if its URL lacks the final slash; others redirect to a login page. The exception has
    the redirect as ``.response``, and its message names both URLs. It is raised by a response hook
    that travels along, so it does not matter which adapter sends the second request, except after a
    307 or 308 and for a body other than a generator.

    A 303 says that the request has been dealt with, and a 307 or 308 keeps method and body. These
    are followed as usual, if there is a body left. So are all redirects of a GET. With
    ``allow_redirects=False``, the caller gets the redirect. But an upload whose answer leads
    nowhere, such as a 302 without Location, always raises: requests would return it as if all was
    well.

    A body that may be readable only once is not sent again by an auth object that answers a
    challenge, such as `requests.auth.HTTPDigestAuth`, either: that raises
    ``requests.exceptions.UnrewindableBodyError``. requests would send what is left of it.

    Parameters
    ----------
    **kwargs
        See `requests.adapters.HTTPAdapter`.

    Examples
    --------
    >>> session.mount("https://gracedb.ligo.org/", RedirectAdapter())
    """

    def add_headers(self, request: PreparedRequest, **kwargs: Any) -> None:
        """Add the response hook to a request that is not just a question."""
        super().add_headers(request, **kwargs)
        if request.method in _SAFE:
            return
        hooks = request.hooks["response"]
        guards = [hook for hook in hooks if isinstance(hook, _UploadGuard)]
        if not guards:
            hooks.append(_UploadGuard(request))
        for guard in guards:
            guard.check(request, **kwargs)


class _UploadGuard(RedirectRecord):
    """A response hook that raises when a redirect has lost an upload."""

    def __init__(self, request: PreparedRequest) -> None:
        self._first: Callable[[], PreparedRequest | None] = ref(request)
        self._sent = None if is_repeatable(request) else request.body

    def check(self, request: PreparedRequest, **kwargs: Any) -> None:
        """Raise if what is left of a body is sent: after a 307, or by `HTTPDigestAuth`."""
        is_left_over = self._sent is not None and request.body is self._sent
        if not is_left_over or request is self._first():
            return
        last = getattr(self._thread, "last", None)
        if last is None or last.response.status_code not in _SAME_METHOD:
            raise UnrewindableBodyError(
                f"{request.method} {shown_url(request.url or '')} was not sent again: {_READ_ONCE}",
                request=request,
            )
        message = _lost(last.response, request.url or "", _READ_ONCE)
        raise HTTPError(redaction_for(last.response, **kwargs)(message), response=last.response)

    def __reduce__(self) -> tuple[type[RedirectRecord], tuple[()]]:
        return RedirectRecord, ()  # The body is not part of a pickle.

    def __call__(self, response: Response, **kwargs: Any) -> None:
        if response.status_code < 300 and self._thread is None:
            return  # There was no redirect, as for nearly every upload.
        redirects = self.redirects(response)
        super().__call__(response, **kwargs)
        if response.request.method not in _SAFE and _leads_nowhere(response):
            read_body(response)
            message = redaction_for(response, **kwargs)(_nowhere(response))
            raise HTTPError(message, response=response)
        if redirects and _is_lost(redirects[-1], response.request):
            read_body(response)
            redirect = redirects[-1]
            redirect.history = redirects[:-1]  # which requests 2.32 gets wrong
            message = _lost(redirect, response.url, "requests went on without the body")
            raise HTTPError(redaction_for(response, **kwargs)(message), response=redirect)


def _leads_nowhere(response: Response) -> bool:
    """Tell whether a response is a redirect that requests cannot follow."""
    if not response.is_redirect:
        return 300 <= response.status_code < 400
    try:
        target = SessionRedirectMixin().get_redirect_target(response)
        urljoin(response.url, target)
    except ValueError:
        return True
    return not target


def _is_lost(redirect: Response, following: PreparedRequest) -> bool:
    """Tell whether following a redirect has lost what a request was to do."""
    upload = redirect.request
    if redirect.status_code in _SAME_METHOD:  # An adapter of another kind has sent it.
        return isinstance(upload.body, Iterator) and not is_repeatable(upload)
    if redirect.status_code == 303 or upload.method == "GET":
        return False  # A 303 asks for a GET.
    return following.method == "GET" or upload.body is not None and following.body is None


def _lost(redirect: Response, followed: str, why: str) -> str:
    lost, followed = shown_url(redirect.url), shown_url(followed)
    advice = (
        "use the URL with the slash at the end"
        if followed == f"{lost}/"
        else "use the URL that accepts it, or log in if that is what the redirect is for"
    )
    return (
        f"{redirect.status_code} {redirect.reason}: {redirect.request.method} {lost} was "
        f"redirected to {followed}, and {why}, so that nothing was uploaded: {advice}"
    )


def _nowhere(response: Response) -> str:
    return (
        f"{response.status_code} {response.reason}: {response.request.method} "
        f"{shown_url(response.url)} was answered with a redirect that cannot be followed. It is "
        "not known whether the upload arrived: look before you send it again"
    )
