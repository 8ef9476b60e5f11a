"""A study like another on your own images: written into params.yaml, trained, and answered.

    make new IMAGES=~/photos.zip
    pipeline/python -m pipeline.new ~/photos.zip --like quickstart --rows 'bn dropout' --seeds 3 --size 64

Nothing is written before the images have been read and the whole of the new params.yaml has been checked.
"""

import argparse
import io
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import ValidationError

from pipeline import paths
from pipeline.errors import UserError, command, positive
from pipeline.findings.answers import advice
from pipeline.findings.measured import load as load_results
from pipeline.images import archives, pictures, prepared
from pipeline.images.sources import Images, load
from pipeline.params import proposal
from pipeline.params.complaints import complain
from pipeline.params.datasets import Folder
from pipeline.params.planned import read_study
from pipeline.params.reading import read_params
from pipeline.params.rows import Row
from pipeline.params.schema import NAME
from pipeline.params.studies import Params
from pipeline.reporting.terminal import show
from pipeline.running import pace
from pipeline.running.rows import check_fit
from pipeline.running.slots import fitting
from pipeline.storage import write_atomically
from pipeline.text import console, nearest, printable

WHAT = "Adds a study like another on your own images to params.yaml, trains it, and names its best row."

SMALL, LARGE = 32, 64
"""Sides to which images are brought that are not all of one small size: LARGE where most are that large."""


@command
def main() -> None:
    wanted = parse(sys.argv[1:])
    params, text = read_params(), paths.PARAMS.read_text(encoding="utf-8")
    name = named(wanted, params)
    copied = rows_like(wanted, params)
    folder = sized(wanted, name)
    images = load(name, folder)
    counts = counted(images, folder, name)
    channels, height, width = images.images.shape[1:]
    info = prepared.Info(images.classes, (channels, height, width), counts)
    fitted = {
        "backbone": proposal.backbone(counts["train"], min(images.images.shape[2:])),
        "epochs": proposal.epochs(counts["train"]),
        "batch": min(proposal.BATCH, counts["train"]),
        "seeds": list(range(wanted.seeds)),
    }
    text, added = draft(text, wanted.like, name, copied, folder, fitted, images)
    rows = check(text).of_study(name)
    for label, row in rows.items():
        check_fit(f"rows.{label}", row, info)
    print(f"{name}: {told(images, counts)}\n\nThe rule: {proposal.RULE}. So params.yaml gets:\n\n{added}")
    print(duration(rows, info), flush=True)
    write_atomically(paths.PARAMS, text.encode())
    launched = subprocess.run(
        [sys.executable, "-m", "pipeline.launch", "--quiet", f"report@{name}"], cwd=paths.ROOT, check=False
    )
    if launched.returncode:
        raise UserError(f"not all of it trained, see above; 'make launch STUDY={name}' goes on")
    study = read_study(name)
    (group,) = groups = load_results(study, paths.RUNS / name)
    show(study.study, groups, paths.REPORTS / f"{name}.md")
    console().print(f"\nFor your images: {advice(study.study, group)}")


def parse(words: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="pipeline/python -m pipeline.new", description=WHAT, allow_abbrev=False)
    parser.add_argument("images", help="a folder or archive of <class>/*, or of train/<class>/* and test/<class>/*")
    parser.add_argument("--like", default="quickstart", help="the study whose rows are taken")
    parser.add_argument("--name", help="of the study and its data set; else that of the images")
    parser.add_argument("--rows", help="those of the study's rows that are wanted; else all")
    parser.add_argument("--seeds", type=positive, default=5, help="how many (default: %(default)s)")
    parser.add_argument(
        "--size", type=positive, help=f"pixels of a side; else that of all, up to {LARGE}, or {SMALL} or {LARGE}"
    )
    return parser.parse_args(words)


def named(wanted: argparse.Namespace, params: Params) -> str:
    """The new study's name.

    Raises:
        UserError: it is none, or taken.
    """
    if not wanted.images:
        raise UserError("IMAGES: missing; make new IMAGES=~/photos.zip")
    stem = Path(wanted.images).name.lower()
    for ending in archives.SUFFIXES:
        stem = stem.removesuffix(ending)
    name = wanted.name or re.sub(r"[^a-z0-9]+", "-", stem).strip("-")
    if not re.fullmatch(NAME, name):
        found = printable(wanted.name or stem)
        raise UserError(f"NAME: '{found}' is no name; a letter or digit, then also - and _ make one, such as NAME=mine")
    if name in params.studies:
        raise UserError(f"studies.{name}: is there already; 'make launch STUDY={name}' trains it, NAME=… is another")
    if name in params.datasets:
        raise UserError(f"datasets.{name}: is there already; NAME=… is another")
    return name


def rows_like(wanted: argparse.Namespace, params: Params) -> dict[str, Row]:
    """The rows to copy by their names without the study's.

    Raises:
        UserError: no such study or row.
    """
    if wanted.like not in params.studies:
        raise UserError(f"LIKE: no study '{wanted.like}'{nearest(wanted.like, params.studies)}")
    of_study = {full: row for full, row in params.rows.items() if row.study == wanted.like}
    known = {full.removeprefix(f"{wanted.like}-"): row for full, row in of_study.items()}
    labels = wanted.rows.replace(",", " ").split() if wanted.rows else list(known)
    if unknown := [label for label in labels if label not in known]:
        raise UserError(f"ROWS: study {wanted.like} has no row '{unknown[0]}'{nearest(unknown[0], known)}")
    return {label: known[label] for label in labels}


def sized(wanted: argparse.Namespace, name: str) -> Folder:
    """The data set, with the size that all its images are brought to.

    Raises:
        UserError: there is nothing, or nothing that can be read.
    """
    where = f"IMAGES: {printable(wanted.images)}"
    path = archives.find(where, wanted.images)
    if path is None:
        raise UserError(
            f"{where}: no such file or directory, neither in {paths.shown(paths.IMAGES)} nor in the project"
        )
    size = wanted.size
    if size is None:
        by_depth: defaultdict[int, Counter[tuple[int, int]]] = defaultdict(Counter)
        for entry in archives.entries(where, path):
            if entry.data is not None:
                try:
                    with Image.open(io.BytesIO(entry.data), formats=pictures.FORMATS) as image:
                        by_depth[len(entry.parts)][pictures.upright(image)] += 1
                except Exception:  # as in `pictures`; complained of when it is read, if it counts
                    continue
        extents = by_depth[max(by_depth, default=0)]  # what lies beside the classes does not count
        if len(extents) > 1 or any(max(extent) > LARGE for extent in extents):
            large = sum(count for extent, count in extents.items() if min(extent) >= LARGE)
            size = LARGE if 2 * large >= extents.total() else SMALL
    values = {"source": "folder", "path": wanted.images, "size": size, "validation": proposal.VALIDATION}
    try:
        return Folder.model_validate(values)
    except ValidationError as error:
        raise UserError(f"datasets.{name}.{complain(Folder, values, error)}") from None


def counted(images: Images, folder: Folder, name: str) -> dict[str, int]:
    """How many images of each seed train, select and test.

    Raises:
        UserError: a class has too few.
    """
    test = images.test.sum().item() if images.test is not None else round(folder.test * len(images.labels))
    ours = images.labels if images.test is None else images.labels[~images.test]
    of_class = ours.bincount(minlength=len(images.classes)).tolist()
    if (least := min(of_class)) < proposal.LEAST_OF_CLASS:
        short = printable(images.classes[of_class.index(least)])
        raise UserError(
            f"{name}: class {short} has {least} images to train on; {proposal.LEAST_OF_CLASS} or more are needed"
        )
    pool = len(images.labels) - int(test)
    select = round(folder.validation * pool)
    return {"train": pool - select, "select": select, "test": int(test)}


def draft(
    text: str, like: str, name: str, rows: Mapping[str, Row], folder: Folder, fitted: Mapping[str, Any], images: Images
) -> tuple[str, str]:
    """params.yaml with the new study, and what is new in it."""
    from dvc.utils.serialize import parse_yaml

    content = parse_yaml(text, str(paths.PARAMS))
    shared, new = proposal.section(content, rows, like, name, list(rows), fitted)
    study = {
        "title": f"The rows of study {like} on {name}, {len(images.labels):,} images of {len(images.classes)} classes",
        "question": "Which of these networks recognizes the most of these images, and which are as good?",
        "rows": shared,
    }
    told = {"size": folder.size} if folder.size else {}
    dataset = {"source": folder.source, "path": folder.path, **told, "validation": folder.validation}
    added = {"datasets": {name: dataset}, "studies": {name: study}, "rows": new}
    return proposal.spliced(text, added, {"datasets": 1, "studies": 2, "rows": 1})


def check(text: str) -> Params:
    """The whole of the new params.yaml.

    Raises:
        UserError: it has an error.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / paths.PARAMS.name
        path.write_text(text, encoding="utf-8")
        return read_params(path)


def told(images: Images, counts: Mapping[str, int]) -> str:
    """What was found."""
    height, width = images.images.shape[2:]
    kinds = ", ".join(map(printable, images.classes[:10])) + (", …" if len(images.classes) > 10 else "")
    return (
        f"{len(images.labels):,} images of {width}×{height} pixels in {len(images.classes)} classes ({kinds}): each"
        f" seed trains on {counts['train']:,} and selects by {counts['select']:,}; {counts['test']:,} test."
    )


def duration(rows: Mapping[str, Row], info: prepared.Info) -> str:
    """How long it will take, and why."""
    counts = info.counts
    paces = {name: pace.images_per_second(row, info.shape, len(info.classes)) for name, row in rows.items()}
    beside = min(fitting(row) for row in rows.values())
    total = sum(pace.seconds(row, paces[name], counts["train"], counts["select"]) for name, row in rows.items())
    runs = sum(len(row.seeds) for row in rows.values())
    mean = len(paces) / sum(1 / one for one in paces.values())
    return (
        f"{runs} runs, {beside} side by side, at {mean:,.0f} images a second each, as a short trial has shown:\n"
        f"about {_spoken(total / beside)}. Stopped with Ctrl-C, 'make launch STUDY={next(iter(rows.values())).study}'"
        " goes on.\n"
    )


def _spoken(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes / 60:.1f} hours" if minutes > 90 else f"{max(1, round(minutes))} minutes"


if __name__ == "__main__":
    main()
