"""One trial: a row with proposed values, trained with the seeds of the tuning and scored on validation images.

It is given the data set's folder and calls `run.fit`, which opens the file of training and validation
images alone. A trial that was killed goes on from the epoch that it had reached.
"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from models import SentenceError
from pipeline.images import prepared
from pipeline.params import space
from pipeline.params.rows import Row
from pipeline.params.tuning import Tuning, Value
from pipeline.running.workers import Line, Task
from pipeline.storage import Damaged, read_sealed, set_aside, write_sealed
from pipeline.training import run
from pipeline.training.module import Classifier

Ask = Callable[[int, float], bool]
"""Takes a step of a trial and its value; says whether the trial shall end."""


@dataclass(frozen=True)
class TrialTask(Task):
    """A trial for a worker; `row` is the row before tuning, and `seed` the place of the trial."""

    tuning: Tuning
    values: Mapping[str, Value]

    def work(self, report: Line) -> None:
        """Trains the trial and writes `result.json` to its folder."""

        asked = []

        def ask(step: int, value: float) -> bool:
            asked.append((step, value))
            return report.ask({"step": step, "value": value})

        outcome = train(self.row, self.tuning, self.values, self.data, self.folder, report, ask)
        # By the first of several workers, which alone can be told to prune.
        if int(os.environ.get("LOCAL_RANK", "0")) == 0:
            write_sealed(self.folder / "result.json", outcome | {"steps": asked})


def train(
    row: Row,
    tuning: Tuning,
    values: Mapping[str, Value],
    data: Path,
    folder: Path,
    report: run.Report,
    ask: Ask,
) -> dict[str, Any]:
    """Trains a trial, or the rest of one that was interrupted.

    Args:
        row: before tuning.
        tuning: epochs, seeds and objective.
        values: proposed, by key.
        data: a folder that `prepare` wrote.
        folder: of this trial; states in it are taken up.
        report: called after each epoch, as by `run.fit`, with the place of the seed.
        ask: called with each intermediate value: by epoch, or for pruner wilcoxon by epoch of the first seed and by
            seed.

    Returns:
        `state` complete, pruned or failed; `score`, the mean over seeds of the objective of the weights that the
        row keeps, None if it failed; `reason` of a failure; `epochs` and `images` that it trained; `curves`, lines
        of curves.csv with the place of the seed.
    """
    outcome: dict[str, Any] = {"state": "complete", "score": None, "reason": None, "epochs": 0, "images": 0}
    outcome["curves"] = curves = []
    try:
        row = space.apply(row, dict(values) | {"epochs": tuning.epochs})
        backbone, sentence = row.network()
        backbone.check(sentence)
    except (space.Unfit, SentenceError) as error:  # each value fits, all of them together do not
        return outcome | {"state": "failed", "reason": str(error)}
    scores = []
    for place in range(len(tuning.seeds)):
        part = _seed(row, tuning, place, data, folder, report, ask)
        curves += [{"seed": tuning.seeds[place]} | line for line in part["curves"]]
        outcome["epochs"] += len(part["curves"])
        outcome["images"] += part["images"]
        if part["reason"]:
            return outcome | {"state": "failed", "reason": part["reason"]}
        scores.append(part["score"])
        outcome["score"] = math.fsum(scores) / len(scores)
        last = place == len(tuning.seeds) - 1
        ends = tuning.pruner == "wilcoxon" and ask(tuning.step(place), part["score"]) and not last
        if part["pruned"] or ends:
            return outcome | {"state": "pruned"}
    return outcome


def _seed(
    row: Row, tuning: Tuning, place: int, data: Path, folder: Path, report: run.Report, ask: Ask
) -> dict[str, Any]:
    """What one seed of a trial gives; read where it was finished before a kill."""
    steps = _Steps(tuning, place, ask)
    done = folder / f"seed-{place}.json"
    if part := _finished(done):
        for line in part["curves"]:
            steps.ask(line)
        return part
    pruning, state = Pruning(steps), folder / f"seed-{place}.ckpt"
    module, trainer, recorder = run.fit(
        row,
        tuning.seeds[place],
        data,
        state,
        lambda content: report(content | {"place": place}),
        [pruning],
    )
    kept = recorder.curves[recorder.best_epoch - 1] if recorder.best_epoch else {}
    part = {
        "curves": recorder.curves,
        "images": len(recorder.curves) * (prepared.info(data).counts["train"] // row.batch) * row.batch,
        "score": kept.get(tuning.objective),
        "reason": module.failure,
        "pruned": pruning.pruned,
    }
    if trainer.is_global_zero:
        write_sealed(done, part)
        state.unlink(missing_ok=True)
    return part


def _finished(path: Path) -> Any:
    """What `_seed` has written of a seed; None where there is nothing, or what there was is damaged and set aside."""
    try:
        return read_sealed(path)
    except Damaged as damage:
        set_aside(path, path.with_name(f"{path.name}.damaged"), damage)
        return None


class _Steps:
    """Numbers the epochs of all seeds of a trial, so that trials are compared at the same seed and epoch."""

    def __init__(self, tuning: Tuning, place: int, ask: Ask) -> None:
        self._tuning, self._place, self._ask = tuning, place, ask

    def ask(self, line: Mapping[str, Any]) -> bool:
        """Whether to end the trial after an epoch, given its line of curves.csv; None in it is no number."""
        tuning, value = self._tuning, line[self._tuning.objective]
        if value is None or not math.isfinite(value) or (tuning.pruner == "wilcoxon" and self._place > 0):
            return False
        step = tuning.step(self._place, int(line["epoch"]))
        # What has reached its last epoch is complete.
        return self._ask(step, value) and step < tuning.epochs * len(tuning.seeds)


class Pruning(pl.Callback):
    """Ends a run in which Optuna's pruner sees no hope."""

    def __init__(self, steps: _Steps) -> None:
        self.steps, self.pruned = steps, False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Says again what a run that goes on after a kill has said."""
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            for line in callback.curves if isinstance(callback, run.Recorder) else ():
                self.steps.ask(line)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Classifier)
        end = self.steps.ask(pl_module.epoch_row) if trainer.is_global_zero else False
        if trainer.strategy.broadcast(end):
            self.pruned = trainer.should_stop = True
