"""Which network a study hands on: the best run of the best row, chosen on validation images alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.findings.measured import Result, Run

ACCURACY, LOSS = "final_val_accuracy", "final_val_loss"


@dataclass(frozen=True)
class Champion:
    """The run that was chosen.

    Args:
        result: its row.
        run: its line of seeds.csv.
        rivals: rows that it was chosen from, its own included.
    """

    result: Result
    run: Run
    rivals: int


def champion(group: Sequence[Result]) -> Champion | None:
    """The row with the highest mean validation accuracy, and of this row the run with the highest.

    Equal accuracies are settled by the lower validation loss. A run that failed counts as a guess in the mean of its
    row. Rows that select on test images are left out, because these stand for their validation images.

    Args:
        group: rows of one data set.

    Returns:
        None where no row has validation images and a run that finished.
    """
    rivals = [result for result in group if not result.leaking and result.values(ACCURACY)]
    if not rivals:
        return None
    best = min(rivals, key=lambda result: (-_mean(result, ACCURACY), _mean(result, LOSS)))
    finished = [run for run in best.runs if run.failure is None]
    run = min(finished, key=lambda run: (-run.numbers[ACCURACY], run.numbers[LOSS]))
    return Champion(best, run, len(rivals))


def _mean(result: Result, column: str) -> float:
    estimate = result.estimate(column)
    assert estimate is not None  # of rows with a run that finished
    return estimate.mean
