"""The files of a directory or an archive, one after another; nothing is ever unpacked to disk."""

import contextlib
import lzma
import os
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from pipeline import paths
from pipeline.errors import UserError
from pipeline.images.members import (
    BOMB,
    DEPTH,
    MOST_BYTES,
    MOST_ENTRIES,
    Entry,
    Parts,
    below,
    checked,
    content,
    hidden,
    inside,
    too_large,
    unpacked,
)
from pipeline.images.tars import OPENERS, tar
from pipeline.text import one_line

SUFFIXES = (*OPENERS, ".zip")

UTF8 = 0x800
"""The flag of a member of a zip archive whose name is said to be UTF-8."""

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
    """All folders and files below a directory or in an archive; hidden ones are skipped. Names are composed (NFC), as
    some systems write the letters of one name otherwise.

    Args:
        where: how a message names the directory or archive.
        path: what to read.

    Raises:
        UserError: of an unknown kind, truncated or damaged, or holding what no image archive needs, or too much.
    """
    try:
        found = _directory(where, path) if path.is_dir() else _archive(where, path)
        for number, entry in enumerate(found):
            if number == MOST_ENTRIES:
                raise ValueError(f"more than {MOST_ENTRIES:,} files and folders")
            yield entry._replace(parts=tuple(unicodedata.normalize("NFC", part) for part in entry.parts))
    except UNREADABLE as error:
        reason = one_line(error) or type(error).__name__
        raise UserError(f"{where}: truncated, damaged or unreadable ({reason})") from None


def _archive(where: str, path: Path) -> Iterator[Entry]:
    suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        raise UserError(f"{where}: neither a directory nor an archive; {', '.join(SUFFIXES)} are known")
    if not path.is_file() or not path.stat().st_size:  # as a pipe, or a link to what has no end
        raise OSError("no plain file, or an empty one")
    return _zip(where, path) if suffix == ".zip" else tar(where, path, suffix)


def _zip(where: str, path: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check_count(path, archive)
        if sum(member.file_size for member in members) > unpacked(path):
            raise zipfile.BadZipFile(BOMB)
        for number, member in enumerate(members, 1):
            name = _named(member).replace("\\", "/")  # some Windows tools write these
            parts = below(where, name)
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise UserError(f"{inside(where, name)}: a link or device; an archive of plain files is needed")
            if not parts or hidden(parts):
                continue
            if member.flag_bits & 1:
                raise UserError(f"{inside(where, name)}: encrypted; an archive without a password is needed")
            if name.endswith("/"):
                yield Entry(parts, None, number / len(members))
                continue
            if member.file_size > MOST_BYTES:
                raise UserError(f"{inside(where, name)}: {too_large(member.file_size)}")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unpack without bounds
                raise UserError(f"{inside(where, name)}: of a kind of compression that is not read; deflate is right")
            yield Entry(parts, archive.read(member), number / len(members))


def _named(member: zipfile.ZipInfo) -> str:
    """The name of a member; many tools write UTF-8 without saying so, which Python takes for the DOS code page."""
    if not member.flag_bits & UTF8:
        with contextlib.suppress(UnicodeError):
            return member.filename.encode("cp437").decode()
    return member.filename


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
    found = list(islice(_walk(where, path, ()), MOST_ENTRIES + 1))  # links may lead in circles
    for number, (parts, folder) in enumerate(found, 1):
        try:
            yield Entry(parts, None if folder else content(path.joinpath(*parts)), number / len(found))
        except OSError as error:
            raise UserError(f"{inside(where, '/'.join(parts))}: {error.strerror or error}") from None


def _walk(where: str, path: Path, above: Parts) -> Iterator[tuple[Parts, bool]]:
    """What lies below a directory, links followed: the path, and whether it is a folder."""
    with os.scandir(path) as scan:
        listed = sorted(scan, key=lambda entry: entry.name)
    for entry in listed:
        parts = checked(where, (*above, entry.name))
        if hidden(parts):
            continue
        folder = entry.is_dir()
        if not folder and not entry.is_file():
            raise UserError(f"{inside(where, '/'.join(parts))}: neither a file nor a folder, or a link to nothing")
        yield parts, folder
        if folder and len(parts) < DEPTH:
            yield from _walk(where, path / entry.name, parts)
