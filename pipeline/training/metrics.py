"""Numbers of a classifier from its logits: pure functions of arrays.

torchmetrics takes as long to import as torch itself, so it is imported where it is called.
"""

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
    logits, labels = logits.float().cpu(), labels.cpu()
    if not logits.isfinite().all():
        return dict.fromkeys(EPOCH, math.nan)
    return {
        "accuracy": (logits.argmax(1) == labels).double().mean().item(),
        "loss": functional.cross_entropy(logits.double(), labels).item(),
        "auc": auc_micro(logits.softmax(1), labels),
    }


def auc_micro(probabilities: Tensor, labels: Tensor) -> float:
    """Area under the ROC curve of all one-vs-rest decisions in one pool, exact."""
    from torchmetrics.functional.classification import binary_auroc

    hits = functional.one_hot(labels, probabilities.shape[1])
    return binary_auroc(probabilities.flatten(), hits.flatten()).item()


def auc_keras(probabilities: Tensor, labels: Tensor, thresholds: int = 200) -> float:
    """`auc_micro` as Keras's `AUC()` estimates it: trapezoids between thresholds at 0/199, 1/199 … 199/199.

    Decisions between two thresholds count as ties. Confident networks put most of them between the outermost ones, so
    the estimate is low for them. Keras widens the ends: all probabilities lie above the first threshold, none above
    the last.
    """
    hits = functional.one_hot(labels, probabilities.shape[1]).flatten()
    last = thresholds - 1
    below = (probabilities.flatten().double() * last).ceil().long().clamp(1, last) - 1  # the highest threshold below it
    misses, hits = torch.bincount(below + last * hits, minlength=2 * last).view(2, last).flip(1)
    doubled = (misses * (2 * hits.cumsum(0) - hits)).sum()  # whole numbers: sums of widths times twice the mean heights
    return (doubled / (2 * misses.sum() * hits.sum())).item()


def auc_macro(probabilities: Tensor, labels: Tensor) -> float:
    """Mean over classes of the area under the one-vs-rest ROC curve; nan where no class has both sides."""
    from torchmetrics.functional.classification import binary_auroc

    hits = functional.one_hot(labels, probabilities.shape[1])
    present = [k for k in range(hits.shape[1]) if 0 < hits[:, k].sum() < len(hits)]
    areas = [binary_auroc(probabilities[:, k], hits[:, k]).item() for k in present]
    return sum(areas) / len(areas) if areas else math.nan


def test_metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """All that is measured on the test set, but for accuracy by class.

    `ece` is the expected calibration error over 15 bins of equal width (Guo et al. 2017, arXiv
    1706.04599, equation 3), a fraction.
    """
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits, labels = logits.float().cpu(), labels.cpu()
    probabilities, classes = logits.softmax(1), logits.shape[1]
    ece = multiclass_calibration_error(probabilities, labels, num_classes=classes, n_bins=15, norm="l1")
    areas = {"auc_macro": auc_macro(probabilities, labels), "auc_keras": auc_keras(probabilities, labels)}
    return epoch_metrics(logits, labels) | areas | {"ece": ece.item()}


def class_accuracy(logits: Tensor, labels: Tensor) -> list[float]:
    """The fraction recognized of each class; nan for a class without images."""
    correct = (logits.argmax(1).cpu() == labels.cpu()).double()
    return [correct[labels.cpu() == k].mean().item() for k in range(logits.shape[1])]


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """K×K counts, true classes as rows."""
    classes = logits.shape[1]
    return torch.bincount(labels * classes + logits.argmax(1), minlength=classes**2).reshape(classes, classes)
