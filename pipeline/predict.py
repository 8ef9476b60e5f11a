"""What the trained networks of a row say of any picture.

    pipeline/python -m pipeline.predict both photo.jpg         all seeds of a row, their probabilities averaged
    pipeline/python -m pipeline.predict both/seed-3 photos/    one seed, all images in a folder

Pictures are decoded and brought to size as those of a data set are; their proportions are not kept.
"""

import argparse
import glob
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text
from torch import Tensor

from pipeline.errors import UserError, command
from pipeline.findings.ensemble import Ensemble, together
from pipeline.images.members import content, hidden
from pipeline.images.pictures import FORMATS, Picture, Pixels, channels_first, decode, hushed
from pipeline.measures import inference
from pipeline.params import planned
from pipeline.params.datasets import MOST_PIXELS
from pipeline.progress import bar
from pipeline.text import console, one_line, printable
from pipeline.tracking import trained
from pipeline.tracking.trained import Trained


@dataclass(frozen=True)
class Prediction:
    """What is said of one picture.

    Args:
        file: as the user named or found it.
        predicted, probability: the most probable class.
        runner_up, runner_up_probability: the second.
        votes, networks: how many of the networks have this class first, and of how many.
        probabilities: of each class.
    """

    file: str
    predicted: str
    probability: float
    runner_up: str
    runner_up_probability: float
    votes: int
    networks: int
    probabilities: dict[str, float]


def files(name: str) -> list[Path] | str:
    """The files that an argument means: itself, the images in a folder and below, or what a pattern matches, sorted;
    or why it means none."""
    path = Path(name)
    try:
        path.stat()
    except FileNotFoundError:
        pass
    except OSError as error:
        return str(error.strerror)
    if path.is_dir():
        return _within(path)
    # Not Path.glob, which raises on some patterns.
    found = [path] if path.exists() else sorted(map(Path, glob.glob(name, recursive=True)))  # noqa: PTH207
    return [each for each in found if each.is_file()] or "no such file"


def _within(path: Path) -> list[Path] | str:
    """The images in a folder and below, where a data set's would be seen; or why there are none."""
    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
    found: list[Path] = []
    refused: list[OSError] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(path, followlinks=True, onerror=refused.append):
        real = os.path.realpath(place)
        if real in seen:  # links may lead in circles
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not hidden((name,))]
        found += [Path(place, name) for name in names if not hidden((name,))]
    if refused:
        return f"{refused[0].filename}: {refused[0].strerror}"
    return sorted(each for each in found if each.suffix.lower() in suffixes and each.is_file()) or "no image in it"


def most_pixels(dataset: str) -> int:
    """How many pixels a file of a data set may have, as far as the plan still knows it."""
    try:
        return getattr(planned.read_dataset(dataset), "max_pixels", MOST_PIXELS)
    except UserError:
        return MOST_PIXELS


def read(path: Path, shape: tuple[int, int, int], most: int) -> Picture:
    """The picture in a file, H×W or H×W×3 as a network of these C, H and W wants it, or what is wrong with the file;
    `most` pixels are decoded."""
    channels, height, width = shape
    try:
        return decode(content(path), (width, height), channels == 1, most)
    except OSError as error:
        return error.strerror or one_line(error)


def gather(
    names: Iterable[str], shape: tuple[int, int, int], most: int = MOST_PIXELS
) -> tuple[dict[str, Pixels], dict[str, str]]:
    """The pictures that arguments mean, C×H×W, and what is wrong with the others, both by file."""
    pictures: dict[str, Pixels] = {}
    problems: dict[str, str] = {}
    meant = {name: files(name) for name in names}
    problems |= {name: found for name, found in meant.items() if isinstance(found, str)}
    paths = [path for found in meant.values() if not isinstance(found, str) for path in found]
    with bar("reading", len(paths)) as show, hushed():
        for number, path in enumerate(paths, 1):
            picture = read(path, shape, most)
            if isinstance(picture, str):
                problems[str(path)] = picture
            else:
                pictures[str(path)] = np.broadcast_to(channels_first(picture), shape)
            show(number)
    return pictures, problems


def classify(model: Trained, images: Tensor) -> Ensemble:
    """What all networks of a model say together of N images, uint8 N×C×H×W.

    Raises:
        UserError: a network cannot be loaded, or cannot take a single image.
    """
    if model.needs_company:
        reason = "it normalizes with the images at hand (norm.running_stats: false)"
        if len(images) < 2:
            raise UserError(f"{model.name}: {reason}, so a single one means nothing to it; name two or more")
        print(f"note: {model.name}: {reason}, so each prediction depends on the others", file=sys.stderr)
    with bar("classifying", len(model.weights) * len(images)) as show:

        def logits(number: int, seed: int) -> NDArray[np.float32]:
            before = number * len(images)
            return inference.logits(model.network(seed), images, lambda done: show(before + done)).numpy()

        return together(logits(number, seed) for number, seed in enumerate(model.weights))


def predictions(names: Iterable[str], said: Ensemble, classes: list[str]) -> Iterator[Prediction]:
    """One prediction for each image."""
    for name, probabilities, votes in zip(names, said.probabilities.tolist(), said.votes.tolist(), strict=True):
        first, second = sorted(range(len(classes)), key=lambda place: -probabilities[place])[:2]
        best = classes[first], probabilities[first], classes[second], probabilities[second]
        yield Prediction(name, *best, votes, said.networks, dict(zip(classes, probabilities, strict=True)))


def print_table(model: Trained, found: list[Prediction]) -> None:
    """Prints a table; without frames and colours where nobody watches."""
    screen = console()
    seeds = " ".join(map(str, model.weights))
    networks = f"mean of {len(model.weights)} networks, seeds {seeds}" if len(model.weights) > 1 else f"seed {seeds}"
    screen.print(f"{model.name}: {networks}, trained on {model.row.dataset}")
    table = Table(box=SIMPLE_HEAD if screen.is_terminal else None, pad_edge=False)
    for name in ("file", "class", "%", "runner-up", "%", *(["votes"] if len(model.weights) > 1 else [])):
        table.add_column(name, justify="right" if name in ("%", "votes") else "left", overflow="fold")
    for each in found:
        first, second = (f"{100 * share:.1f}" for share in (each.probability, each.runner_up_probability))
        words = [printable(each.file), printable(each.predicted), first, printable(each.runner_up), second]
        words += [f"{each.votes} of {each.networks}"] if len(model.weights) > 1 else []
        table.add_row(*map(Text, words))
    screen.print(table)


@command
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="pipeline/python -m pipeline.predict", description="What trained networks say of pictures"
    )
    parser.add_argument("networks", help=trained.HELP)
    parser.add_argument("images", nargs="+", help="image files, folders of them, or patterns such as 'photos/*.jpg'")
    parser.add_argument("--json", action="store_true", help="print JSON, with the probabilities of all classes")
    options = parser.parse_args()
    model = trained.find(options.networks)
    pictures, problems = gather(options.images, model.info.shape, most_pixels(model.row.dataset))
    found: list[Prediction] = []
    if pictures:
        said = classify(model, torch.from_numpy(np.stack(list(pictures.values()))))
        found = list(predictions(pictures, said, model.info.classes))
    if options.json:
        errors = [{"file": file, "error": problem} for file, problem in problems.items()]
        print(json.dumps([*map(asdict, found), *errors], indent=2))
    elif found:
        print_table(model, found)
    for file, problem in problems.items():
        print(f"error: {printable(file)}: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)


if __name__ == "__main__":
    main()
