"""Trains a study again in a clean directory and says, row by row, whether the committed results came back.

    pipeline/python -m pipeline.verify quickstart
    pipeline/python -m pipeline.verify order --rows 'ic no-dropout' --seeds 0

For the reviewer of somebody else's result. HEAD is cloned into .verify, with stores and a cache of its own, and
the study, or a part of it, is trained there with the environment in use. A kill loses nothing: the next start goes on.
The folder is removed when all is compared, unless --keep is given or a row differs.

A row is *identical* (same bytes), *equal* (all numbers within rounding), *consistent* (as another machine's arithmetic
explains it) or *different*; see `agreement`. The exit status is 1 if any row is different.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table as Grid
from ruamel.yaml import YAML

from pipeline import paths
from pipeline.errors import UserError, command
from pipeline.findings import measured, seed_table
from pipeline.findings.agreement import Agreement, Level, agree
from pipeline.params.planned import PlannedStudy, train_stage
from pipeline.params.rows import TunedRow
from pipeline.running import environment, store
from pipeline.text import console, nearest

WHAT = "Trains a study, or a part of it, again in a clean directory and compares it with the committed results."

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
    if target.exists():
        print(f"Going on in {paths.shown(target)}", file=sys.stderr)
        return
    draft = target.with_name(f".{target.name}")
    shutil.rmtree(draft, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    git("clone", "--quiet", "--shared", "--no-checkout", str(paths.ROOT), str(draft))
    # A cache of its own, whatever the user's settings say: outputs that another cache holds would not be trained.
    (draft / ".dvc").mkdir()
    (draft / ".dvc" / "config.local").write_text("[cache]\n    dir = cache\n")
    if paths.DOWNLOADS.exists():  # archives, which are checked when they are read
        (draft / ".downloads").symlink_to(paths.DOWNLOADS)
    git("checkout", "--quiet", "--detach", git("rev-parse", "HEAD").strip(), folder=draft)
    draft.replace(target)


def retrain(target: Path, targets: Sequence[str]) -> None:
    """Brings stages of the clone up to date.

    Raises:
        UserError: a stage failed.
    """
    outer = ("DVC_", "MLFLOW_", "OPTUNA_")  # neither this checkout's stores nor a server
    own = {key: value for key, value in os.environ.items() if not key.startswith(outer)}
    here = {"DISHARMONY_PYTHON": sys.executable, "DISHARMONY_IMAGES": str(paths.IMAGES)}
    launch = [sys.executable, "-m", "pipeline.launch", *targets]
    if subprocess.run(launch, cwd=target, env=own | here, check=False).returncode:
        raise UserError(f"{paths.shown(target)}: training did not end; the same command goes on from there")


def part(table: seed_table.Table, study: str, rows: str | None, seeds: str | None) -> seed_table.Table:
    """Those rows and seeds of a table that somebody asks for.

    Args:
        table: as committed.
        study: its name, which the names of rows may leave out.
        rows, seeds: with spaces between them; None for all.

    Raises:
        UserError: a row or seed that the table lacks.
    """
    names = {short: row for row in table for short in (row, row.removeprefix(f"{study}-"))}
    for option, words in ("--rows", rows), ("--seeds", seeds):
        if words is not None and not words.split():
            raise UserError(f"{option}: names none; without it, all are trained again")
    wanted = names.keys() if rows is None else rows.split()
    if unknown := [row for row in wanted if row not in names]:
        raise UserError(f"--rows: no row '{unknown[0]}' in the results of {study}{nearest(unknown[0], names)}")
    found = {names[row]: table[names[row]] for row in wanted}
    if seeds is None:
        return found
    for seed in seeds.split():
        if lacking := [row for row, runs in found.items() if not seed.isdecimal() or int(seed) not in runs]:
            raise UserError(f"--seeds: no seed '{seed}' in the results of {lacking[0]}")
    return {row: {int(seed): runs[int(seed)] for seed in seeds.split()} for row, runs in found.items()}


def narrow(target: Path, wanted: seed_table.Table) -> list[str]:
    """Leaves rows of the clone those seeds alone that are wanted; what decides the numbers of a run stays.

    Returns:
        The stages that train these rows.
    """
    yaml, file = YAML(), target / paths.PARAMS.name
    params = yaml.load(git("show", f"HEAD:{paths.PARAMS.name}"))
    kinds = {row: "rows" if row in params["rows"] else "tuned" for row in wanted}
    for row, runs in wanted.items():
        entry = params[kinds[row]][row]
        entry["seeds"] = list(runs)
        params["studies"][entry["study"]].pop("looks", None)  # which judge claims, and refuse other numbers of seeds
    with file.open("w", encoding="utf-8") as stream:
        yaml.dump(params, stream)
    return [train_stage(row, kinds[row] == "tuned") for row in wanted]


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
    screen = console()
    grid = Grid(box=None, pad_edge=False)
    grid.add_column("row", overflow="fold")
    grid.add_column("agreement", no_wrap=True)
    grid.add_column("what shows it")
    for one in found:
        grid.add_row(one.row, one.level, one.reason)
    screen.print(grid)
    counts = ((level, sum(one.level is level for one in found)) for level in Level)
    screen.print(", ".join(f"{count} {level}" for level, count in counts if count))
    for note in notes:
        screen.print(note)


def planned_study(study: str, target: Path) -> PlannedStudy:
    """What the clone has planned."""
    return PlannedStudy.model_validate_json((target / "plan" / "studies" / f"{study}.json").read_bytes())


def compare(study: str, target: Path) -> list[Agreement]:
    """Compares all that the clone has trained with HEAD, and prints it."""
    file, report = f"reports/{study}/{seed_table.FILE}", f"reports/{study}.md"
    old, new = (seed_table.read(text, file) for text in (committed(file, study), (target / file).read_text("utf-8")))
    before, after = (stages(text) for text in (committed("dvc.lock", study), (target / "dvc.lock").read_text("utf-8")))
    rows = planned_study(study, target).rows
    trained = {row: train_stage(row, isinstance(rows[row], TunedRow)) for row in new}
    found = agree(old, new, {row: same_outputs(stage, before, after) for row, stage in trained.items()})
    same_report = committed(report, study) == (target / report).read_text("utf-8")
    notes = [f"{report}: {'the same bytes' if same_report else 'other bytes'}"]
    if changed := changed_inputs(trained.values(), before, after):
        notes.append(f"Made of other files than the committed results: {', '.join(changed)}")
    conclude(found, notes, target)
    return found


def compare_part(study: str, target: Path, wanted: seed_table.Table) -> list[Agreement]:
    """Compares a part of a study that the clone has trained with HEAD, and prints it."""
    planned = planned_study(study, target)
    rows = {row: planned.rows[row] for row in wanted}
    groups = measured.load(planned.model_copy(update={"rows": rows}), target / "runs" / study)
    found = agree(wanted, seed_table.of(result for group in groups for result in group), {})
    seeds = sum(map(len, wanted.values()))
    conclude(found, [f"Compared: {seeds} of the study's runs, by the numbers in {seed_table.FILE}"], target)
    return found


def conclude(found: Sequence[Agreement], notes: Sequence[str], target: Path) -> None:
    """Prints what was found, and what else a reviewer wants to know."""
    if git("status", "--porcelain", "--untracked-files=no").strip():
        notes = [*notes, "Changes that are not committed were left out."]
    show(found, [*notes, *environment.describe((target / "requirements.lock").read_text("utf-8"))])


@command
def main() -> None:
    wanted = parse(sys.argv[1:])
    head = git("rev-parse", "--short=12", "HEAD").strip()
    file = f"reports/{wanted.study}/{seed_table.FILE}"
    table = seed_table.read(committed(file, wanted.study), file)  # before anything trains
    chosen = part(table, wanted.study, wanted.rows, wanted.seeds)
    asked = hashlib.sha256(repr((wanted.study, wanted.rows, wanted.seeds)).encode()).hexdigest()[:8]
    target = paths.ROOT / ".verify" / f"{head}-{asked}"  # each verification has a clone that no other removes
    with store.held(f"{target.name}.verify", f"verifying in {paths.shown(target)}"):
        clone(target)
        if chosen == table:
            retrain(target, [f"report@{wanted.study}"])
            found = compare(wanted.study, target)
        else:
            retrain(target, narrow(target, chosen))
            found = compare_part(wanted.study, target, chosen)
        failed = any(one.level is Level.DIFFERENT for one in found)
        if failed or wanted.keep:
            print(f"Kept: {paths.shown(target)}")
        else:
            shutil.rmtree(target)
    sys.exit(failed)


def parse(words: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="pipeline/python -m pipeline.verify", description=WHAT, allow_abbrev=False)
    parser.add_argument("study", help="whose results are committed")
    parser.add_argument("--rows", help="those to train again, with spaces between them; else all")
    parser.add_argument("--seeds", help="those to train again, with spaces between them; else all")
    parser.add_argument("--keep", action="store_true", help="keep the clone, also where nothing differs")
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
