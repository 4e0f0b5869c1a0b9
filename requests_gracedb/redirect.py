"""An upload that is lost in a redirect is an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from requests import HTTPError, PreparedRequest, Response

from .body import is_repeatable, read_body
from .described import DescribedAdapter
from .errors import RedirectRecord, redaction_for
from .redaction import shown_url


_SAFE = {"GET", "HEAD", "OPTIONS", "TRACE"}  # RFC 9110, section 9.2.1


class RedirectAdapter(DescribedAdapter):
    """An adapter that raises `requests.HTTPError` when a redirect has swallowed an upload.

    requests follows a 301 or 302 after a POST, and a 302 after PUT, PATCH or DELETE, with a GET
    without the body, as browsers do (RFC 9110, section 15.4). It follows a 301 after PUT, PATCH or
    DELETE with the same method, but also without the body. It follows a 307 or 308 with what is
    left of a generator, which is nothing. What comes back is some page, often with status 200, and
    the upload is lost. GraceDB redirects a POST like this if its URL lacks the final slash; others
    redirect to a login page. The exception has the redirect as ``.response``, and its message names
    both URLs. It is raised by a response hook that travels along, so it does not matter which
    adapter sends the second request.

    A 303 says that the request has been dealt with, and a 307 or 308 keeps method and body. These
    are followed as usual, except a 307 or 308 with a generator as the body. So are all redirects of
    a GET. With ``allow_redirects=False``, the caller gets the redirect.

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
        if request.method not in _SAFE:
            hooks = request.hooks["response"]
            if not any(isinstance(hook, _UploadGuard) for hook in hooks):
                hooks.append(_UploadGuard())


class _UploadGuard(RedirectRecord):
    """A response hook that raises when requests has followed a redirect without the body."""

    def __call__(self, response: Response, **kwargs: Any) -> None:
        if response.status_code < 300 and self._thread is None:
            return  # There was no redirect, as for nearly every upload.
        redirects = self.redirects(response)
        super().__call__(response, **kwargs)
        if not redirects or not _is_lost(redirects[-1], response.request):
            return
        redirect = redirects[-1]
        read_body(response)
        redirect.history = redirects[:-1]  # which requests 2.32 gets wrong
        redaction = redaction_for(response, **kwargs)
        raise HTTPError(redaction(_message(redirect, response)), response=redirect)


def _is_lost(redirect: Response, following: PreparedRequest) -> bool:
    """Tell whether following a redirect has lost what a request was to do."""
    upload = redirect.request
    if redirect.status_code in (307, 308):  # The same again, but nothing may be left of it.
        return isinstance(upload.body, Iterator) and not is_repeatable(upload)
    if redirect.status_code == 303 or upload.method == "GET":
        return False  # A 303 asks for a GET.
    return following.method == "GET" or upload.body is not None and following.body is None


def _message(redirect: Response, response: Response) -> str:
    lost, followed = (shown_url(answer.url) for answer in (redirect, response))
    advice = (
        "use the URL with the slash at the end"
        if followed == f"{lost}/"
        else "use the URL that accepts it, or log in if that is what the redirect is for"
    )
    return (
        f"{redirect.status_code} {redirect.reason}: {redirect.request.method} {lost} was "
        f"redirected to {followed}, and requests went on without the body, so that nothing was "
        f"uploaded: {advice}"
    )
