"""Bodies: whether that of a request can be sent again, and reading that of a response."""

from __future__ import annotations

from requests import PreparedRequest, Response
from requests.exceptions import RequestException
from requests.utils import rewind_body


def is_repeatable(request: PreparedRequest) -> bool:
    """Tell whether the body of a request can be sent more than once.

    An iterable body says so itself, by an attribute ``is_repeatable`` that is true. Of others
    nobody knows whether they yield the same again: a progress bar around a generator yields
    nothing.

    Parameters
    ----------
    request : requests.PreparedRequest

    Returns
    -------
    bool
        False for a generator, a file without a position, and all that is unknown.
    """
    return (
        request.body is None
        or isinstance(request.body, (str, bytes, bytearray, memoryview))
        or getattr(request.body, "is_repeatable", False) is True
        or isinstance(request._body_position, int)
    )


def rewind(request: PreparedRequest) -> None:
    """Take the body of a request that was sent back to where it was before.

    Parameters
    ----------
    request : requests.PreparedRequest

    Raises
    ------
    requests.exceptions.UnrewindableBodyError
        It cannot be rewound.
    """
    if request._body_position is not None:  # It has no public name (requests 2.34).
        rewind_body(request)


def read_body(response: Response) -> bytes:
    """Read the body of a response, so that the connection can serve the next request.

    Parameters
    ----------
    response : requests.Response

    Returns
    -------
    bytes
        Nothing if the body breaks off, or if a response hook of the user has taken it: the status
        has said already what happened.
    """
    try:
        return response.content or b""
    except (RequestException, RuntimeError):
        response.close()
        # Whoever handles the exception may read the response, and shall not meet another one there.
        # The attribute has no public name (requests 2.34).
        response._content = b""
        return b""
