"""Test images to look at, with what every row says of them, chosen by rule and not by hand.

Of each class two images: the first, which is as good as any, and the one on which the rows disagree most. A row
speaks with the mean probabilities of its seeds and votes for the class that is the most probable in them. Rows
disagree by the entropy of their votes,

    H = −Σ_k v_k·log v_k,   v_k the fraction of rows that vote for class k,

of equal entropies by the range over rows of the true class's probability, then by the lower number of the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError, safe_open
from scipy.special import entr

from pipeline import paths
from pipeline.errors import UserError
from pipeline.findings import ensemble
from pipeline.findings.measured import Groups, Result
from pipeline.images import prepared
from pipeline.running import store

MOST_CLASSES = 20
"""Classes that are shown; of more the first."""

MOST_ROWS = 24
"""Rows that a figure shows; of more the best."""

SIDE = 64
"""Pixels of the longer side of what is shown; larger images are reduced."""


class Choice(NamedTuple):
    """The images of a class, by their numbers from 0."""

    label: int
    first: int
    disputed: int


@dataclass(frozen=True)
class Said:
    """What a row says of an image.

    Args:
        row: its name.
        leaking: it was selected on test images, perhaps on this one.
        predicted: the most probable class.
        confidence: its probability, the mean over the row's networks.
        votes, networks: how many of the networks have this class first, and of how many.
        right: whether it is the true class.
    """

    row: str
    leaking: bool
    predicted: str
    confidence: float
    votes: int
    networks: int
    right: bool


@dataclass(frozen=True)
class Exhibit:
    """A test image.

    Args:
        number: of the image among the test images, from 0.
        label: its true class.
        pixels: H×W or H×W×3, at most SIDE high and wide.
        said: of each row in the order of the ranking.
    """

    number: int
    label: str
    pixels: NDArray[np.uint8]
    said: list[Said]


@dataclass(frozen=True)
class Gallery:
    """The images that are shown of a data set.

    Args:
        dataset: its name.
        first: the first image of each class.
        disputed: of the same classes the image on which the rows disagree most; [] where a single row speaks.
        left_out: how many classes are not shown.
    """

    dataset: str
    first: list[Exhibit]
    disputed: list[Exhibit]
    left_out: int


def choose(labels: NDArray[np.int64], predicted: NDArray[np.int64], truth: NDArray[np.float64]) -> list[Choice]:
    """The rule.

    Args:
        labels: N, true classes of the test images.
        predicted: R×N, the classes that R rows vote for.
        truth: R×N, the probability that each row gives to the true class.

    Returns:
        One choice per class that has an image, in the order of classes.
    """
    classes = int(max(labels.max(), predicted.max())) + 1
    votes = np.stack([(predicted == label).mean(0) for label in range(classes)], axis=1)
    # Rounded, because equal votes for other classes add up in another order.
    entropy = entr(votes).sum(1).round(12)
    order = np.lexsort((np.arange(len(labels)), -np.ptp(truth, axis=0), -entropy))
    return [
        Choice(int(label), int(np.flatnonzero(labels == label)[0]), int(order[labels[order] == label][0]))
        for label in np.unique(labels)
    ]


def load(groups: Groups) -> list[Gallery]:
    """The gallery of each data set in which a run finished.

    Raises:
        UserError: prepared images or logits are missing, damaged, or not those that the rows were tested on.
    """
    finished = [[result for result in group if result.values("test_accuracy")] for group in groups]
    return [_load(group) for group in finished if group]


def _load(group: Sequence[Result]) -> Gallery:
    data = store.checked_data(group[0].row.dataset, {result.name: result.spec["data"] for result in group})
    images, labels = prepared.test_arrays(data)
    classes: list[str] = group[0].spec["classes"]
    opinions = [_opinion(result, labels) for result in group]
    choices = choose(
        labels,
        np.stack([opinion.predicted for opinion in opinions]),
        np.stack([opinion.truth for opinion in opinions]),
    )

    def exhibit(label: int, number: int) -> Exhibit:
        said = [_said(opinion, label, number, classes) for opinion in opinions]
        return Exhibit(number, classes[label], _thumbnail(images[number]), said)

    shown = choices[:MOST_CLASSES]
    first = [exhibit(choice.label, choice.first) for choice in shown]
    disputed = [exhibit(choice.label, choice.disputed) for choice in shown] if len(group) > 1 else []
    return Gallery(group[0].row.dataset, first, disputed, len(choices) - len(shown))


class _Opinion(NamedTuple):
    """What a row says of all N test images; of its probabilities only what is needed, since rows may be many."""

    result: Result
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]
    truth: NDArray[np.float64]
    votes: NDArray[np.int64]
    networks: int


def _opinion(result: Result, labels: NDArray[np.int64]) -> _Opinion:
    path = result.folder / "logits.safetensors"
    seeds = result.values("test_accuracy")
    try:
        with safe_open(path, framework="numpy") as file:
            if not np.array_equal(file.get_tensor("labels"), labels):
                raise ValueError("labels of other images")
            together = ensemble.together(file.get_tensor(f"seed-{seed}") for seed in seeds)
    except FileNotFoundError:
        raise UserError(f"{paths.shown(path)}: missing; run '.venv/bin/dvc repro {result.stage}'") from None
    except (SafetensorError, ValueError):
        raise UserError(f"{paths.shown(path)}: damaged; run '.venv/bin/dvc checkout --force {result.stage}'") from None
    every = np.arange(len(labels))
    confidence, truth = (together.probabilities[every, which] for which in (together.predicted, labels))
    return _Opinion(result, together.predicted, confidence, truth, together.votes, together.networks)


def _said(opinion: _Opinion, label: int, number: int, classes: list[str]) -> Said:
    predicted = int(opinion.predicted[number])
    return Said(
        opinion.result.label,
        opinion.result.leaking,
        classes[predicted],
        float(opinion.confidence[number]),
        int(opinion.votes[number]),
        opinion.networks,
        predicted == label,
    )


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A C×H×W image as it is shown."""
    picture = Image.fromarray(np.ascontiguousarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)))
    picture.thumbnail((SIDE, SIDE))  # keeps its proportions, and never enlarges
    return np.asarray(picture)
