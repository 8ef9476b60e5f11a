"""Files that are either whole or absent, and where a disk or a hand has changed them since, known as damaged."""

import csv
import hashlib
import io
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pipeline import paths
from pipeline.errors import UserError

SEALS = "sealed"
"""Key of a sealed file that holds digests, of the file itself and of those beside it."""


class Damaged(UserError, ValueError):
    """A file is not as it was written; the message names it."""


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name in its folder and renames it.

    Raises:
        OSError: it cannot be written; names it, and what was there stays.
    """
    with draft_of(path) as draft:
        draft.write(content)


@contextmanager
def draft_of(path: Path) -> Iterator[IO[bytes]]:
    """A file under a temporary name in a path's folder, which takes that path when the block ends well.

    Raises:
        OSError: it cannot be written; names the path, and what was there stays.
    """
    callers = False  # whether it is the block that works
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as draft:
            try:
                callers = True
                yield draft
                callers = False
                draft.flush()
                os.fsync(draft.fileno())
                Path(draft.name).chmod(0o644)
                Path(draft.name).replace(path)
            except BaseException:
                Path(draft.name).unlink(missing_ok=True)  # stopped when it had just taken its place
                raise
    except OSError as error:
        if callers and (error.filename or error.errno is None):  # of what it reads
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None


def digest(path: Path) -> str:
    """MD5 of a file, as DVC writes it into dvc.lock."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def same_bytes(one: Path, other: Path) -> bool:
    """Whether two files hold the same, or neither is there."""
    first, second = (path.read_bytes() if path.exists() else None for path in (one, other))
    return first == second


def write_json(path: Path, content: Any) -> None:
    """JSON with sorted keys, one per line; a number that is not finite becomes null, since JSON has none."""
    text = json.dumps(_finite(content), indent=2, sort_keys=True, allow_nan=False)
    write_atomically(path, (text + "\n").encode())


def write_csv(path: Path, columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> None:
    """CSV; floats with all their digits, so that equal bytes are equal numbers, and nothing for None."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_atomically(path, text.getvalue().encode())


def read_csv(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV file.

    Raises:
        csv.Error: it is no CSV.
    """
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def read_json(path: Path) -> Any:
    """The content of a JSON file, or None where there is none.

    Raises:
        Damaged: it is no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        raise Damaged(f"{paths.shown(path)}: damaged, no JSON") from None


def read_notes(path: Path) -> dict[str, Any]:
    """A JSON object that can be done without: empty where there is none, and with a line where it is damaged."""
    try:
        notes = read_json(path)
    except Damaged as damage:
        print(f"{damage}; left out", file=sys.stderr)
        return {}
    return notes if isinstance(notes, dict) else {}


def write_sealed(path: Path, content: Mapping[str, Any], beside: Sequence[str] = ()) -> None:
    """`write_json`, with digests by which `read_sealed` knows damage.

    Args:
        path: to write.
        content: without the key `sealed`, which holds the digests.
        beside: names of files in the same folder, which the content stands for.
    """
    write_json(path, {**content, SEALS: {name: digest(path.with_name(name)) for name in beside} | _own(path, content)})


def read_sealed(path: Path) -> Any:
    """The content of a file of `write_sealed`, or None where there is none.

    Raises:
        Damaged: it, or a file beside it that it stands for, is not as it was written.
    """
    content: dict[str, Any] = read_json(path) or {}
    if not content and not path.exists():
        return None
    try:
        seals = content.pop(SEALS)
        others = {name: digest(path.with_name(name)) for name in seals if name != path.name}
        found = _own(path, content) | others
    except FileNotFoundError as error:
        raise Damaged(f"{paths.shown(Path(error.filename))}: missing") from None
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Damaged(f"{paths.shown(path)}: damaged, not as it was written") from None
    for name, seal in found.items():
        if seals.get(name) != seal:
            raise Damaged(f"{paths.shown(path.with_name(name))}: damaged, not as it was written")
    return content


def set_aside(path: Path, aside: Path, damage: Damaged) -> None:
    """Moves a damaged file or folder out of the way, in place of what was there, and says so in a line."""
    shutil.rmtree(aside, ignore_errors=True)
    aside.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.replace(aside)
    except FileNotFoundError:  # by another process of the same run
        return
    print(f"{damage}; set aside as {paths.shown(aside)}, and done again", file=sys.stderr)


def put_in_place(made: Path, target: Path) -> None:
    """Puts a folder where an older one may be; one that has the same files with the same bytes is left as it is."""
    if _files(made) == _files(target):
        shutil.rmtree(made)
        return
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    made.replace(target)


def _files(folder: Path) -> dict[Path, str]:
    """The files of a folder, and of those below it, with their digests."""
    return {path.relative_to(folder): digest(path) for path in folder.rglob("*") if path.is_file()}


def _own(path: Path, content: Mapping[str, Any]) -> dict[str, str]:
    text = json.dumps(_finite(dict(content)), sort_keys=True)
    return {path.name: hashlib.md5(text.encode()).hexdigest()}
