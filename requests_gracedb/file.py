"""Files in a form get a media type, and none gets lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from requests import PreparedRequest

from .described import DescribedAdapter
from .form import FormData, guess_content_type

# The boundary of a form that urllib3 made for requests (filepost.choose_boundary, urllib3 2.0).
_FORM = r"multipart/form-data; boundary=([0-9a-f]{32})"
_FILENAME = rb'\r\nContent-Disposition:[^\r\n]*; filename="([^"\r\n]*)"'
_NO_FILE = (
    "there is no file in the form: requests leaves out a file whose content is None. Pass "
    "data=requests_gracedb.FormData(data, files), which reads it from disk, and takes a form "
    "without files"
)
_WORTH_COPYING = 1024 * 1024  # bytes
_CONTENT_TYPE = rb"(?i)\r\nContent-Type:"


class FileAdapter(DescribedAdapter):
    """An adapter for forms with files.

    - A `FormData` body gets its Content-Type header.
    - Files that are passed with requests' ``files=`` get a media type guessed from their names if
      none was given.
    - requests silently leaves out a file whose content is None. If no file is left, the request
      fails before anything is sent. (One file left out among others leaves no trace; `FormData`
      reads such files from disk.)

    Parameters
    ----------
    **kwargs
        See `requests.adapters.HTTPAdapter`.

    Examples
    --------
    >>> session.mount("https://gracedb.ligo.org/", FileAdapter())
    >>> session.post(
    ...     "https://gracedb.ligo.org/api/events/",
    ...     data=FormData({"group": "Test", "pipeline": "gstlal"}, {"eventFile": ("coinc.xml",)}),
    ... )
    """

    def add_headers(self, request: PreparedRequest, **kwargs: Any) -> None:
        """Set the headers of the form and of its parts.

        Raises
        ------
        ValueError
            The request has a form that was made from ``files=``, but contains no file.
        """
        super().add_headers(request, **kwargs)
        body = request.body
        if isinstance(body, FormData):
            request.headers["Content-Type"] = body.content_type
        elif isinstance(body, bytes):
            form = re.fullmatch(_FORM, str(request.headers.get("Content-Type", "")))
            delimiter = f"--{form[1]}".encode() if form else b""
            if form and body.startswith(delimiter):
                form_with_types = _with_content_types(body, b"\r\n" + delimiter)
                request.headers["Content-Length"] = str(len(form_with_types))
                request.body = form_with_types


def _with_content_types(body: bytes, delimiter: bytes) -> bytes | Pieces:
    pieces: list[bytes | memoryview] = []
    view = memoryview(body)
    has_file = False
    end = len(body)
    # From the last part to the first: rfind takes at most half the time of find (CPython 3.13).
    next_part = body.rfind(delimiter)
    while next_part > 0:
        part = body.rfind(delimiter, 0, next_part)
        # The first delimiter has no line break before it.
        start = len(delimiter) + (part if part >= 0 else -len(b"\r\n"))
        header_end = body.index(b"\r\n\r\n", start, next_part + len(b"\r\n"))
        header = body[start:header_end]
        filename = re.search(_FILENAME, header)
        has_file = has_file or filename is not None
        if filename and not re.search(_CONTENT_TYPE, header):
            content_type = guess_content_type(filename[1].decode("utf-8", "replace"))
            pieces += view[header_end:end], f"\r\nContent-Type: {content_type}".encode()
            end = header_end
        next_part = part
    if not has_file:
        raise ValueError(_NO_FILE)
    if not pieces:
        return body
    pieces = [view[:end], *reversed(pieces)]
    return b"".join(pieces) if len(body) < _WORTH_COPYING else Pieces(pieces)


class Pieces:
    """A large body, which takes longer to join than to search for what it lacks."""

    is_repeatable = True

    def __init__(self, pieces: list[bytes | memoryview]) -> None:
        self._pieces = pieces
        self._length = sum(map(len, pieces))

    def __len__(self) -> int:
        return self._length

    def __bytes__(self) -> bytes:
        return b"".join(self._pieces)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._pieces)

    def __reduce__(self) -> tuple[type[bytes], tuple[bytes]]:
        # A memoryview does not pickle, and whoever loads the pickle need not have this class.
        return bytes, (bytes(self),)
