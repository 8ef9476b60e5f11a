"""Metrics against scikit-learn and against hand-made cases."""

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.training import metrics

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sklearn.metrics import log_loss, roc_auc_score


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(2, 6), st.integers(20, 80), st.booleans())
def test_metrics_equal_those_of_scikit_learn(seed: int, classes: int, count: int, ties: bool) -> None:
    """Broken: accuracy, loss or AUC would not be what their names say; ties are where exact AUCs differ."""
    draws = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, generator=draws)
    logits = logits.round() if ties else logits
    labels = torch.cat([torch.arange(classes), torch.randint(0, classes, (count - classes,), generator=draws)])
    measured = metrics.test_metrics(logits, labels)
    probabilities = logits.softmax(1).double().numpy()
    probabilities /= probabilities.sum(1, keepdims=True)
    hits = torch.nn.functional.one_hot(labels, classes).numpy()
    assert measured["loss"] == pytest.approx(log_loss(labels, probabilities, labels=list(range(classes))), abs=1e-5)
    assert measured["auc"] == pytest.approx(roc_auc_score(hits.ravel(), logits.softmax(1).numpy().ravel()), abs=1e-5)
    per_class = [roc_auc_score(hits[:, k], logits.softmax(1)[:, k].numpy()) for k in range(classes)]
    assert measured["auc_macro"] == pytest.approx(sum(per_class) / classes, abs=1e-5)


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.floats(0.5, 40))
def test_keras_auc_is_the_binned_one_of_torchmetrics_at_the_thresholds_of_keras(seed: int, scale: float) -> None:
    """Broken: what stands beside a published AUC would be another estimate than the published one."""
    from torchmetrics.functional.classification import binary_auroc

    draws = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (60,), generator=draws)
    probabilities = (scale * (torch.randn(60, 4, generator=draws) + torch.eye(4)[labels])).softmax(1).double()
    thresholds = torch.arange(200, dtype=torch.float64) / 199
    thresholds[0], thresholds[-1] = -1e-7, 1 + 1e-7
    hits = torch.nn.functional.one_hot(labels, 4)
    binned = binary_auroc(probabilities.flatten(), hits.flatten(), thresholds=thresholds).item()
    assert metrics.auc_keras(probabilities, labels) == pytest.approx(binned, abs=1e-6)


def test_keras_auc_by_hand() -> None:
    """Broken: ties and ends would count another way. Of three images, always sure, two are right: from (0, 0) the curve
    goes straight to a sixth of the wrong and two thirds of the right decisions, and straight on to (1, 1)."""
    sure = metrics.auc_keras(torch.eye(3)[[0, 1, 0]], torch.tensor([0, 1, 2]))
    assert sure == pytest.approx(1 / 6 * 1 / 3 + 5 / 6 * 5 / 6)
    between = torch.tensor([[0.501, 0.499], [0.499, 0.501]])  # of the same two thresholds, 99/199 and 100/199
    assert metrics.auc_keras(between, torch.tensor([0, 1])) == 0.5
    apart = torch.tensor([[0.51, 0.49], [0.49, 0.51]])
    assert metrics.auc_keras(apart, torch.tensor([0, 1])) == 1.0


def test_calibration_error_by_hand() -> None:
    """Broken: the calibration error would be another one. Four predictions at 0.8, of which two are right: 0.3."""
    logits = torch.tensor([[math.log(4.0), 0.0]] * 4)
    assert metrics.test_metrics(logits, torch.tensor([0, 0, 1, 1]))["ece"] == pytest.approx(0.3, abs=1e-6)


def test_logits_that_are_not_finite_give_nan() -> None:
    """Broken: a diverged epoch would look like an ordinary one."""
    assert all(
        math.isnan(value)
        for value in metrics.epoch_metrics(torch.tensor([[math.inf, 0.0]]), torch.tensor([0])).values()
    )


def test_confusion_and_class_accuracy() -> None:
    """Broken: true and predicted classes would be swapped."""
    logits = torch.eye(3)[[0, 1, 1, 2]]
    labels = torch.tensor([0, 0, 1, 1])
    assert metrics.confusion(logits, labels).tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]
    by_class = metrics.class_accuracy(logits, labels)
    assert by_class[:2] == [0.5, 0.5]
    assert math.isnan(by_class[2])
