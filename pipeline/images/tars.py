"""The files of a tar archive, compressed or not, one after another."""

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from pipeline.errors import UserError
from pipeline.images.members import BOMB, MOST_BYTES, Entry, below, hidden, inside, too_large, unpacked

OPENERS: dict[str, Callable[[Any], Any]] = {
    ".tar": lambda raw: raw,
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tar.xz": lzma.open,
}

HEADER = 2**20
"""Bytes of a header at most, with the long name or the extended attributes that it announces."""

PADDING = 2**20
"""Zeros behind the end of an archive at most: the rest of the last record, of which the largest in use have 1 MiB."""


class _Stream:
    """A stream that gives so many bytes and no more until more are allowed, so that no header's claim is believed."""

    def __init__(self, stream: IO[bytes], total: int) -> None:
        self._stream, self._total, self._left, self._why = stream, total, 0, ""

    def allow(self, size: int, why: str) -> None:
        """Gives up to so many more bytes, after which the message says why it was no more."""
        self._left, self._why = size + tarfile.RECORDSIZE, why  # tarfile reads whole records

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        self._total -= len(data)
        if self._left < 0:
            raise tarfile.ReadError(self._why)
        if self._total < 0:
            raise tarfile.ReadError(BOMB)
        return data


class _Member(tarfile.TarInfo):
    """A tar header that must be whole: tarfile itself takes a broken one for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Member":
        if buf and not any(buf):  # the block of zeros that ends an archive
            return super().frombuf(buf, encoding, errors)
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


def tar(where: str, path: Path, suffix: str) -> Iterator[Entry]:
    """What a tar archive holds.

    Args:
        where: how a message names it.
        path: of the file.
        suffix: one of OPENERS.

    Raises:
        UserError: it holds what no archive of images needs.
        tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError: truncated, damaged, or out of bounds.
    """
    size = path.stat().st_size
    # Not tarfile's own decompression: it checks neither the length nor the checksum of a compressed stream.
    with path.open("rb") as raw, OPENERS[suffix](raw) as plain:
        stream = _Stream(plain, unpacked(path))
        stream.allow(HEADER, header := f"a header of more than {HEADER:,} bytes")
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as archive:  # type: ignore[arg-type]
            while member := archive.next():
                archive.members.clear()  # which it keeps for links
                stream.allow(member.size, header)
                data = _content(where, archive, member)
                parts = below(where, member.name)
                if parts and not hidden(parts):
                    yield Entry(parts, data, raw.tell() / size)
                stream.allow(HEADER, header)
            # The checksum of a compressed stream comes last, too.
            stream.allow(PADDING, f"more than {PADDING:,} zeros at its end: a download that was cut?")
            while rest := archive.fileobj.read(tarfile.RECORDSIZE):  # type: ignore[union-attr]
                if any(rest):
                    raise tarfile.ReadError("goes on behind its end: a damaged header, or several archives in one file")


def _content(where: str, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | None:
    """The bytes of a file, None of a folder. All are read, also of what is hidden: the next header lies behind them."""
    if member.isdir():
        return None
    if not member.isreg():
        kind = "a link" if member.islnk() or member.issym() else "a device or pipe"
        raise UserError(f"{inside(where, member.name)}: {kind}; an archive of plain files is needed")
    if member.size > MOST_BYTES:
        raise UserError(f"{inside(where, member.name)}: {too_large(member.size)}")
    content = archive.extractfile(member)
    return content.read() if content else None
