"""Files of text lines as they come, plain or packed (.gz, .zip), read piece by piece and never longer than we allow."""

import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from portfolio_scheduler.errors import InvalidInput

LINE_LIMIT = 64 * 1024  # bytes
FILE_LIMIT = 1024 * 1024 * 1024  # bytes after unpacking
UNREADABLE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)


@contextmanager
def lines_of(path: Path) -> Iterator[Iterator[str]]:
    """The lines of a file. What it is packed in is told by its first bytes, not by its name."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
            unpacked = _unpacked(file, path.name, stack)
        except UNREADABLE as error:
            raise _unreadable(path.name, error) from None
        yield text_lines(unpacked, path.name)


def _unpacked(file: BinaryIO, name: str, stack: ExitStack) -> IO[bytes]:
    first = file.read(4)
    file.seek(0)
    if first.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", stack.enter_context(gzip.GzipFile(fileobj=file)))
    if not first.startswith(b"PK\x03\x04"):
        return file
    archive = stack.enter_context(zipfile.ZipFile(file))
    inside = [member for member in archive.infolist() if member.filename.lower().endswith(".csv")]
    if len(inside) != 1:
        raise InvalidInput(f"{name} holds {len(inside)} files that end in .csv; exactly one is expected.")
    return stack.enter_context(archive.open(inside[0]))


def text_lines(file: IO[bytes], name: str) -> Iterator[str]:
    """Lines as text. What is no UTF-8 becomes a mark that no symbol and no number may hold."""
    reader = io.BufferedReader(file) if isinstance(file, io.RawIOBase) else file
    left = FILE_LIMIT
    number = 0
    while line := _line(reader, name):
        number += 1
        left -= len(line)
        if len(line) > LINE_LIMIT:
            raise InvalidInput(f"{name}: line {number} is longer than {LINE_LIMIT // 1024} KiB; this is no such file.")
        if left < 0:
            raise InvalidInput(f"{name} is larger than {FILE_LIMIT // 1024**2} MiB.")
        yield line.decode("utf-8-sig" if number == 1 else "utf-8", errors="replace")


def _line(file: IO[bytes], name: str) -> bytes:
    try:
        return file.readline(LINE_LIMIT + 1)
    except UNREADABLE as error:
        raise _unreadable(name, error) from None


def _unreadable(name: str, error: BaseException) -> InvalidInput:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else "damaged or cut off"
    return InvalidInput(f"{name} cannot be read: {reason}.")


def digest(file: IO[bytes]) -> bytes:
    """SHA-256 of a file, which is rewound before and after."""
    file.seek(0)
    found = hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]
    file.seek(0)
    return found
