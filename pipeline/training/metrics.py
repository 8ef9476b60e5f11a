"""Numbers of a classifier from its logits: pure functions of arrays, computed where the arrays lie."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.training.columns import EPOCH


def epoch_metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy, loss and micro-averaged AUC.

    Args:
        logits: N×K.
        labels: N class indices.

    Returns:
        accuracy and auc as fractions, loss in nats; nan where the logits are not finite.
    """
    logits = logits.float()
    if not logits.isfinite().all():
        return dict.fromkeys(EPOCH, math.nan)
    return {
        "accuracy": (logits.argmax(1) == labels).double().mean().item(),
        "loss": functional.cross_entropy(logits.double(), labels).item(),
        "auc": auc_micro(logits.softmax(1), labels),
    }


def auc_micro(probabilities: Tensor, labels: Tensor) -> float:
    """Area under the ROC curve of all one-vs-rest decisions in one pool, exact."""
    return _area(probabilities.flatten(), _hits(probabilities, labels).flatten())


def auc_keras(probabilities: Tensor, labels: Tensor, thresholds: int = 200) -> float:
    """`auc_micro` as Keras's `AUC()` estimates it: trapezoids between thresholds at 0/199, 1/199 … 199/199.

    Decisions between two thresholds count as ties. Confident networks put most of them between the outermost ones, so
    the estimate is low for them. Keras widens the ends: all probabilities lie above the first threshold, none above
    the last.
    """
    last = thresholds - 1
    above = (probabilities.flatten().double() * last).ceil().clamp(1, last)  # the lowest threshold that is not below it
    return _area(above, _hits(probabilities, labels).flatten())


def auc_macro(probabilities: Tensor, labels: Tensor) -> float:
    """Mean over classes of the area under the one-vs-rest ROC curve; nan where no class has both sides."""
    hits = _hits(probabilities, labels)
    present = [k for k in range(hits.shape[1]) if 0 < hits[:, k].sum() < len(hits)]
    areas = [_area(probabilities[:, k], hits[:, k]) for k in present]
    return sum(areas) / len(areas) if areas else math.nan


def _hits(probabilities: Tensor, labels: Tensor) -> Tensor:
    """N×K bool: whether a class is the true one."""
    return labels[:, None] == torch.arange(probabilities.shape[1], device=labels.device)


def _area(scores: Tensor, hits: Tensor) -> float:
    """Area under the ROC curve of decisions, exact: the share of pairs of a hit and a miss in which the hit has the
    higher score, a tie as half of one (Hanley and McNeil 1982).

    Args:
        scores: N.
        hits: N bool, of both kinds.
    """
    values, bins = scores.unique(return_inverse=True)
    hit, miss = (torch.bincount(bins[kind], minlength=len(values)) for kind in (hits, ~hits))
    doubled = (hit * (2 * miss.cumsum(0) - miss)).sum()  # whole numbers
    return (doubled.double() / (2 * hit.sum() * miss.sum())).item()


def test_metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """All that is measured on the test set, but for accuracy by class.

    `ece` is the expected calibration error over 15 bins of equal width (Guo et al. 2017, arXiv
    1706.04599, equation 3), a fraction.
    """
    logits = logits.float()
    probabilities = logits.softmax(1)
    areas = {"auc_macro": auc_macro(probabilities, labels), "auc_keras": auc_keras(probabilities, labels)}
    return epoch_metrics(logits, labels) | areas | {"ece": calibration_error(probabilities, labels)}


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float:
    """The mean over predictions of how far their bin's accuracy lies from its mean confidence, a fraction."""
    confidence, predicted = probabilities.double().max(1)
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1  # a bin holds its upper end, not its lower
    excess = torch.stack([((predicted == labels).double() - confidence)[place == k].sum() for k in range(bins)])
    return (excess.abs().sum() / len(labels)).item()


def class_accuracy(logits: Tensor, labels: Tensor) -> list[float]:
    """The fraction recognized of each class; nan for a class without images."""
    correct = (logits.argmax(1).cpu() == labels.cpu()).double()
    return [correct[labels.cpu() == k].mean().item() for k in range(logits.shape[1])]


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """K×K counts, true classes as rows."""
    classes = logits.shape[1]
    return torch.bincount(labels * classes + logits.argmax(1), minlength=classes**2).reshape(classes, classes)
