"""The LightningModule: a network of a row, its loss, optimizer, schedule and the metrics of each epoch."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler

from models import Normalize, build, initialize
from pipeline.images import draws, prepared
from pipeline.params import optimizers
from pipeline.params.rows import Row
from pipeline.training import captured, streams
from pipeline.training.batches import Blocks, Choice, TrainBatches
from pipeline.training.columns import EPOCH
from pipeline.training.metrics import epoch_metrics
from pipeline.training.rmsprop import RMSprop


class Classifier(pl.LightningModule):
    """A row's network in training.

    Args:
        row: network, optimizer, schedule.
        data: a folder that `prepare` wrote.
        seed: of the initial weights, of dropout, and of the training images by whose statistics all are normalized.

    Attributes:
        network: N×C×H×W normalized images to N×K logits.
        epoch_row: the metrics of the epoch that has just ended, by the names of curves.csv.
        failure: why the run diverged; None while it has not.
    """

    def __init__(self, row: Row, data: Path, seed: int) -> None:
        super().__init__()
        self.automatic_optimization = False  # of a block of batches; it would take a step for each block
        self.row, self.seed = row, seed
        backbone, sentence = row.network()
        self.normalize = Normalize(*draws.statistics(draws.read(data, seed).train))
        torch.manual_seed(streams.derive(seed, "layers"))  # for layers that draw their own initial parameters
        info = prepared.info(data)
        self.network = build(backbone, sentence, info.shape, len(info.classes))
        initialize(self.network, row.activation, (streams.generator(seed, "init", i) for i in range(10**6)))
        self.layout = torch.channels_last if row.trainer.channels_last else torch.contiguous_format
        self.network.to(memory_format=self.layout)  # type: ignore[call-overload]
        if row.trainer.compile:
            self.network.compile()
        self.epoch_row: dict[str, float] = {}
        self.failure: str | None = None
        self._seen: list[tuple[Tensor, Tensor]] = []
        self._captured: captured.Captured | None = None
        self._resumed_schedule: dict[str, object] | None = None

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.normalize(images).contiguous(memory_format=self.layout))

    def training_step(self, block: Iterator[Choice], index: int) -> None:
        # Lightning computes all of this method in the run's precision; only the step's forward part is meant to be.
        with torch.autocast(self.device.type, enabled=False):
            if self._captured:
                self._seen += self._captured.steps(block)
            else:
                self._seen += [self.step(*self._batches().taken(choice)) for choice in block]

    def step(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """One step: forward, backward, update. The logits of the images, and their labels."""
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        with self.trainer.precision_plugin.forward_context():
            logits = self(images)
            loss = functional.cross_entropy(logits, labels, label_smoothing=self.row.label_smoothing)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return logits.detach(), labels

    def _batches(self) -> TrainBatches:
        blocks = self.trainer.train_dataloader
        assert isinstance(blocks, Blocks)
        return blocks.batches

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        images, labels = batch
        self._seen.append((self(images), labels))

    def on_train_epoch_start(self) -> None:
        self.epoch_row = {"epoch": self.current_epoch + 1, "lr": self.learning_rate()}
        # Dropout draws from torch's global generator; each device draws its own masks.
        torch.manual_seed(streams.derive(self.seed, "dropout", self.current_epoch, self.global_rank))

    def on_validation_epoch_start(self) -> None:
        # Lightning validates inside the training epoch, after its last batch.
        self._end_of("train", across_devices=True)

    def on_validation_epoch_end(self) -> None:
        self._end_of("val", across_devices=False)
        self.log(f"val_{self.row.select_by}", self.epoch_row[f"val_{self.row.select_by}"])

    def on_train_epoch_end(self) -> None:
        if self._seen:  # nothing was validated
            self._end_of("train", across_devices=True)
            self.epoch_row |= {f"val_{name}": math.nan for name in EPOCH}
        self._check_divergence()
        self._step_schedule()

    def _end_of(self, split: str, across_devices: bool) -> None:
        """Turns the logits seen since the last call into metrics.

        Training images are shared between devices, so their logits are gathered. Images that select
        are seen whole by every device; batch statistics may differ between devices, so the numbers of
        the first one count, whose weights are kept.
        """
        logits, labels = (torch.cat(part) for part in zip(*self._seen, strict=True))
        self._seen.clear()
        if across_devices and self.trainer.world_size > 1:
            gather = self.trainer.strategy.all_gather  # adds a dimension in front, one entry per device
            logits, labels = (gather(part).flatten(0, 1) for part in (logits, labels))
        measured = self.trainer.strategy.broadcast(epoch_metrics(logits, labels))
        self.epoch_row |= {f"{split}_{name}": value for name, value in measured.items()}

    def _check_divergence(self) -> None:
        train, selecting = self.epoch_row["train_loss"], self.epoch_row["val_loss"]
        if not math.isfinite(train):
            self.failure = f"training loss not finite in epoch {self.current_epoch + 1}"
        elif train > self.row.max_loss:
            self.failure = (
                f"training loss {train:.4g} over max_loss {self.row.max_loss:g} in epoch {self.current_epoch + 1}"
            )
        elif sum(self.trainer.num_val_batches) and not math.isfinite(selecting):
            self.failure = f"{self.row.select_on} loss not finite in epoch {self.current_epoch + 1}"
        if self.failure:
            self.trainer.should_stop = True

    def learning_rate(self) -> float:
        """The rate in force."""
        return float(self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = make_optimizer(self.row.optimizer, self.network.parameters())
        self.schedule = make_schedule(self.row.schedule, optimizer, self.row.epochs)
        return optimizer

    # The schedule is stepped and saved here and not given to Lightning, which steps it after the hook
    # in which checkpoints are written and leaves a plateau out on resuming: a resumed run would differ.

    def _step_schedule(self) -> None:
        if isinstance(self.schedule, lr_scheduler.ReduceLROnPlateau):
            self.schedule.step(self.epoch_row["val_loss"])
        elif self.schedule:
            self.schedule.step()

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        checkpoint["schedule"] = self.schedule.state_dict() if self.schedule else None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._resumed_schedule = checkpoint["schedule"]

    def on_train_start(self) -> None:
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            if isinstance(group["lr"], Tensor):  # a resumed one lies on the CPU
                group["lr"] = group["lr"].to(self.device)
        if captured.possible(self):
            self._captured = captured.Captured(self, self._batches())
        if self.schedule and self._resumed_schedule:
            self.schedule.load_state_dict(self._resumed_schedule)


def make_optimizer(spec: optimizers.Optimizer, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """torch's optimizer of a row; one fused kernel updates all weights where torch has one.

    On a GPU the learning rate and all state lie there, so that a captured step reads them anew each time.
    """
    parameters = list(parameters)
    gpu = parameters[0].is_cuda
    lr = torch.tensor(spec.lr, device=parameters[0].device) if gpu else spec.lr
    decay = spec.weight_decay
    match spec:
        case optimizers.SGD():
            kwargs = {"momentum": spec.momentum, "nesterov": spec.nesterov}
            return torch.optim.SGD(parameters, lr, weight_decay=decay, fused=True, **kwargs)
        case optimizers.Adam():
            kind = torch.optim.AdamW if spec.name == "adamw" else torch.optim.Adam
            betas = (spec.beta1, spec.beta2)
            return kind(parameters, lr, betas, spec.eps, weight_decay=decay, fused=True, capturable=gpu)
        case optimizers.RMSprop():
            return RMSprop(parameters, lr, spec.alpha, spec.eps, weight_decay=decay, momentum=spec.momentum)


Scheduler = lr_scheduler.LRScheduler | lr_scheduler.ReduceLROnPlateau


def make_schedule(spec: optimizers.Schedule, optimizer: torch.optim.Optimizer, epochs: int) -> Scheduler | None:
    """torch's schedule of a row, to be stepped once an epoch; None where the rate stays."""
    match spec:
        case optimizers.Plateau():
            return lr_scheduler.ReduceLROnPlateau(
                optimizer,
                factor=spec.factor,
                patience=spec.patience - 1,  # torch counts the epochs that it tolerates, Keras those until the fall
                cooldown=spec.cooldown,
                min_lr=spec.min_lr,
                threshold=spec.min_delta,
                threshold_mode="abs",
            )
        case optimizers.Cosine():
            return lr_scheduler.CosineAnnealingLR(optimizer, epochs, spec.min_lr)
        case optimizers.Step():
            return lr_scheduler.MultiStepLR(optimizer, spec.milestones, spec.factor)
        case optimizers.NoSchedule():
            return None
