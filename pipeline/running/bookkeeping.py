"""Mends what a kill leaves of DVC's own files, before DVC or anything of ours reads them.

DVC rewrites dvc.lock in place, so that a kill can leave the first part of it, which DVC takes for the whole; and an
empty `.dvc/tmp/rwlock`, which makes every later command of DVC fail. So the last whole dvc.lock is kept beside the run
store. `pipeline/python` and the Makefile call this first; it costs some milliseconds, and imports nothing heavy.
"""

import fcntl
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline import paths
from pipeline.storage import write_atomically

WAIT_SECONDS = 10.0
"""Another DVC process that writes at this moment is waited for so long; it takes about a second."""

WITHOUT_GIT = "# written by pipeline/running/bookkeeping.py\n[core]\n    no_scm = true\n"


def mend() -> None:
    """Keeps a copy of dvc.lock where it is whole, mends it and DVC's rwlock where they are not, lets DVC do without git
    where there is none, and says so."""
    if paths.ROOT != paths.HOME:  # a queued experiment's copy of the project, which is made anew
        return
    try:
        _tell_of_git(paths.ROOT / ".dvc" / "config.local")
        _mend_rwlock(paths.ROOT / ".dvc" / "tmp")
        _mend_lock(paths.ROOT / "dvc.lock", paths.STORE / "dvc.lock")
    except OSError as error:
        print(f"DVC's files were not looked at: {error}", file=sys.stderr)


def _tell_of_git(config: Path) -> None:
    """Tells DVC to do without git where the project was unpacked and not cloned, and with it again where there is
    one."""
    here = any((folder / ".git").exists() for folder in (paths.ROOT, *paths.ROOT.parents))
    if here and config.exists() and config.read_text() == WITHOUT_GIT:
        config.unlink()
    elif not here and not config.exists():
        config.parent.mkdir(exist_ok=True)
        config.write_text(WITHOUT_GIT)
        print("no git repository: all trains and reports; make verify and dvc exp need a clone", file=sys.stderr)


def _mend_lock(lock: Path, kept: Path) -> None:
    if not lock.exists():  # a new project, or somebody wants all stages to run again
        kept.unlink(missing_ok=True)
        return
    good = kept.read_text(encoding="utf-8") if kept.exists() else ""
    text = lock.read_text(encoding="utf-8", errors="replace")
    if text != good and is_cut(text, good):
        with _no_dvc_at_work(paths.ROOT / ".dvc" / "tmp" / "lock") as alone:
            text = lock.read_text(encoding="utf-8", errors="replace")  # perhaps it was being written
            committed = _committed(lock.name)
            if alone and text != committed and is_cut(text, good):
                _put_back(lock, kept, good or committed)
                return
    if text != good and not is_cut(text, ""):
        write_atomically(kept, text.encode())


def _put_back(lock: Path, kept: Path, good: str | None) -> None:
    what = f"{paths.shown(lock)}: cut short by a kill"
    if good:
        write_atomically(lock, good.encode())
        print(f"{what}; the last whole one is put back, with {len(entries(good))} stages", file=sys.stderr)
    else:
        aside = kept.with_name("dvc.lock.damaged")
        aside.parent.mkdir(parents=True, exist_ok=True)
        lock.replace(aside)
        print(f"{what}; set aside as {paths.shown(aside)}; finished runs are picked up", file=sys.stderr)


def entries(text: str) -> list[str]:
    """The text of each stage in dvc.lock."""
    return re.split(r"(?m)^(?=  [^\s-])", text)[1:]


def is_cut(text: str, good: str) -> bool:
    """Whether dvc.lock is the first part of what DVC was writing.

    DVC changes or appends one stage at a time. So what is left of a cut file are the first stages of the one before,
    of which one may be new; or its last line or last stage is not whole.

    Args:
        text: of dvc.lock.
        good: of the last whole one; empty where none is known.
    """
    if not text.endswith("\n") or text.rstrip().endswith(":"):
        return True
    now, before = entries(text), entries(good)
    same_names = [_name(entry) for entry in now] == [_name(entry) for entry in before[: len(now)]]
    changed = sum(entry != old for entry, old in zip(now[:-1], before, strict=False))  # the last may be half of one
    if len(now) < len(before) and same_names and changed <= 1:
        return True
    return (text != good and good.startswith(text)) or bool(now and now[-1:] != before[-1:] and not _is_yaml(now[-1]))


def _name(entry: str) -> str:
    return entry.partition("\n")[0]


def _is_yaml(text: str) -> bool:
    from ruamel.yaml import YAML, YAMLError

    try:
        YAML(typ="safe").load(text)
    except YAMLError:
        return False
    return True


def _committed(name: str) -> str | None:
    """The file as git has it; None where there is no git or no such file."""
    command = ["git", "show", f"HEAD:./{name}"]
    try:
        done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _mend_rwlock(folder: Path) -> None:
    path = folder / "rwlock"
    if not path.exists() or _is_json(path):
        return
    with _no_dvc_at_work(folder / "rwlock.lock") as alone:
        if alone and not _is_json(path):
            path.unlink(missing_ok=True)
            print(f"{paths.shown(path)}: left half written by a kill; removed", file=sys.stderr)


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except FileNotFoundError:
        return True
    except ValueError:
        return False


@contextmanager
def _no_dvc_at_work(lock: Path) -> Iterator[bool]:
    """Holds a lock of DVC's, which dies with its process; gives whether it could be had."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + WAIT_SECONDS
    with lock.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    yield False
                    return
                time.sleep(0.05)
            else:
                yield True
                return


if __name__ == "__main__":
    mend()
