"""Forms with files, declared up front and streamed when sent."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from functools import lru_cache
from http.client import HTTPException
from mimetypes import MimeTypes
from typing import Any

from requests.structures import CaseInsensitiveDict
from requests.utils import guess_filename
from urllib3.exceptions import HTTPError

from .content import BLOCK_SIZE, TEXT, Content, MemoryContent, content_of

_FIELD_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110, section 5.6.2
_FIELD_VALUE = r"[^\0-\x08\x0a-\x1f\x7f]*"  # RFC 9110, section 5.5
_SURROGATE = "[\ud800-\udfff]"

_LONGEST_PATH = 4096  # characters; a longer text need not be looked for on disk
_PATH_AS_TEXT = (
    "a str in files is the content of a file, but this one is the name of a file on disk, which is "
    "not sent: pass a path object, or the tuple (name,)"
)

Fields = Mapping[str, Any] | Iterable[tuple[str, Any]]


class FormData:
    """A multipart/form-data body (RFC 7578), to pass as ``data=`` with a request.

    It is made from what requests takes as ``data=`` and ``files=``, and from files on disk. Files
    are read while they are sent; only a small form is read as a whole. The form has a length, which
    requests sends as Content-Length. It can be sent any number of times: after a redirect, a retry
    or a 401, and by several threads at once. Filenames and field names are encoded as browsers do
    (WHATWG HTML, "multipart form data").

    `FileAdapter` sets the Content-Type header. With any other adapter, pass
    ``headers={"Content-Type": form.content_type}``.

    Parameters
    ----------
    data : mapping or iterable of pairs, optional
        Names and values of plain fields. A value is a `str`, `bytes`, or anything with a `str`
        form; a list of them repeats the field, and None leaves it out.
    files : mapping or iterable of pairs, optional
        Field names and files. A file is one of

        - a path object (`os.PathLike`), read from disk;
        - an open file: a regular one of bytes, or ``io.BytesIO``, is sent from its current
          position, which does not change; what is left in any other, such as a pipe, a text file,
          or one that decompresses what it reads, is copied to a temporary file when the form is
          made;
        - `bytes` or `str` (sent as UTF-8): the content itself;
        - a tuple ``(filename, content, content_type, headers)``; the last three may be missing or
          None. The content is any of the above. Without content, the filename is a path, read from
          disk, or the `str` ``"-"``, standard input. ``headers`` is a mapping of further headers
          for this part;
        - a list of the above: several files in one field. (As in requests, a list that starts with
          a `str` or None is taken for a tuple.)

        If no content type is given, it is guessed from the filename, in the same way on every
        machine.
    progress : callable, optional
        Called with the number of bytes that are about to be handed on, and with a negative number
        when that many must be sent again, as ``tqdm.update`` expects. It counts for one request at
        a time. If it raises an exception, the request ends before the form is complete. One that
        urllib3 would take for a connection fault becomes the cause of a `RuntimeError`.

    Attributes
    ----------
    content_type : str
        The value of the Content-Type header, boundary included.

    Raises
    ------
    OSError
        A file cannot be read, or not to its end.
    ValueError
        A name, content type or part header could break the form; a file has neither name nor
        content; there is nothing in standard input; or nothing is left in an open file that can be
        read only once.
    TypeError
        A file is of another type, or a value of ``data`` is a path or an open file.

    Warns
    -----
    UserWarning
        A `str` in ``files`` is the name of a file on disk, but is sent as content.

    Notes
    -----
    A file on disk is opened anew each time the form is sent. If it is no longer the file that it
    was when the form was made (device, inode, size and modification time; only the latter two after
    a pickle), iterating raises a `RuntimeError` that names the file, before the closing boundary.
    requests then closes the connection, and the server sees an incomplete request. (A small form is
    read before anything is sent; see `ConnectionAdapter`.) The error is not an `OSError`, which
    urllib3 would take for a connection fault.

    A form can be pickled, without ``progress``, unless it holds an open file. Files on disk are
    read where the pickle is loaded.

    Examples
    --------
    >>> form = FormData({"group": "Test", "pipeline": "gstlal"}, {"eventFile": ("coinc.xml",)})
    >>> session.post("https://gracedb.ligo.org/api/events/", data=form)
    """

    #: Tells the adapters that the body can be sent again.
    is_repeatable = True

    def __init__(
        self,
        data: Fields | None = None,
        files: Fields | None = None,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        boundary = os.urandom(16).hex()
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._delimiter = f"--{boundary}\r\n".encode()
        self._end = f"--{boundary}--\r\n".encode()
        self._fields: list[_Field] = [*_data_fields(data), *_file_fields(files)]
        self._length = len(self._end) + sum(
            len(self._delimiter) + len(field.header) + field.content.size + len(b"\r\n")
            for field in self._fields
        )
        if any(field.is_path_as_text for field in self._fields):
            warnings.warn(_PATH_AS_TEXT, stacklevel=2)
        self._progress = progress
        self._handed_on = 0

    def __repr__(self) -> str:
        # With the boundary, no two forms look the same, even to a cache that compares this.
        boundary = self.content_type.rpartition("=")[2]
        return f"<FormData {boundary}: {len(self._fields)} parts, {self._length} bytes>"

    def __getstate__(self) -> dict[str, Any]:
        # An exception may take the form to another process, where a progress bar cannot follow.
        return {**self.__dict__, "_progress": None}

    def __len__(self) -> int:
        return self._length

    def __bytes__(self) -> bytes:
        return b"".join(self._blocks())

    def __iter__(self) -> Iterator[bytes]:
        if self._progress is None:
            return self._blocks()
        return self._reported(self._progress)

    def _reported(self, progress: Callable[[int], object]) -> Iterator[bytes]:
        if self._handed_on:
            _call(progress, -self._handed_on)
            self._handed_on = 0
        for block in self._blocks():
            # Before the block is sent: if this fails, the server does not have a whole form.
            _call(progress, len(block))
            self._handed_on += len(block)
            yield block

    def _blocks(self) -> Iterator[bytes]:
        """Join small pieces: each block is one write."""
        pending: list[bytes] = []
        size = 0
        for piece in self._pieces():
            pending.append(piece)
            size += len(piece)
            if size >= BLOCK_SIZE:
                yield b"".join(pending)
                pending.clear()
                size = 0
        yield b"".join(pending)

    def _pieces(self) -> Iterator[bytes]:
        for field in self._fields:
            yield self._delimiter + field.header
            yield from field.content
            yield b"\r\n"
        yield self._end


@lru_cache
def guess_content_type(filename: str) -> str:
    """Guess the media type of a file from its name.

    The result depends only on the name and the version of Python, not on the tables of the machine.

    Parameters
    ----------
    filename : str

    Returns
    -------
    str
        ``application/octet-stream`` if the name tells nothing.
    """
    # With a directory in front, no name is a URL: guess_type would read a/b from "data:a/b,".
    content_type, encoding = _mime_types().guess_type("./" + filename)
    if encoding is not None:
        return "application/gzip" if encoding == "gzip" else f"application/x-{encoding}"
    return content_type or "application/octet-stream"


def _call(progress: Callable[[int], object], count: int) -> None:
    try:
        progress(count)
    except (OSError, HTTPException, HTTPError) as error:
        # urllib3 would take it for a connection fault.
        raise RuntimeError(f"progress failed: {error}") from error


@lru_cache(maxsize=None)
def _mime_types() -> MimeTypes:
    mime_types = MimeTypes()
    mime_types.add_type("application/fits", ".fits")
    mime_types.add_type("application/x-hdf5", ".h5")
    mime_types.add_type("application/x-hdf5", ".hdf5")
    return mime_types


def _data_fields(data: Fields | None) -> Iterator[_Field]:
    for name, values in _pairs(data):
        _refuse_file(name, values)
        if isinstance(values, TEXT) or not hasattr(values, "__iter__"):
            values = [values]
        yield from (_DataField(name, value) for value in values if value is not None)


def _refuse_file(name: str, value: Any) -> None:
    if isinstance(value, os.PathLike) or hasattr(value, "read"):
        raise TypeError(
            f"the value of field {name!r} is a file, and data would send only its name or its "
            "lines: pass it in files"
        )


def _file_fields(files: Fields | None) -> Iterator[_Field]:
    for name, value in _pairs(files):
        for file in value if _is_several(value) else [value]:
            yield _FileField(name, *_file_tuple(name, file))


def _pairs(fields: Fields | None) -> Iterable[tuple[str, Any]]:
    if isinstance(fields, (str, bytes)):
        raise ValueError("data and files of a form must be mappings or pairs, not text")
    return fields.items() if isinstance(fields, Mapping) else fields or ()


def _is_several(value: Any) -> bool:
    return isinstance(value, list) and value != [] and not isinstance(value[0], (str, type(None)))


def _file_tuple(name: str, file: Any) -> tuple[Any, Any, Any, Any]:
    if isinstance(file, os.PathLike):
        return file, None, None, None
    if file is None:
        file = (None,)
    if not isinstance(file, (tuple, list)):
        return guess_filename(file) or name, file, None, None
    if not 1 <= len(file) <= 4:
        raise ValueError(f"the file of field {name!r} has {len(file)} items, not 1 to 4")
    filename, content, content_type, headers = (*file, None, None, None)[:4]
    if filename is None and content is None:
        raise ValueError(f"the file of field {name!r} has neither a filename nor content")
    return filename, content, content_type, headers


class _Field:
    """A part of a form: its header, as it is sent, and its content."""

    header: bytes
    content: Content
    is_path_as_text = False


class _DataField(_Field):
    """A field as a part of a form."""

    def __init__(self, name: str, value: Any) -> None:
        _refuse_file(name, value)
        self.header = _header(name)
        self.content = MemoryContent(value if isinstance(value, TEXT) else str(value))


class _FileField(_Field):
    """A file as a part of a form."""

    def __init__(
        self, name: str, filename: Any, content: Any, content_type: Any, headers: Any
    ) -> None:
        is_path = content is None
        if isinstance(filename, os.PathLike):
            filename, content = os.fsdecode(filename), filename if is_path else content
        self.content = content_of(name, filename, content)
        self.is_path_as_text = isinstance(content, str) and _names_a_file(content)
        if filename is not None:
            filename = os.fsdecode(filename)
        if is_path:
            filename = os.path.basename(filename)
        self.header = _header(name, filename, _with_content_type(filename, content_type, headers))


def _names_a_file(text: str) -> bool:
    return len(text) <= _LONGEST_PATH and os.path.isfile(text)


def _with_content_type(filename: str | None, content_type: Any, given: Any) -> Mapping[str, str]:
    headers: MutableMapping[str, str] = CaseInsensitiveDict(given) if given else {}
    if content_type is None and filename is not None and "Content-Type" not in headers:
        content_type = guess_content_type(filename)
    if not content_type:
        return headers
    headers.pop("Content-Type", None)
    return {"Content-Type": content_type, **headers}


def _header(
    name: str, filename: str | None = None, headers: Mapping[str, str] | None = None
) -> bytes:
    lines = [f'Content-Disposition: form-data; name="{_quoted(name)}"']
    if filename is not None:
        lines[0] += f'; filename="{_quoted(filename)}"'
    for field, value in (headers or {}).items():
        if not re.fullmatch(_FIELD_NAME, field) or field.lower() == "content-disposition":
            raise ValueError(f"{field!r} cannot be a header of a part of a form")
        if not re.fullmatch(_FIELD_VALUE, value):
            raise ValueError(f"the part header {field} has a control character in its value")
        lines.append(f"{field}: {value}")
    return "\r\n".join([*lines, "", ""]).encode()


def _quoted(name: str | bytes) -> str:
    """Encode a name as browsers do: WHATWG HTML, "multipart/form-data encoding algorithm"."""
    text = os.fsdecode(name)
    if not text.isascii():
        text = re.sub(_SURROGATE, "\N{REPLACEMENT CHARACTER}", text)
    if "\0" in text:
        raise ValueError(f"{text!r} contains a NUL, which no form parser could read back")
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
