"""All measures of one trained run, from its kept weights: numbers by name, and a line per batch norm.

Everything is computed in float32, also where the run was trained in half precision. The test images are read to
report what other statistics do to the test result: selection is over when a run is diagnosed.

    val_…, test_accuracy_before        as the run left its network; likewise `loss`, in nats
    …_moving, …_exact                  with statistics run again, see `recalibrate`; none without running statistics
    train_accuracy_eval, _train        of the training images without augmentation, in either mode; likewise `loss`
    company_sd, company_changed        see `modes`; none without batch norm
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.images import draws
from pipeline.images.draws import Subset
from pipeline.measures import inference, modes, recalibrate, shift
from pipeline.params.rows import Row
from pipeline.running.workers import Report, Task
from pipeline.storage import write_sealed
from pipeline.training import streams
from pipeline.training.devices import uses_gpu

if TYPE_CHECKING:
    from pipeline.measures.next_epoch import NextEpoch  # Lightning, which only workers need

STEPS = 4
"""Reports of a diagnosis, one after each part."""

Numbers = dict[str, float]


@dataclass(frozen=True)
class Diagnosis(Task):
    """One run to diagnose.

    Args:
        weights: the run's kept weights.
        trained: the row as it was trained; `row` says where the diagnosis is computed, on one device.
    """

    weights: Path
    trained: Row

    def work(self, report: Report) -> None:
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        write_sealed(self.folder / "result.json", diagnose(self.trained, self.seed, self.data, self.weights, report))


def diagnose(row: Row, seed: int, data: Path, weights: Path, report: Report) -> dict[str, Any]:
    """Measures one run.

    Args:
        row, seed: of the run.
        data: a folder that `prepare` wrote.
        weights: of the run.
        report: called after each of `STEPS` parts.

    Returns:
        `layers`, as `shift.shifts` gives them, and `numbers`, as above.
    """
    from pipeline.measures.next_epoch import NextEpoch

    device = torch.device("cuda" if uses_gpu(row) else "cpu")
    layout = torch.channels_last if row.trainer.channels_last else torch.contiguous_format
    model = inference.load(row, data, seed, weights).to(device)
    model.to(memory_format=layout)  # type: ignore[call-overload]
    epoch, test = NextEpoch(data, row, seed, device), draws.test(data)
    scored = {"val": draws.read(data, seed).validation, "test": test}
    layers, numbers = _statistics(model, scored, epoch, row.norm.momentum, report)
    train, labels = epoch.train, epoch.train.labels.cpu()
    logits, which = modes.noisy_logits(model, train, epoch.batch, seed)
    numbers |= _score("train", "train", logits, labels[which])
    numbers |= _score("train", "eval", _logits(model, train)[which], labels[which])
    report({"done": 3})
    if any(isinstance(layer, shift.BatchNorm) for layer in model.modules()):
        numbers |= _company(model, test, epoch)
    report({"done": 4})
    return {"layers": layers, "numbers": numbers}


def _statistics(
    model: nn.Sequential, scored: dict[str, Subset], epoch: "NextEpoch", momentum: float, report: Report
) -> tuple[list[dict[str, Any]], Numbers]:
    """The shift of each norm, and the scores with statistics as they are and run again."""
    normalize, network = model
    assert isinstance(network, nn.Sequential)

    def batches(most: int | None = None) -> Iterator[Tensor]:
        return map(normalize, epoch.batches(most))

    networks, layers = {"before": network}, []
    if shift.running_norms(network):
        enough = shift.enough(momentum)
        networks["moving"] = recalibrate.moving(network, batches(enough))
        networks["exact"] = recalibrate.exact(network, batches)
        report({"done": 1})
        layers = shift.shifts(network, networks["exact"], lambda: batches(enough))
    numbers: Numbers = {}
    for split, subset in scored.items():
        for name, changed in networks.items():
            numbers |= _score(split, name, _logits(nn.Sequential(normalize, changed), subset), subset.labels)
    report({"done": 2})
    return layers, numbers


def _company(model: nn.Sequential, test: Subset, epoch: "NextEpoch") -> Numbers:
    """The same subjects for all rows and seeds of a data set, and the same others for all rows of a seed."""
    subjects, labels = _some(test, modes.SUBJECTS, "test")
    others, _ = _some(epoch.train, modes.others(epoch.batch), "train")
    return modes.company(model, subjects.to(others.device), labels, others, epoch.batch, 0)


def _some(images: Subset, most: int, purpose: str) -> tuple[Tensor, Tensor]:
    """At most so many of the images, at random, and their labels."""
    order = torch.randperm(len(images), generator=streams.generator(0, f"diagnose company of {purpose} images"))
    return images[order[:most].to(images.labels.device)]


def _logits(model: nn.Module, subset: Subset) -> Tensor:
    """In test mode, on the CPU."""
    images, _ = subset[:]
    return inference.logits(model, images.to(next(model.parameters()).device)).cpu() if len(images) else torch.empty(0)


def _score(split: str, how: str, logits: Tensor, labels: Tensor) -> Numbers:
    """Accuracy, and loss in nats; nothing where there are no images."""
    if not len(labels):
        return {}
    loss = functional.cross_entropy(logits.double(), labels).item()
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    return {f"{split}_accuracy_{how}": accuracy, f"{split}_loss_{how}": loss}
