"""What directories and archives have in common: names of what they hold, and how much a reader takes of anything."""

import os
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import UserError
from pipeline.text import printable

MOST_BYTES = 2**28
"""Of one file. No picture needs more."""

MOST_ENTRIES = 2**21
"""Files and folders of a directory or an archive."""

MOST_NAME = 2**12
"""Characters of a path."""

RATIO, SURE = 64, 2**30
"""An archive may unpack to so many times its size, or to so many bytes: pictures are compressed, bombs more so."""

BOMB = "unpacks to far more than pictures do; a directory with its files would be read"

DEPTH = 4
"""Names in the longest path of a layout: top folder, split, class and file. It also ends the walk of looping links."""

Parts = tuple[str, ...]
"""A path inside a directory or archive, folder by folder."""


class Entry(NamedTuple):
    """One thing found."""

    parts: Parts
    data: bytes | None  #: None for a folder
    done: float  #: share of the whole that has been read, 0 to 1


def content(path: Path) -> bytes:
    """A file's bytes, as many as its directory says and `MOST_BYTES` at most.

    Never more, and without waiting for them, because a link may lead to what has no end, as files of /proc have.

    Raises:
        OSError: it cannot be read, or is too large.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123
        size = os.fstat(file.fileno()).st_size
        if size > MOST_BYTES:
            raise OSError(too_large(size))
        return file.read(size)


def too_large(size: int) -> str:
    """What is wrong with a file of so many bytes."""
    return f"{size:,} bytes, and {MOST_BYTES:,} at most are read of a picture"


def unpacked(path: Path) -> int:
    """Bytes to which an archive may unpack."""
    return max(SURE, RATIO * path.stat().st_size)


def inside(where: str, name: str) -> str:
    """How a message names a file of a directory or archive: on one line, whatever the name holds."""
    return f"{where}: {printable(name if len(name) <= 200 else f'{name[:200]}…')}"


def below(where: str, name: str) -> Parts:
    """The path of an archive's member, which must stay inside the archive."""
    if name.startswith("/") or ".." in name.split("/"):
        raise UserError(f"{inside(where, name)}: leads out of the archive; paths below its root are needed")
    if len(name) > MOST_NAME:
        raise UserError(f"{inside(where, name)}: a name of {len(name):,} characters; {MOST_NAME:,} are enough")
    return checked(where, tuple(part for part in name.split("/") if part not in ("", ".")))


def checked(where: str, parts: Parts) -> Parts:
    try:
        "".join(parts).encode()
    except UnicodeEncodeError:
        raise UserError(f"{inside(where, '/'.join(parts))}: the name is not UTF-8") from None
    return parts


def hidden(parts: Parts) -> bool:
    """Whether this is what systems leave behind and no user sees."""
    return any(part.startswith(".") or part.casefold() in ("__macosx", "thumbs.db", "desktop.ini") for part in parts)
