"""One run: a row and a seed, trained, tested once, and written to its folder of the run store.

A run folder holds, once it is finished, what `results` collects:

    result.json          status, all numbers of the kept weights, and digests of the files below
    curves.csv           one line per epoch
    logits.safetensors   of the test images, N×K float32   (not of a failed run)
    weights.safetensors  the network's state dict, kept    (not of a failed run)

and until then `resume.ckpt`. `result.json` is written last, so a folder that has one is whole.
"""

import csv
import io
import logging
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping
from safetensors.torch import save
from torch import Tensor

from pipeline.images import draws
from pipeline.images.draws import Subset
from pipeline.params.rows import Row
from pipeline.storage import write_atomically, write_sealed
from pipeline.training import columns, metrics, states
from pipeline.training.batches import Batches, Blocks, Images
from pipeline.training.devices import uses_gpu
from pipeline.training.module import Classifier

Report = Callable[[dict[str, Any]], None]
"""Takes what a run says of itself while it trains."""

SAVE_SECONDS = 1.0
"""A resume state is written at most this often; a run that is killed loses at most that much work."""


def train(row: Row, seed: int, data: Path, folder: Path, report: Report) -> None:
    """Trains one run, or the rest of one that was interrupted, and writes its folder.

    Args:
        row: what to train.
        seed: of all random numbers.
        data: a folder that `prepare` wrote.
        folder: of this run; `resume.ckpt` in it is taken up.
        report: called after each epoch with a line of curves.csv, its images, its seconds, and those spent training.
    """
    resume = folder / "resume.ckpt"
    module, trainer, recorder = fit(row, seed, data, resume, report)
    if trainer.is_global_zero:
        finish(module, trainer, recorder, data, folder)
        resume.unlink(missing_ok=True)


def fit(
    row: Row, seed: int, data: Path, resume: Path, report: Report, callbacks: Sequence[pl.Callback] = ()
) -> tuple[Classifier, pl.Trainer, "Recorder"]:
    """Trains one run, or the rest of one, and tests nothing: unless the row selects on them, no test image is read.

    Args:
        row, seed, data, report: as in `train`.
        resume: the state to take up where there is one, and to save.
        callbacks: more of them, called before those of this module.
    """
    torch.set_num_threads(1)
    _hush_lightning()
    module, images = Classifier(row, data, seed), Images(data, row, seed)
    recorder = Recorder(resume, row, report)
    stopping = [_early_stopping(row)] if row.early_stopping else []
    trainer = make_trainer(row, [*callbacks, *stopping, recorder])
    trainer.fit(module, images, ckpt_path=states.sound(resume))
    return module, trainer, recorder


def _early_stopping(row: Row) -> EarlyStopping:
    assert row.early_stopping
    return EarlyStopping(
        f"val_{row.select_by}",
        min_delta=row.early_stopping.min_delta,
        patience=row.early_stopping.patience,
        mode="min" if row.select_by == "loss" else "max",
        check_finite=False,
        check_on_train_epoch_end=True,
    )


def make_trainer(row: Row, callbacks: list[pl.Callback]) -> pl.Trainer:
    """The Trainer of a row; all that it would print or write itself is off."""
    # Deterministic kernels, without filling fresh memory with nan, which no deterministic program reads.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return pl.Trainer(
        accelerator="gpu" if uses_gpu(row) else "cpu",
        devices=row.trainer.devices,
        strategy=row.trainer.strategy,
        precision=row.trainer.precision,
        sync_batchnorm=row.trainer.sync_batchnorm,
        max_epochs=row.epochs,
        deterministic=True,
        callbacks=callbacks,
        plugins=[states.States()],
        logger=False,
        enable_checkpointing=True,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def _hush_lightning() -> None:
    """Silences advice that does not apply: batches come from tensors, so there are no workers to add."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\..*")


class Recorder(Checkpoint):
    """Keeps the curves and the best weights, reports each epoch, and saves the state to resume from.

    A Checkpoint, so that Lightning calls it after the module and after early stopping.
    """

    def __init__(self, path: Path, row: Row, report: Report) -> None:
        self.path, self.row, self.report = path, row, report
        self.curves: list[dict[str, float]] = []
        self.best_epoch = 0
        self.best_weights: dict[str, Tensor] = {}
        self._saved = self._began = self._trained = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._began = self._trained = time.monotonic()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._trained = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Classifier)
        line = {key: pl_module.epoch_row[key] for key in columns.CURVES}
        self.curves.append(line)
        if self.row.keep == "last" or self._improved():
            self.best_epoch = len(self.curves)
            # Packed as safetensors wants them; in the network they lie channels-last.
            self.best_weights = {
                key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
                for key, value in pl_module.network.state_dict().items()
            }
        # The last epoch is not saved: a state is taken up at the start of the next epoch.
        if not trainer.should_stop and len(self.curves) < self.row.epochs:
            self._save(trainer)
        now = time.monotonic()
        trained = self._trained if self._trained > self._began else now  # now where nothing was validated
        blocks = trainer.train_dataloader
        assert isinstance(blocks, Blocks)
        images = len(blocks.batches) * self.row.batch
        times = {"seconds": now - self._began, "training_seconds": trained - self._began}
        self.report({"epoch": line, "images": images, **times})

    def _improved(self) -> bool:
        key = f"val_{self.row.select_by}"
        values = [line[key] for line in self.curves]
        best = min(values) if self.row.select_by == "loss" else max(values)
        return values.index(values[-1]) == len(values) - 1 and values[-1] == best

    def _save(self, trainer: pl.Trainer) -> None:
        due = trainer.world_size > 1 or time.monotonic() - self._saved >= SAVE_SECONDS
        if due:
            draft = self.path.with_suffix(".draft")
            trainer.save_checkpoint(draft)  # by all processes of a run
            if trainer.is_global_zero:
                draft.replace(self.path)
            self._saved = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return {"curves": self.curves, "best_epoch": self.best_epoch, "best_weights": self.best_weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.curves, self.best_epoch = state_dict["curves"], state_dict["best_epoch"]
        self.best_weights = state_dict["best_weights"]


def finish(module: Classifier, trainer: pl.Trainer, recorder: Recorder, data: Path, folder: Path) -> None:
    """Tests the kept weights, once and on one device, and writes the run's files."""
    result: dict[str, Any] = {
        "status": "failed" if module.failure else "finished",
        "reason": module.failure,
        "epochs": len(recorder.curves),
        "best_epoch": recorder.best_epoch,
        "parameters": sum(parameter.numel() for parameter in module.network.parameters()),
    }
    files = {"curves.csv": curves_csv(recorder.curves).encode()}
    if not module.failure:
        module.network.load_state_dict(recorder.best_weights)
        scores, logits = evaluate(module, trainer, data)
        result |= scores
        files |= {"logits.safetensors": save({"logits": logits}), "weights.safetensors": save(recorder.best_weights)}
    for name, content in files.items():
        write_atomically(folder / name, content)
    write_sealed(folder / "result.json", result, list(files))


def evaluate(module: Classifier, trainer: pl.Trainer, data: Path) -> tuple[dict[str, Any], Tensor]:
    """All numbers of a module's weights in test mode, and its test logits.

    The train-to-validation gap compares both splits in test mode with the same weights; curves.csv
    cannot show it, because its training metrics are taken with dropout at work.
    """
    scores: dict[str, Any] = {}
    draw, test = draws.read(data, module.seed), draws.test(data)
    for name, subset in (("train", draw.train), ("val", draw.validation)):
        measured = metrics.epoch_metrics(predict(module, trainer, subset), subset.labels) if len(subset) else {}
        scores |= {f"final_{name}_{key}": measured.get(key) for key in columns.EPOCH}
    for key in ("accuracy", "loss"):
        train, val = scores[f"final_train_{key}"], scores[f"final_val_{key}"]
        scores[f"gap_{key}"] = None if val is None else train - val
    logits = predict(module, trainer, test)
    scores |= {f"test_{key}": value for key, value in metrics.test_metrics(logits, test.labels).items()}
    scores["class_accuracy"] = metrics.class_accuracy(logits, test.labels)
    return scores, logits


def predict(module: Classifier, trainer: pl.Trainer, images: Subset) -> Tensor:
    """Logits of N images in test mode, N×K float32 on the CPU, computed on the run's first device."""
    device = trainer.strategy.root_device
    module.to(device).eval()
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        return torch.cat([module(batch.to(device)).float().cpu() for batch, _ in Batches(images)])


def curves_csv(curves: list[dict[str, float]]) -> str:
    """curves.csv; floats with all their digits, so that equal bytes are equal numbers."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns.CURVES, lineterminator="\n")
    writer.writeheader()
    writer.writerows(curves)
    return text.getvalue()
