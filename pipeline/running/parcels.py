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
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from pipeline.errors import UserError, of_the_disk
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

OTHERS = ("status", "reason", "class_accuracy", SEALS)
"""What of a result is no number by name."""

NUMBER = re.compile(r"epochs|best_epoch|parameters|(test|final_train|final_val|gap)_[a-z_]+")
"""A name of a result's numbers."""

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
                plain = member.type in PLAIN and not member.issparse()
                file = tar.extractfile(member) if path and plain else None
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
        if isinstance(error, OSError) and (line := of_the_disk(error)):
            raise UserError(f"{line}; nothing collected") from None
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
        failed = result["status"] == "failed" and isinstance(result["reason"], str)
        if set(result[SEALS]) != wanted or not (finished or failed):
            raise Damaged("result.json: not as a run writes it")
        store.result(folder)
        _check_numbers(result, finished)
        lines = read_csv(folder / "curves.csv")
        if len(lines) != result["epochs"] or not all(line.keys() == set(CURVES) for line in lines):
            raise Damaged("curves.csv: not as a run writes it")
        for line in lines:
            list(map(_number, line.values()))
        if finished:
            _check_tensors(folder, len(result["class_accuracy"]))
    except UserError:
        raise
    except (csv.Error, KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise Damaged(f"result.json: not as a run writes it ({one_line(error)[:60]})") from None
    except SafetensorError as error:
        raise Damaged(f"weights.safetensors: no tensors ({one_line(error)[:60]})") from None


def _check_numbers(result: dict[str, Any], finished: bool) -> None:
    """Whether a result has the numbers of a run, and none beside them.

    Raises:
        Damaged, OverflowError: it has not.
    """
    numbers = {key: value for key, value in result.items() if key not in OTHERS}
    if finished and not {"class_accuracy", *results.MEANS} <= result.keys():
        raise Damaged("result.json: lacks numbers")
    shares = [value for key, value in numbers.items() if key.endswith("accuracy") and not key.startswith("gap")]
    shares += result.get("class_accuracy", [])
    known = [value for value in (*numbers.values(), *shares) if value is not None]
    if (
        not all(map(NUMBER.fullmatch, numbers))
        or any(isinstance(value, bool) or not isinstance(value, int | float) for value in known)
        or any(value is not None and not 0 <= value <= 1 for value in shares)
        or (finished and result["test_accuracy"] is None)
    ):
        raise Damaged("result.json: not as a run writes it")
    list(map(float, known))


def _check_tensors(folder: Path, classes: int) -> None:
    """Whether a run that finished has logits of so many classes, and weights.

    Raises:
        Damaged, SafetensorError: it has not.
    """
    found = load_file(folder / "logits.safetensors")
    logits = found.get("logits", np.empty(0))
    if len(found) != 1 or logits.shape[1:] != (classes,) or not np.isfinite(logits).all():
        raise Damaged("logits.safetensors: not as a run writes it")
    with safe_open(folder / "weights.safetensors", framework="numpy") as file:
        file.keys()


def _number(text: str) -> float:
    return float(text or "nan")


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
