"""What a run of `vgg2` costs besides training: evaluation, metrics, checkpoints, the final test and logging.

Measured in CPU seconds of one thread, which neighbours on the machine disturb least. A run on a fifth of CIFAR-10
is measured, and scaled: what goes over images by their number, what is done once an epoch or once a run not at all.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import inputs
import pytorch_lightning as pl

from pipeline import paths
from pipeline.images import prepared
from pipeline.running import logbook, store
from pipeline.training import run

SHARE = 5
"""CIFAR-10 has so many times the images that are measured."""

TRAIN, VALIDATION, TEST = 45_000, 5_000, 10_000
"""The images of CIFAR-10 as the study vgg2 splits them."""

ONCE_AN_EPOCH = "curves and checkpoint"


class Spans(pl.Callback):
    """CPU seconds of the parts of each epoch, cut where Lightning calls callbacks."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self._part, self._began = "", 0.0

    def cut(self, part: str) -> None:
        """Ends the present part and begins another."""
        now = time.process_time()
        if self._part:
            self.seconds.setdefault(self._part, []).append(now - self._began)
        self._part, self._began = part, now

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.cut("training")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.cut("metrics, training")

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if batch_idx == 0:
            self.cut("evaluation")

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx + 1 == sum(trainer.num_val_batches):
            self.cut("metrics, validation")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.cut(ONCE_AN_EPOCH)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.cut("")


@dataclass
class Costs:
    """CPU seconds of a run on all of CIFAR-10."""

    epoch: dict[str, float] = field(default_factory=dict)  #: parts of an epoch
    once: dict[str, float] = field(default_factory=dict)  #: parts of a run

    def share(self, part: str, epochs: int) -> float:
        """A part's share of a run of so many epochs."""
        whole = epochs * sum(self.epoch.values()) + sum(self.once.values())
        return (epochs * self.epoch[part] if part in self.epoch else self.once[part]) / whole


def measure(name: str, batch: int, epochs: int = 3, share: int = SHARE) -> Costs:
    """Trains, tests and logs one run."""
    changes = {"dataset": "random", "epochs": epochs, "early_stopping": None}
    row = inputs.row(name, batch).model_copy(update=changes)
    spans = Spans()
    run.SAVE_SECONDS = 0.0  # as in epochs that take longer than that: every one is saved
    with TemporaryDirectory() as temporary:
        paths.STORE, paths.MLFLOW, paths.DATA = (Path(temporary) / name for name in ("store", "mlflow", "data"))
        data = inputs.random_images(paths.DATA, TRAIN // share, VALIDATION // share, TEST // share)
        folder, digest = store.run_folder("benchmark"), prepared.digest(data)
        module, trainer, recorder = run.fit(row, 0, data, folder / "resume.ckpt", lambda _: None, [spans])
        final = _timed(lambda: run.finish(module, trainer, recorder, data, folder))
        logging = _timed(
            lambda: _log(logbook.LoggedRun("s", "r", row, 0, folder.name, digest, "code"), recorder.curves)
        )
    epoch = {part: statistics.median(seconds) * share for part, seconds in spans.seconds.items()}
    # Written once, whatever the images; and not after the last epoch.
    epoch[ONCE_AN_EPOCH] = statistics.median(spans.seconds[ONCE_AN_EPOCH][:-1])
    return Costs(epoch, {"final test": final * share, "logging, own process": logging})


def _timed(action: Callable[[], None]) -> float:
    began = time.process_time()
    action()
    return time.process_time() - began


def _log(run: logbook.LoggedRun, curves: list[dict[str, float]]) -> None:
    """Logs a finished run to a new store; the import of MLflow and of what it exports models with is part of it."""
    from pipeline.tracking import mlflow_log, tracker

    log = mlflow_log.MlflowLog()
    log.begin(run)
    for line in curves:
        log.epoch(run, line, tracker.now())
    log.end(run, tracker.now())
    log.close()


def table(costs: dict[str, Costs], epochs: tuple[int, ...]) -> list[str]:
    """Shares of a run as Markdown, by row and by how many epochs it trains."""
    columns = [(name, count) for name in costs for count in epochs]
    lines = [
        "| part | seconds | " + " | ".join(f"{name}, {count} epochs" for name, count in columns) + " |",
        "|---|" + "---:|" * (len(columns) + 1),
    ]
    first = next(iter(costs.values()))
    for part in [*first.epoch, *first.once]:
        seconds = first.epoch[part] if part in first.epoch else first.once[part]
        unit = "an epoch" if part in first.epoch else "a run"
        shares = [f"{100 * costs[name].share(part, count):.1f} %" for name, count in columns]
        lines.append(f"| {part} | {seconds:.2f} {unit} | {' | '.join(shares)} |")
    besides = [f"**{100 * (1 - costs[name].share('training', count)):.1f} %**" for name, count in columns]
    return [*lines, f"| all but training; *target* under 10 % | | {' | '.join(besides)} |"]
