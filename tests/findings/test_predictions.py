"""What is read from the logits agrees with the metrics of training, which are computed another way."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from pipeline.findings import predictions
from pipeline.training import metrics


@pytest.fixture
def logits(tmp_path: Path) -> Path:
    """Logits of two runs on 500 images of 7 classes, some surely right, some surely wrong."""
    draws = np.random.default_rng(0)
    labels = draws.integers(0, 7, 500)
    runs = {f"seed-{seed}": draws.normal(0, 3, (500, 7)).astype(np.float32) for seed in (3, 4)}
    runs["seed-3"][labels == 1, 1] += 40  # a confidence of exactly 1
    save_file({"labels": labels, **runs}, tmp_path / "logits.safetensors")
    return tmp_path / "logits.safetensors"


def stored(path: Path, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of a run, and labels."""
    from safetensors.torch import load_file

    content = load_file(path)
    return content[f"seed-{seed}"], content["labels"]


def test_bins_give_the_calibration_error_of_the_table(logits: Path) -> None:
    """Broken: the reliability diagram shows another calibration than the table beside it."""
    for seed in (3, 4):
        found = predictions.read(logits, [seed])
        assert found is not None
        filled = found.images > 0
        gaps = np.abs(found.accuracy - found.confidence)[filled] * found.images[filled]
        assert gaps.sum() / found.images.sum() == pytest.approx(
            metrics.test_metrics(*stored(logits, seed))["ece"], abs=1e-6
        )


def test_confusions_of_all_runs_are_in_one_pool(logits: Path) -> None:
    """Broken: confusions are turned round, or a run is left out."""
    found = predictions.read(logits, [3, 4])
    assert found is not None
    expected = metrics.confusion(*stored(logits, 3)) + metrics.confusion(*stored(logits, 4))
    assert found.confusion.tolist() == expected.tolist()
    assert found.images.sum() == 1000


def test_no_finished_run_has_no_predictions(logits: Path) -> None:
    """Broken: a row in which every run failed stops the report."""
    assert predictions.read(logits, []) is None
