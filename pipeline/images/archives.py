"""The files of a directory or an archive, one after another; nothing is ever unpacked to disk."""

import bz2
import gzip
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from pipeline import paths
from pipeline.errors import UserError
from pipeline.text import one_line, printable

Parts = tuple[str, ...]
"""A path inside a directory or archive, folder by folder."""

OPENERS: dict[str, Callable[[Any], Any]] = {
    ".tar": lambda raw: raw,
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tar.xz": lzma.open,
}
SUFFIXES = (*OPENERS, ".zip")

LIMIT = 2**29
"""Bytes read of one file at most. No image needs them, and what is longer is then reported as corrupt."""

DEPTH = 4
"""Names in the longest path of a layout: top folder, split, class and file. It also ends the walk of looping links."""

UNREADABLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    NotImplementedError,
    ValueError,
)
"""What Python's archive readers raise for bytes that are not theirs."""


class Entry(NamedTuple):
    """One thing found."""

    parts: Parts
    data: bytes | None  #: None for a folder
    done: float  #: share of the whole that has been read, 0 to 1


def find(where: str, name: str) -> Path | None:
    """The directory or archive that a user means, as it is called or with the ending of an archive: in the folder of
    images, or in the project; None where there is none.

    Args:
        where: how a message names it.
        name: a path, of which no machine's folders need to be part.

    Raises:
        UserError: the path cannot be one.
    """
    try:
        given = Path(name).expanduser()
        places = (root / f"{given}{ending}" for root in (paths.IMAGES, paths.HOME) for ending in ("", *SUFFIXES))
        return next((place for place in places if place.exists()), None)
    except (RuntimeError, ValueError, OSError) as error:  # no such user, a zero byte, too long, unreadable
        raise UserError(f"{where}: {one_line(getattr(error, 'strerror', None) or error)}") from None


def entries(where: str, path: Path) -> Iterator[Entry]:
    """All folders and files below a directory or in an archive; hidden ones are skipped.

    Args:
        where: how a message names the directory or archive.
        path: what to read.

    Raises:
        UserError: of an unknown kind, truncated or damaged, or holding what no image archive needs.
    """
    found = _directory(where, path) if path.is_dir() else _archive(where, path)
    try:
        yield from found
    except UNREADABLE as error:
        reason = one_line(error) or type(error).__name__
        raise UserError(f"{where}: truncated, damaged or unreadable ({reason})") from None


def inside(where: str, name: str) -> str:
    """How a message names a file of a directory or archive: on one line, whatever the name holds."""
    return f"{where}: {printable(name)}"


def _archive(where: str, path: Path) -> Iterator[Entry]:
    suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        raise UserError(f"{where}: neither a directory nor an archive; {', '.join(SUFFIXES)} are known")
    return _zip(where, path) if suffix == ".zip" else _tar(where, path, OPENERS[suffix])


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


def _tar(where: str, path: Path, opener: Callable[[IO[bytes]], Any]) -> Iterator[Entry]:
    size = path.stat().st_size
    # Not tarfile's own decompression: it checks neither the length nor the checksum of a compressed stream.
    with path.open("rb") as raw, opener(raw) as stream:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as archive:
            for member in archive:
                parts = _parts(where, member.name)
                if not (member.isdir() or member.isreg()):
                    kind = "a link" if member.islnk() or member.issym() else "a device or pipe"
                    raise UserError(f"{inside(where, member.name)}: {kind}; an archive of plain files is needed")
                if parts and not _hidden(parts):
                    content = archive.extractfile(member)
                    yield Entry(parts, content.read(LIMIT) if content else None, raw.tell() / size)
        # The checksum comes last, after the end of the tar archive.
        while stream.read(2**20):
            pass


def _zip(where: str, path: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check_count(path, archive)
        for number, member in enumerate(members, 1):
            name = member.filename.replace("\\", "/")  # some Windows tools write these
            parts = _parts(where, name)
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise UserError(f"{inside(where, name)}: a link or device; an archive of plain files is needed")
            if not parts or _hidden(parts):
                continue
            if member.flag_bits & 1:
                raise UserError(f"{inside(where, name)}: encrypted; an archive without a password is needed")
            if name.endswith("/"):
                yield Entry(parts, None, number / len(members))
                continue
            with archive.open(member) as content:
                yield Entry(parts, content.read(LIMIT), number / len(members))


def _check_count(path: Path, archive: zipfile.ZipFile) -> None:
    """zipfile may pass over members when the list of them is damaged, but the record that ends the file counts them."""
    with path.open("rb") as raw:
        raw.seek(-min(path.stat().st_size, 2**16 + 22), os.SEEK_END)
        end = raw.read()
    (count,) = struct.unpack_from("<H", end, end.rindex(b"PK\5\6") + 10)
    # A count that does not fit is all ones, and stands elsewhere.
    if count not in (len(archive.infolist()) % 2**16, 2**16 - 1):
        raise zipfile.BadZipFile(f"{count} files counted, {len(archive.infolist())} found")


def _directory(where: str, path: Path) -> Iterator[Entry]:
    found = list(_walk(where, path, ()))
    for number, (parts, folder) in enumerate(found, 1):
        if folder:
            yield Entry(parts, None, number / len(found))
            continue
        with path.joinpath(*parts).open("rb") as content:
            yield Entry(parts, content.read(LIMIT), number / len(found))


def _walk(where: str, path: Path, above: Parts) -> Iterator[tuple[Parts, bool]]:
    """What lies below a directory, links followed: the path, and whether it is a folder."""
    with os.scandir(path) as scan:
        listed = sorted(scan, key=lambda entry: entry.name)
    for entry in listed:
        parts = _checked(where, (*above, entry.name))
        if _hidden(parts):
            continue
        folder = entry.is_dir()
        if not folder and not entry.is_file():
            raise UserError(f"{inside(where, '/'.join(parts))}: neither a file nor a folder, or a link to nothing")
        yield parts, folder
        if folder and len(parts) < DEPTH:
            yield from _walk(where, path / entry.name, parts)


def _parts(where: str, name: str) -> Parts:
    """The path of an archive's member, which must stay inside the archive."""
    if name.startswith("/") or ".." in name.split("/"):
        raise UserError(f"{inside(where, name)}: leads out of the archive; paths below its root are needed")
    return _checked(where, tuple(part for part in name.split("/") if part not in ("", ".")))


def _checked(where: str, parts: Parts) -> Parts:
    try:
        "".join(parts).encode()
    except UnicodeEncodeError:
        raise UserError(f"{inside(where, '/'.join(parts))}: the name is not UTF-8") from None
    return parts


def _hidden(parts: Parts) -> bool:
    """Whether this is what systems leave behind and no user sees."""
    return any(part.startswith(".") or part in ("__MACOSX", "Thumbs.db", "desktop.ini") for part in parts)
