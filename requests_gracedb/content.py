"""What a form part holds: memory, a file on disk, an open file, or a copy."""

from __future__ import annotations

import errno
import os
import stat
import sys
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPResponse
from io import BufferedRandom, BufferedReader, BytesIO, FileIO
from typing import IO, Any

#: How many bytes to read or write at a time.
BLOCK_SIZE = 256 * 1024

#: The types that are themselves content.
TEXT = str, bytes, bytearray, memoryview

_BUFFERED = BufferedReader, BufferedRandom


class MemoryContent:
    """Text or bytes."""

    def __init__(self, content: str | bytes | bytearray | memoryview, start: int = 0) -> None:
        self._content = content.encode() if isinstance(content, str) else bytes(content)
        self._start = start
        self.size = max(0, len(self._content) - start)

    def __iter__(self) -> Iterator[bytes]:
        for start in range(self._start, len(self._content), BLOCK_SIZE):
            yield self._content[start : start + BLOCK_SIZE]


class FileContent:
    """A file on disk, opened anew each time it is read.

    Parameters
    ----------
    name : str
        Its absolute path; for a file that is open, what messages call it.
    status : os.stat_result
        What must be the same when the file is sent: device, inode, size and modification time.
    start : int, default 0
        Where to begin.
    """

    def __init__(self, name: str, status: os.stat_result, start: int = 0) -> None:
        self._name = name
        self._identity = _identity(status)
        self._end = status.st_size
        self._start = min(start, self._end)
        self.size = self._end - self._start

    def __getstate__(self) -> dict[str, Any]:
        # The file may have another device and inode on the machine where the pickle is loaded.
        return {**self.__dict__, "_identity": self._identity[:2]}

    def __iter__(self) -> Iterator[bytes]:
        try:
            descriptor = self._open()
            try:
                yield from self._blocks(descriptor)
            finally:
                self._close(descriptor)
        except (OSError, ValueError) as error:
            raise RuntimeError(f"cannot read {self._name} while it is sent: {error}") from error

    def _open(self) -> int:
        return _open_at_once(self._name)

    def _close(self, descriptor: int) -> None:
        os.close(descriptor)

    def _blocks(self, descriptor: int) -> Iterator[bytes]:
        offset = self._start
        while True:
            try:
                # At an explicit offset: threads and processes may share the position of a file.
                block = os.pread(descriptor, min(self._end - offset, BLOCK_SIZE), offset)
            finally:  # Before the block is sent. A change also explains why reading fails.
                self._check(descriptor)
            offset += len(block)
            yield block
            if offset == self._end:
                return
            if not block:
                raise RuntimeError(
                    f"{self._name} ends after {offset} bytes, although its size is {self._end}: "
                    "read it, and pass the bytes"
                )

    def _check(self, descriptor: int) -> None:
        if _identity(os.fstat(descriptor))[: len(self._identity)] != self._identity:
            raise RuntimeError(
                f"{self._name} has changed since the form was made, or is now another file: wait "
                "until it is written, and make a new form"
            )


class OpenFileContent(FileContent):
    """A file that is open, and stays so.

    Parameters
    ----------
    name : str
        For messages.
    file : file
        A regular file of bytes.
    start : int, default 0
        Where to begin.
    """

    def __init__(self, name: str, file: IO[bytes], start: int = 0) -> None:
        super().__init__(name, os.fstat(file.fileno()), start)
        self._file = file

    def _open(self) -> int:
        return self._file.fileno()

    def _close(self, descriptor: int) -> None:
        pass


Content = MemoryContent | FileContent


def content_of(name: str, filename: str | bytes | None, content: Any) -> Content:
    """Get the content of a file in a form.

    Parameters
    ----------
    name : str
        The name of the field, for messages.
    filename : str, bytes or None
        Without ``content``, a path, or ``"-"`` for standard input.
    content : os.PathLike, file, str, bytes, bytearray, memoryview or None

    Returns
    -------
    MemoryContent or FileContent

    Raises
    ------
    OSError, ValueError, TypeError
        See `~requests_gracedb.FormData`.
    """
    if isinstance(content, os.PathLike):
        return _file_on_disk(os.fsdecode(content))
    if isinstance(content, TEXT):
        return MemoryContent(content)
    if hasattr(content, "read"):
        return _open_file(content, os.fsdecode(filename or name))
    if content is not None or filename is None:
        raise TypeError(
            f"the file of field {name!r} must be a path, an open file, bytes or str, "
            f"not {type(content).__name__}"
        )
    return _standard_input() if filename in ("-", b"-") else _file_on_disk(os.fsdecode(filename))


def _open_file(file: IO[Any], name: str) -> Content:
    # For these types it is known what reading gives, and from where. For others it is not: some can
    # seek to their end but not back.
    if type(file) is BytesIO:
        return MemoryContent(file.getvalue(), file.tell())
    raw: object = getattr(file, "raw", None) if type(file) in _BUFFERED else file
    if type(raw) is FileIO and raw.readable():
        file.flush()
        if _is_on_disk(raw.fileno(), os.fstat(raw.fileno())):
            return OpenFileContent(name, file, file.tell())
    return _copy(name, file)


def _file_on_disk(path: str) -> FileContent:
    path = os.path.abspath(path)
    descriptor = _open_at_once(path)
    status = os.fstat(descriptor)
    if _is_on_disk(descriptor, status):
        os.close(descriptor)
        return FileContent(path, status)
    with FileIO(path, opener=lambda path, flags: descriptor) as file:
        os.set_blocking(descriptor, True)
        return _copy(path, file)


def _standard_input() -> FileContent:
    if sys.stdin is None:
        raise ValueError("there is no standard input to read a file from")
    content = _copy("standard input", getattr(sys.stdin, "buffer", sys.stdin))
    if not content.size:
        raise ValueError("there is nothing in standard input, which can be read only once")
    return content


def _open_at_once(path: str) -> int:
    # Otherwise, opening a pipe waits until somebody opens its other end.
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def _is_on_disk(descriptor: int, status: os.stat_result) -> bool:
    """Tell whether a file has a size: those in /proc say 0, whatever they contain."""
    return stat.S_ISREG(status.st_mode) and (status.st_size > 0 or not os.pread(descriptor, 1, 0))


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino


def _copy(name: str, file: IO[Any]) -> FileContent:
    """Copy to a temporary file that can be measured and reread, and vanishes with the form."""
    with ExitStack() as stack:
        copy = stack.enter_context(tempfile.TemporaryFile())
        while block := file.read(BLOCK_SIZE):
            copy.write(block.encode() if isinstance(block, str) else block)
        if block is None:
            problem = "there is more to come, but reading does not wait for it: make it blocking"
            raise BlockingIOError(errno.EAGAIN, problem, name)
        if isinstance(file, HTTPResponse) and file.length:
            raise OSError(f"{name} broke off: the server did not send the last {file.length} bytes")
        if not copy.tell() and not _is_at_its_beginning(file):
            raise ValueError(
                f"nothing is left in {name}, which can be read only once: open it again"
            )
        copy.flush()
        content = OpenFileContent(name, copy)
        weakref.finalize(content, stack.pop_all().close)
    return content


def _is_at_its_beginning(file: IO[Any]) -> bool:
    """Tell whether a file with nothing to read is empty, rather than already read to its end."""
    try:
        return file.tell() == 0
    except (OSError, AttributeError):
        return False  # It is a pipe, or like one.
