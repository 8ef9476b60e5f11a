"""Contestant: a Lightning script as most are written: images decoded one by one in loader workers, torchvision
transforms, torchmetrics, all cores for one run, and the Trainer's defaults."""

import tempfile
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from gate import Gate, compete
from ours import Slices
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchmetrics.classification import MulticlassAccuracy
from torchvision import transforms

from models import build
from models.words.inverted_dropout import InvertedDropout
from pipeline.images import draws, prepared
from pipeline.images.draws import Subset
from pipeline.params.rows import Row
from pipeline.running.slots import cores
from pipeline.training.module import make_optimizer


class Pictures(Dataset[Any]):
    """As torchvision's CIFAR10 works: one image after the other goes through PIL and the transforms."""

    def __init__(self, subset: Subset, transform: transforms.Compose) -> None:
        images, labels = subset[:]
        self.images, self.labels = images.permute(0, 2, 3, 1).contiguous().numpy(), labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


class Network(pl.LightningModule):
    """The row's network with torch's own layers."""

    def __init__(self, row: Row, info: prepared.Info) -> None:
        super().__init__()
        layers = build(*row.network(), info.shape, len(info.classes))
        self.network = nn.Sequential(
            *(nn.Dropout(layer.p) if isinstance(layer, InvertedDropout) else layer for layer in layers)
        )
        self.accuracy = MulticlassAccuracy(len(info.classes), average="micro")
        self.row = row

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, labels = batch
        logits = self.network(images)
        loss = functional.cross_entropy(logits, labels)
        self.accuracy(logits, labels)
        self.log("train_loss", loss, prog_bar=True)
        self.log("train_accuracy", self.accuracy, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return make_optimizer(self.row.optimizer, self.parameters())


def train(row: dict[str, Any], data: Path, gate: Gate) -> None:
    spec, subset = Row.model_validate(row), draws.read(data, 0).train
    mean, std = draws.statistics(subset)
    if torch.cuda.is_available():
        gate.synchronize = torch.cuda.synchronize
    steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean.tolist(), std.tolist())])
    workers = cores()
    loader = DataLoader(Pictures(subset, steps), spec.batch, shuffle=True, num_workers=workers, drop_last=True)
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(max_epochs=-1, devices=1, callbacks=[Slices(gate)], default_root_dir=folder)
        trainer.fit(Network(spec, prepared.info(data)), loader)


if __name__ == "__main__":
    compete(train)
