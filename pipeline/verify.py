"""Trains a study again in a clean directory and says, row by row, whether the committed results came back.

    pipeline/python -m pipeline.verify [--keep] STUDY

For the reviewer of somebody else's result. HEAD is cloned to .verify/<commit>, with stores and a cache of its own, and
`dvc repro report@STUDY` runs there with the environment in use. A kill loses nothing: the next start goes on. The
folder is removed when the study is compared, unless --keep is given or a row differs.

A row is *identical* (same bytes), *equal* (all numbers within rounding), *consistent* (as another machine's arithmetic
explains it) or *different*; see `agreement`. The exit status is 1 if any row is different.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from ruamel.yaml import YAML

from pipeline import paths
from pipeline.errors import UserError, command
from pipeline.findings import seed_table
from pipeline.findings.agreement import Agreement, Level, agree
from pipeline.running import environment

Lock = dict[str, Any]
"""Stages of a dvc.lock by name."""


def git(*arguments: str, folder: Path = paths.ROOT) -> str:
    """What a git command prints.

    Raises:
        UserError: it failed.
    """
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError(f"git: {error.strerror}") from None
    if done.returncode:
        raise UserError(f"git {arguments[0]}: {' '.join(done.stderr.split()) or 'failed'}")
    return done.stdout


def committed(file: str, study: str) -> str:
    """A file of HEAD.

    Raises:
        UserError: HEAD does not hold it.
    """
    try:
        return git("show", f"HEAD:{file}")
    except UserError:
        hint = f"run '.venv/bin/dvc repro report@{study}' and commit what it writes"
        raise UserError(f"{file}: not in HEAD; {hint}") from None


def clone(target: Path) -> None:
    """A clone of HEAD, or what an interrupted verification left of it."""
    if (target / "dvc.yaml").exists():
        print(f"Going on in {paths.shown(target)}", file=sys.stderr)
        return
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    git("clone", "--quiet", "--shared", "--no-checkout", str(paths.ROOT), str(target))
    # A cache of its own, whatever the user's settings say: outputs that another cache holds would not be trained.
    (target / ".dvc").mkdir()
    (target / ".dvc" / "config.local").write_text("[cache]\n    dir = cache\n")
    if paths.DOWNLOADS.exists():  # archives, which are checked when they are read
        (target / ".downloads").symlink_to(paths.DOWNLOADS)
    git("checkout", "--quiet", "--detach", git("rev-parse", "HEAD").strip(), folder=target)


def retrain(target: Path, study: str) -> None:
    """Runs the study's stages in the clone.

    Raises:
        UserError: a stage failed.
    """
    outer = ("DVC_", "MLFLOW_", "OPTUNA_")  # neither this checkout's stores nor a server
    own = {key: value for key, value in os.environ.items() if not key.startswith(outer)}
    here = {"DISHARMONY_PYTHON": sys.executable, "DISHARMONY_IMAGES": str(paths.IMAGES)}
    repro = [sys.executable, "-m", "dvc", "repro", f"report@{study}"]
    if subprocess.run(repro, cwd=target, env=own | here, check=False).returncode:
        raise UserError(f"{paths.shown(target)}: training did not end; the same command goes on from there")


def stages(lock: str) -> Lock:
    """The stages of a dvc.lock's text."""
    return YAML(typ="safe", pure=True).load(lock)["stages"]


def same_outputs(stage: str, before: Lock, after: Lock) -> bool:
    """Whether all outputs of a stage have the same digests."""
    return stage in before and before[stage].get("outs") == after.get(stage, {}).get("outs")


def changed_inputs(names: Iterable[str], before: Lock, after: Lock) -> list[str]:
    """Files that stages depend on and that are others than those of which the committed outputs were made."""
    changed = set()
    for name in names:
        old, new = (
            {dep["path"]: dep.get("md5") for dep in lock.get(name, {}).get("deps", [])} for lock in (before, after)
        )
        changed |= {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
    return sorted(changed)


def show(found: Sequence[Agreement], notes: Iterable[str]) -> None:
    """Prints a line per row and what else a reviewer wants to know."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 10_000
    grid = Grid(box=None, pad_edge=False)
    grid.add_column("row", overflow="fold")
    grid.add_column("agreement", no_wrap=True)
    grid.add_column("what shows it")
    for one in found:
        grid.add_row(one.row, one.level, one.reason)
    console.print(grid)
    counts = ((level, sum(one.level is level for one in found)) for level in Level)
    console.print(", ".join(f"{count} {level}" for level, count in counts if count))
    for note in notes:
        console.print(note)


def compare(study: str, target: Path) -> list[Agreement]:
    """Compares what the clone has trained with HEAD, and prints it."""
    file, report = f"reports/{study}/{seed_table.FILE}", f"reports/{study}.md"
    old, new = (seed_table.read(text, file) for text in (committed(file, study), (target / file).read_text("utf-8")))
    before, after = (stages(text) for text in (committed("dvc.lock", study), (target / "dvc.lock").read_text("utf-8")))
    trained = {row: f"train-tuned@{row}" if f"train-tuned@{row}" in after else f"train@{row}" for row in new}
    found = agree(old, new, {row: same_outputs(stage, before, after) for row, stage in trained.items()})
    same_report = committed(report, study) == (target / report).read_text("utf-8")
    notes = [f"{report}: {'the same bytes' if same_report else 'other bytes'}"]
    if changed := changed_inputs(["code", *trained.values()], before, after):
        notes.append(f"Made of other files than the committed results: {', '.join(changed)}")
    if git("status", "--porcelain", "--untracked-files=no").strip():
        notes.append("Changes that are not committed were left out.")
    show(found, [*notes, *environment.describe((target / "requirements.lock").read_text("utf-8"))])
    return found


@command
def main() -> None:
    words = [word for word in sys.argv[1:] if word != "--keep"]
    if len(words) != 1 or words[0].startswith("-"):
        raise UserError("usage: pipeline/python -m pipeline.verify [--keep] STUDY")
    (study,) = words
    committed(f"reports/{study}/{seed_table.FILE}", study)  # before anything trains
    target = paths.ROOT / ".verify" / git("rev-parse", "--short=12", "HEAD").strip()
    clone(target)
    retrain(target, study)
    failed = any(one.level is Level.DIFFERENT for one in compare(study, target))
    if failed or "--keep" in sys.argv:
        print(f"Kept: {paths.shown(target)}")
    else:
        shutil.rmtree(target)
    sys.exit(failed)


if __name__ == "__main__":
    main()
