"""What a row is checked for before it trains, and how its results are put into words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline import prepared, training
from pipeline.config import Row
from pipeline.errors import UserError

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": 128}, "rows.r.batch: 128, but stripes has 96 training images"),
        (
            {"backbone": {"widths": [4] * 4, "convs": [1] * 4, "dense": [8]}},
            "rows.r.backbone: 4 pools need images of 16×16",
        ),
        pytest.param({"trainer": {"accelerator": "gpu"}}, "rows.r.trainer: 1 GPUs wanted, 0 found", marks=NO_GPU),
        pytest.param(
            {"trainer": {"precision": "16-mixed"}}, "rows.r.trainer.precision: 16-mixed needs a GPU", marks=NO_GPU
        ),
    ],
)
def test_a_row_that_does_not_fit_is_refused(
    changes: dict[str, Any], words: str, data: Path, make_row: Callable[..., Row]
) -> None:
    """Broken: the row would fail in every worker with a traceback of torch's."""
    with pytest.raises(UserError) as caught:
        row = make_row(**changes)
        training.check_fit("rows.r", row, prepared.info(data))
        training.check_machine("rows.r", row)
    assert words in str(caught.value)


def test_failed_runs_are_named_in_the_summary() -> None:
    """Broken: the stage would not say that runs diverged."""
    finished = {"seed": 0, "status": "finished", "test_accuracy": 0.5, "best_epoch": 1, "epochs": 2}
    failed = {"seed": 1, "status": "failed", "reason": "training loss not finite in epoch 1"}
    assert training.summary([finished, failed]) == (
        "1 of 2 runs finished, mean test accuracy 0.5000; seed 1 failed: training loss not finite in epoch 1"
    )
