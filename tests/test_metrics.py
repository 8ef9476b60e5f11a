"""Metrics against scikit-learn and against hand-made cases."""

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import metrics

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sklearn.metrics import log_loss, roc_auc_score


@settings(max_examples=40, deadline=None)
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
