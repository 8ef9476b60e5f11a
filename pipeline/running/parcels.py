"""What travels between machines: code on its way to those that train, and finished runs as one file on theirs to a run
store.

A parcel is a plain tar of `<key>/<file>`. It may come from anybody, so nothing in it is executed, no name in it is
taken for a path, and no run in it counts that is not what its key, its digests and its tensors say.
"""

import csv
import re
import tarfile
from collections.abc import Collection, Iterable
from pathlib import Path

from safetensors import SafetensorError, safe_open

from pipeline.errors import UserError
from pipeline.running import cost, store
from pipeline.storage import SEALS, Damaged, draft_of, read_csv, read_json, same_bytes
from pipeline.text import one_line, printable
from pipeline.training import results
from pipeline.training.columns import CURVES

CODE = ("pipeline/**/*.py", "models/**/*.py", "words/*.py")
"""What of the checkout another machine needs to train."""

TENSORS = ("logits.safetensors", "weights.safetensors")
"""Of a run that finished."""

NOTES = (store.SPEC, cost.FILE)
"""What a run is, and what it was trained on; the second may be missing."""

NAMES = (*NOTES, "curves.csv", *TENSORS, "result.json")
"""What a parcel holds of a run; the result last, as a folder that has one is whole."""

MANIFEST = "bundle.json"
"""In a bundle: `studies`, and `runs`, each a row's name, a seed and the run's key, the most wanted first."""

PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)
"""Members that are as large as the file that they come in; others may have holes."""

TEXTS = ("status", "reason")
"""What of a result is no number."""

MEMBER = re.compile(rf"([0-9a-f]{{32}})/({'|'.join(map(re.escape, NAMES))})")


def write(target: Path, folders: Iterable[Path]) -> None:
    """Writes runs into a file, all or nothing; the same runs give the same bytes."""
    with draft_of(target) as draft, tarfile.open(fileobj=draft, mode="w:", format=tarfile.USTAR_FORMAT) as tar:
        for folder in sorted(folders):
            for path in (folder / name for name in NAMES):
                if path.exists():
                    member = tarfile.TarInfo(f"{folder.name}/{path.name}")
                    member.size = path.stat().st_size
                    with path.open("rb") as file:
                        tar.addfile(member, file)


def unpack(parcel: Path, into: Path, codes: Collection[str]) -> list[Path]:
    """Unpacks all runs of a file into an empty folder, one folder each, and checks them.

    Args:
        parcel: the file.
        into: an empty folder.
        codes: digests of the code that runs may come from, see `code.of_run`.

    Raises:
        UserError: anything in the file is not as `write` writes it, or of other code.
    """
    try:
        with tarfile.open(parcel, "r:") as tar:
            for member in tar:
                found = MEMBER.fullmatch(member.name)
                path = into.joinpath(*found.groups()) if found else None
                file = tar.extractfile(member) if path and member.type in PLAIN else None
                if path is None or file is None or path.exists():
                    raise UserError(f"{parcel}: {printable(member.name)[:80]}: no file of a run; nothing collected")
                path.parent.mkdir(exist_ok=True)
                with path.open("wb") as target:
                    while some := file.read(2**20):
                        target.write(some)
            if parcel.stat().st_size < tar.offset + tarfile.BLOCKSIZE:  # the end is marked by blocks of zeros
                raise tarfile.ReadError("unexpected end of data")
    except FileNotFoundError:
        raise UserError(f"{parcel}: not there") from None
    except (tarfile.TarError, OSError) as error:
        raise UserError(f"{parcel}: damaged ({one_line(error)}); nothing collected") from None
    folders = sorted(into.iterdir())
    for folder in folders:
        try:
            _check(folder, codes)
        except (UserError, Damaged) as error:
            reason = str(error).rpartition(f"{folder.name}/")[2]
            raise UserError(f"{parcel}: {folder.name}/{reason}; nothing collected") from None
    return folders


def _check(folder: Path, codes: Collection[str]) -> None:
    """Whether a folder is a run that is over, of a code.

    Raises:
        Damaged, UserError: it is not; the message begins with the name of the file at fault.
    """
    try:
        spec, result = (read_json(folder / name) for name in (store.SPEC, "result.json"))
        if not isinstance(spec, dict) or set(spec) != {"row", "seed", "data", "code"}:
            raise Damaged(f"{store.SPEC}: does not say what was trained")
        if store.run_key(spec) != folder.name:
            raise Damaged(f"{store.SPEC}: not of this run")
        if spec["code"] not in codes:
            raise UserError(f"{store.SPEC}: trained by other code than this checkout's; check out its commit")
        finished = result["status"] == "finished"
        wanted = {"result.json", "curves.csv", *(TENSORS if finished else ())}
        if set(result[SEALS]) != wanted or not (finished or result["status"] == "failed"):
            raise Damaged("result.json: not as a run writes it")
        store.result(folder)
        for name in TENSORS if finished else ():
            with safe_open(folder / name, framework="numpy") as file:
                file.keys()
        numbers = {key: value for key, value in result.items() if key not in (*TEXTS, SEALS, "class_accuracy")}
        by_class = result.get("class_accuracy", [])
        if not all(value is None or isinstance(value, int | float) for value in (*numbers.values(), *by_class)):
            raise Damaged("result.json: not as a run writes it")
        if finished and not set(results.MEANS) <= numbers.keys():
            raise Damaged("result.json: lacks numbers")
        if not all(line.keys() == set(CURVES) for line in read_csv(folder / "curves.csv")):
            raise Damaged("curves.csv: not as a run writes it")
    except (csv.Error, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise Damaged(f"result.json: not as a run writes it ({one_line(error)[:60]})") from None


def deliver(folder: Path) -> str:
    """Puts an unpacked run into the store, unless there is one: what is stored stays.

    Returns:
        `new`, `stored` where the same bytes were there, or what differs from the stored run.
    """
    target = store.run_folder(folder.name)
    if store.sound(target) is None:
        with store.held(store.run_lock_name(target), f"working on run {target.name}"):
            if store.result(target) is None:
                for name in NAMES:
                    if (folder / name).exists():
                        (folder / name).replace(target / name)
                (target / "resume.ckpt").unlink(missing_ok=True)
                return "new"
    unlike = [name for name in NAMES if name not in NOTES and not same_bytes(folder / name, target / name)]
    return f"{', '.join(unlike)} differ from the stored run, which stays" if unlike else "stored"
