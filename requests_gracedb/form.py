"""Forms with files, declared at once and streamed when they are sent."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import lru_cache, partial
from http.client import HTTPResponse
from io import BufferedRandom, BufferedReader, BytesIO, FileIO
from mimetypes import MimeTypes
from typing import IO, Any, NamedTuple, Union

from requests.structures import CaseInsensitiveDict
from requests.utils import guess_filename

#: How many bytes to read and to write at once.
BLOCK_SIZE = 256 * 1024

_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_FIELD_VALUE = re.compile(r"[^\0-\x08\x0a-\x1f\x7f]*")  # RFC 9110, section 5.5
_TEXT = str, bytes, bytearray, memoryview
_BUFFERED = BufferedReader, BufferedRandom
_SURROGATE = re.compile("[\ud800-\udfff]")

Fields = Union[Mapping[str, Any], Iterable[tuple[str, Any]]]


class FormData:
    """A multipart/form-data body (RFC 7578), to pass as ``data=`` of a request.

    It is made of what requests takes as ``data=`` and ``files=``, and of files on disk. The content
    of files is read while it is sent, never as a whole; the form has a length nevertheless, which
    requests sends as Content-Length, and can be sent any number of times, also at once: after a
    redirect, a retry, or a 401, and by several threads. Filenames and field names are encoded as
    browsers do (WHATWG HTML, "multipart form data").

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
        - a file open for reading, sent from its position on, which stays where it is; what is no
          regular file of bytes nor ``io.BytesIO``, such as a pipe, a file of text, or one that
          decompresses what it reads, is copied to a temporary file here;
        - `bytes` or `str` (sent as UTF-8): the content itself;
        - a tuple ``(filename, content, content_type, headers)`` of which the last three may be
          missing or None. The content is any of the above. Without content the filename is a path,
          read from disk, or the `str` ``"-"``, standard input. ``headers`` is a mapping of further
          headers of this part;
        - a list of the above, several files in one field. (A list that starts with a `str` or None
          is taken for a tuple, as requests does.)

        Where no content type is given, it is guessed from the filename, in the same way on every
        machine.
    progress : callable, optional
        Called with a number of bytes each time that many are about to be handed on, and with a
        negative number when that many must be sent again: what ``tqdm.update`` takes. It counts for
        one request at a time. An exception that it raises ends the request before the form is
        whole.

    Attributes
    ----------
    content_type : str
        The value of the Content-Type header, boundary included.

    Raises
    ------
    OSError
        A file cannot be read, or not to its end.
    ValueError
        A name, content type or part header could break the form, a file has neither name nor
        content, or there is nothing in standard input, which can be read once only.
    TypeError
        A file is of no such type.

    Notes
    -----
    A file on disk is opened anew each time that the form is sent. When its size is no longer what
    it was when the form was made, iterating raises `RuntimeError` naming the file, before the
    closing boundary: requests then closes the connection, and the server sees an incomplete
    request. It is no `OSError`, which urllib3 would take for a fault of the connection.

    A form pickles, without ``progress``, unless an open file is in it. Files on disk are read where
    the pickle is loaded.

    Examples
    --------
    >>> form = FormData({"group": "Test", "pipeline": "gstlal"}, {"eventFile": ("coinc.xml",)})
    >>> session.post("https://gracedb.ligo.org/api/events/", data=form)
    """

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
        self._parts = [*_fields(data), *_files(files)]
        self._length = len(self._end) + sum(
            len(self._delimiter) + len(header) + content.size + len(b"\r\n")
            for header, content in self._parts
        )
        self._progress = progress
        self._handed_on = 0

    def __repr__(self) -> str:
        # With the boundary in it, no two forms look the same, which a cache may go by.
        boundary = self.content_type.rpartition("=")[2]
        return f"<FormData {boundary}: {len(self._parts)} parts, {self._length} bytes>"

    def __getstate__(self) -> dict[str, Any]:
        # An exception takes the form along to another process; a progress bar cannot follow.
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
            # Before the block has left: when it fails, what the server has is not a whole form.
            _call(progress, len(block))
            self._handed_on += len(block)
            yield block

    def _blocks(self) -> Iterator[bytes]:
        """Put small pieces together: a block is a write, and a small form is one."""
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
        for header, content in self._parts:
            yield self._delimiter + header
            yield from content
            yield b"\r\n"
        yield self._end


def guess_content_type(filename: str) -> str:
    """Guess the media type of a file from its name.

    It depends on the name and the version of Python alone, not on the tables that the machine may
    have.

    Parameters
    ----------
    filename : str

    Returns
    -------
    str
        ``application/octet-stream`` where the name tells nothing.
    """
    # With a directory in front no name is a URL: guess_type would read a/b out of "data:a/b,".
    content_type, encoding = _mime_types().guess_type("./" + filename)
    if encoding is not None:
        return "application/gzip" if encoding == "gzip" else f"application/x-{encoding}"
    return content_type or "application/octet-stream"


def _call(progress: Callable[[int], object], count: int) -> None:
    try:
        progress(count)
    except OSError as error:
        # urllib3 would take it for a fault of the connection.
        raise RuntimeError(f"progress failed: {error}") from error


@lru_cache(maxsize=None)
def _mime_types() -> MimeTypes:
    mime_types = MimeTypes()
    mime_types.add_type("application/fits", ".fits")
    mime_types.add_type("application/x-hdf5", ".h5")
    mime_types.add_type("application/x-hdf5", ".hdf5")
    return mime_types


class _Part(NamedTuple):
    header: bytes
    content: _Memory | _File


def _pairs(fields: Fields | None) -> Iterable[tuple[str, Any]]:
    if isinstance(fields, (str, bytes)):
        raise ValueError("data and files of a form are mappings or pairs, not text")
    return fields.items() if isinstance(fields, Mapping) else fields or ()


def _fields(data: Fields | None) -> Iterator[_Part]:
    for name, values in _pairs(data):
        if isinstance(values, _TEXT) or not hasattr(values, "__iter__"):
            values = [values]
        for value in values:
            if value is not None:
                content = _Memory(value if isinstance(value, _TEXT) else str(value))
                yield _Part(_header(name), content)


def _files(files: Fields | None) -> Iterator[_Part]:
    for name, value in _pairs(files):
        for file in value if _is_several(value) else [value]:
            yield _file(name, *_as_tuple(name, file))


def _is_several(value: Any) -> bool:
    return isinstance(value, list) and value != [] and not isinstance(value[0], (str, type(None)))


def _as_tuple(name: str, file: Any) -> tuple[Any, Any, Any, Any]:
    if isinstance(file, os.PathLike):
        return file, None, None, None
    if file is None:
        file = ()
    if not isinstance(file, (tuple, list)):
        return guess_filename(file) or name, file, None, None
    if not 1 <= len(file) <= 4:
        raise ValueError(f"the file of field {name!r} has {len(file)} items, and not 1 to 4")
    filename, content, content_type, headers = (*file, None, None, None)[:4]
    if filename is None and content is None:
        raise ValueError(f"the file of field {name!r} has neither a filename nor content")
    return filename, content, content_type, headers


def _file(name: str, filename: Any, content: Any, content_type: Any, headers: Any) -> _Part:
    is_standard_input = filename in ("-", b"-")  # and not a path object
    if filename is not None:
        filename = os.fsdecode(filename)
    if content is None:
        content = _from_standard_input() if is_standard_input else _from_disk(filename)
        filename = os.path.basename(filename)
    elif isinstance(content, os.PathLike):
        content = _from_disk(os.fsdecode(content))
    elif isinstance(content, _TEXT):
        content = _Memory(content)
    elif hasattr(content, "read"):
        content = _from_open_file(content, filename or name)
    else:
        raise TypeError(
            f"the file of field {name!r} must be a path, an open file, bytes or str, "
            f"not {type(content).__name__}"
        )
    headers = CaseInsensitiveDict(headers or {})
    if content_type is None and filename is not None and "Content-Type" not in headers:
        content_type = guess_content_type(filename)
    if content_type:
        headers.pop("Content-Type", None)
        headers = {"Content-Type": content_type, **headers}
    return _Part(_header(name, filename, headers), content)


def _header(
    name: str, filename: str | None = None, headers: Mapping[str, str] | None = None
) -> bytes:
    lines = [f'Content-Disposition: form-data; name="{_quoted(name)}"']
    if filename is not None:
        lines[0] += f'; filename="{_quoted(filename)}"'
    for field, value in (headers or {}).items():
        if not _FIELD_NAME.fullmatch(field) or field.lower() == "content-disposition":
            raise ValueError(f"{field!r} cannot be a header of a part of a form")
        if not _FIELD_VALUE.fullmatch(value):
            raise ValueError(f"the part header {field} has a control character in its value")
        lines.append(f"{field}: {value}")
    return "\r\n".join([*lines, "", ""]).encode()


def _quoted(name: str | bytes) -> str:
    """Encode a name as browsers do: WHATWG HTML, "multipart/form-data encoding algorithm"."""
    text = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", os.fsdecode(name))
    if "\0" in text:
        raise ValueError(f"{text!r} has a NUL in it: no parser of forms could read it back")
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


class _Memory:
    def __init__(self, content: str | bytes | bytearray | memoryview, start: int = 0) -> None:
        self._content = content.encode() if isinstance(content, str) else bytes(content)
        self._start = start
        self.size = max(0, len(self._content) - start)

    def __iter__(self) -> Iterator[bytes]:
        for start in range(self._start, len(self._content), BLOCK_SIZE):
            yield self._content[start : start + BLOCK_SIZE]


class _File:
    """A regular file, read at places of its own: threads and processes may share its position."""

    def __init__(
        self,
        name: str,
        opened: Callable[[], AbstractContextManager[IO[bytes]]],
        end: int,
        start: int = 0,
    ) -> None:
        self._name = name
        self._opened = opened
        self._end = end
        self._start = min(start, end)
        self.size = end - self._start

    def __iter__(self) -> Iterator[bytes]:
        try:
            with self._opened() as file:
                descriptor = file.fileno()
                offset = self._start
                is_changed = os.fstat(descriptor).st_size != self._end
                while not is_changed and offset < self._end:
                    block = os.pread(descriptor, min(self._end - offset, BLOCK_SIZE), offset)
                    offset += len(block)
                    is_changed = not block
                    if block:
                        yield block
                if is_changed or os.pread(descriptor, 1, self._end):
                    raise RuntimeError(
                        f"{self._name} no longer has the {self.size} bytes that it had when the "
                        "form was made: wait until it is written, and make the form anew"
                    )
        except (OSError, ValueError) as error:
            raise RuntimeError(f"cannot read {self._name} while it is sent: {error}") from error


def _from_disk(path: str) -> _File:
    path = os.path.abspath(path)
    opened = partial(FileIO, path)
    with opened() as file:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode):
            return _File(path, opened, status.st_size)
        return _spooled(path, file)


def _from_standard_input() -> _File:
    if sys.stdin is None:
        raise ValueError("there is no standard input to read a file from")
    content = _spooled("standard input", getattr(sys.stdin, "buffer", sys.stdin))
    if not content.size:
        raise ValueError("there is nothing in standard input, which can be read once only")
    return content


def _from_open_file(file: IO[Any], name: str) -> _Memory | _File:
    # Of these types it is known what reading them gives, and from where. Of others it is not: some
    # can go to their end, and not come back.
    if type(file) is BytesIO:
        return _Memory(file.getvalue(), file.tell())
    raw: object = getattr(file, "raw", None) if type(file) in _BUFFERED else file
    if type(raw) is FileIO and raw.readable():
        file.flush()
        status = os.fstat(raw.fileno())
        if stat.S_ISREG(status.st_mode):
            return _File(name, partial(_left_open, file), status.st_size, file.tell())
    return _spooled(name, file)


def _left_open(file: IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    return nullcontext(file)


def _spooled(name: str, file: IO[Any]) -> _File:
    """Copy to a temporary file, which can be measured and reread, and vanishes with the form."""
    with ExitStack() as stack:
        copy = stack.enter_context(tempfile.TemporaryFile())
        while block := file.read(BLOCK_SIZE):
            copy.write(block.encode() if isinstance(block, str) else block)
        if block is None:
            problem = "there is more to come, and it does not wait for that: make it blocking"
            raise BlockingIOError(errno.EAGAIN, problem, name)
        if isinstance(file, HTTPResponse) and file.length:
            raise OSError(f"{name} broke off: the server did not send the last {file.length} bytes")
        copy.flush()
        content = _File(name, partial(_left_open, copy), copy.tell())
        weakref.finalize(content, stack.pop_all().close)
    return content
