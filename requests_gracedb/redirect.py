"""An upload that got lost in a redirect is an error."""

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

    requests follows a 301 or 302 to a POST, and a 302 to PUT, PATCH or DELETE, with a GET, without
    the body, as browsers do (RFC 9110, section 15.4); a 301 to PUT, PATCH or DELETE with the same
    method, but without the body as well; and a 307 or 308 with what is left of a generator, which
    is nothing. What comes back is some page, often with
    status 200, and the upload is lost: GraceDB answers so to a POST whose URL lacks the slash at
    the end, others redirect to a page to log in. The exception has the redirect as ``.response``,
    and its message names both URLs. A response hook raises it, which travels along: it does not
    matter which adapter sends the second request.

    A 303 says that the request has been dealt with, and 307 and 308 keep method and body: they are
    followed as ever, but for a generator. So are all redirects of a GET, and with
    ``allow_redirects=False`` the caller gets the redirect.

    Parameters
    ----------
    **kwargs
        See `requests.adapters.HTTPAdapter`.

    Examples
    --------
    >>> session.mount("https://gracedb.ligo.org/", RedirectAdapter())
    """

    def add_headers(self, request: PreparedRequest, **kwargs: Any) -> None:
        """Add the response hook to a request that is more than a question."""
        super().add_headers(request, **kwargs)
        if request.method not in _SAFE:
            hooks = request.hooks["response"]
            if not any(isinstance(hook, _UploadGuard) for hook in hooks):
                hooks.append(_UploadGuard())


class _UploadGuard(RedirectRecord):
    """A response hook that raises when requests has followed a redirect without the body."""

    def __call__(self, response: Response, **kwargs: Any) -> None:
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
    """Tell whether what a request was to do is not in the one that follows a redirect."""
    upload = redirect.request
    if redirect.status_code in (307, 308):  # The same again, of which nothing may be left.
        return isinstance(upload.body, Iterator) and not is_repeatable(upload)
    if redirect.status_code == 303 or upload.method == "GET":
        return False  # A 303 means the GET.
    return following.method == "GET" or upload.body is not None and following.body is None


def _message(redirect: Response, response: Response) -> str:
    lost, followed = (shown_url(answer.url) for answer in (redirect, response))
    advice = (
        "use the URL with the slash at the end"
        if followed == f"{lost}/"
        else "use the URL that takes it, or log in, if that is what the redirect is for"
    )
    return (
        f"{redirect.status_code} {redirect.reason}: {redirect.request.method} {lost} was "
        f"redirected to {followed}, and requests went on without the body, so that nothing was "
        f"uploaded: {advice}"
    )
