"""What a row's runs say about the test images: which classes they confuse, and whether they know when they are right.

Runs are read one after the other, so a row of many runs on many images needs the memory of one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

Numbers = NDArray[np.float64]
Counts = NDArray[np.int64]

BINS = 15
"""Bins of equal width, as for the expected calibration error of the tables."""


@dataclass(frozen=True)
class Predictions:
    """The test predictions of all runs of a row that finished, in one pool.

    Args:
        confusion: K×K images, true classes as rows.
        images: BINS; how many predictions have a confidence in the bin.
        confidence: BINS; their mean confidence, the probability of the predicted class; nan for an empty bin.
        accuracy: BINS; the fraction of them that is right; nan for an empty bin.
    """

    confusion: Counts
    images: Counts
    confidence: Numbers
    accuracy: Numbers


def read(path: Path, seeds: Iterable[int]) -> Predictions | None:
    """What logits.safetensors says; None where no run finished.

    Args:
        path: the file, as `results.write` writes it.
        seeds: of the runs that finished.

    Raises:
        FileNotFoundError: there is no file.
        SafetensorError: the file is damaged, or lacks one of the seeds.
    """
    with safe_open(path, framework="numpy") as file:
        labels: Counts = file.get_tensor("labels")
        tables = [_tables(file.get_tensor(f"seed-{seed}"), labels) for seed in seeds]
    if not tables:
        return None
    confusion = np.sum([table[0] for table in tables], axis=0)
    images, confidence, right = np.sum([table[1] for table in tables], axis=0)
    with np.errstate(invalid="ignore"):
        return Predictions(confusion, images.astype(np.int64), confidence / images, right / images)


def _tables(logits: NDArray[np.float32], labels: Counts) -> tuple[Counts, Numbers]:
    """One run's confusion matrix, and per bin the images, their summed confidence, and how many are right."""
    classes = logits.shape[1]
    columns = np.ascontiguousarray(logits.T)  # numpy reduces long lines several times as fast as short ones
    predicted = columns.argmax(0)
    confusion = np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
    # The softmax of the largest logit alone: exp(0) over the sum.
    confidence = 1 / np.exp(columns - columns.max(0)).sum(0).astype(np.float64)
    known = np.isfinite(confidence)
    bins = np.minimum((confidence[known] * BINS).astype(np.int64), BINS - 1)
    right = (predicted == labels)[known]
    weights = (None, confidence[known], right.astype(np.float64))
    return confusion, np.array([np.bincount(bins, weight, BINS) for weight in weights], dtype=np.float64)
