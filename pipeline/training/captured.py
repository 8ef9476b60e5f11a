"""The training step of a run on one GPU as a CUDA graph: recorded once, then replayed for every batch.

A step of a small network is some hundred kernels of a few microseconds, and Python takes longer to launch one of them.
A graph launches all of them at once. It holds the very kernels of `Classifier.step`, so this file decides no number,
and the digest of a run's code leaves it out.
"""

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline.training.batches import Choice, Crop, TrainBatches

if TYPE_CHECKING:
    from pipeline.training.module import Classifier

WARM_UP = 3
"""The first steps of a run, or of its rest, are plain ones: they choose kernels and make the optimizer's state."""


def possible(module: "Classifier") -> bool:
    """Whether a run's steps can be captured: on one GPU, and without a scaled loss, which the host looks at."""
    trainer = module.trainer
    return module.device.type == "cuda" and trainer.world_size == 1 and module.row.trainer.precision != "16-mixed"


class Captured:
    """The steps of a run on a GPU.

    Dropout draws from torch's own generator of the device, which every graph knows: it is seeded for each epoch, and
    a replay goes on with the numbers at which it stands. The learning rate is a tensor that the optimizer reads there.

    Args:
        module: in training, its optimizer capturable.
        batches: whose images lie on the device.
    """

    def __init__(self, module: "Classifier", batches: TrainBatches) -> None:
        self._module, self._batches = module, batches
        self._optimizer = module.optimizers(use_pl_optimizer=False)
        self._rates = settle(self._optimizer, module.device)
        self._stream = torch.cuda.Stream()
        self._graph = torch.cuda.CUDAGraph()
        self._done = 0
        self._choice = self._logits = self._labels = torch.empty(0)  # what the graph reads and writes

    def steps(self, block: Iterator[Choice]) -> list[tuple[Tensor, Tensor]]:
        """Trains a block of steps; the logits of each, and their labels."""
        refill(self._optimizer, self._rates)
        packed = torch.stack([_packed(choice) for choice in block]).pin_memory()
        seen = [self._step(choice) for choice in packed.to(self._module.device, non_blocking=True)]
        if self._done % len(self._batches) == 0:  # the end of an epoch, whose time is taken
            torch.cuda.synchronize()
        return seen

    def _step(self, choice: Tensor) -> tuple[Tensor, Tensor]:
        self._done += 1
        if self._done <= WARM_UP:
            return self._plain(choice)
        if self._done == WARM_UP + 1:
            self._choice = choice.clone()
            with torch.cuda.graph(self._graph, stream=self._stream):
                self._logits, self._labels = self._train(self._choice)
        self._choice.copy_(choice)
        self._graph.replay()
        return self._logits.clone(), self._labels.clone()

    def _plain(self, choice: Tensor) -> tuple[Tensor, Tensor]:
        """A step that is launched kernel by kernel; on a stream of its own, as torch wants it before a capture."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This instance was constructed with capturable=True")
            seen = self._train(choice)
        torch.cuda.current_stream().wait_stream(self._stream)
        return seen

    def _train(self, choice: Tensor) -> tuple[Tensor, Tensor]:
        return self._module.step(*self._batches.taken(_unpacked(choice, self._batches.data.train.images.shape)))


def settle(optimizer: Any, device: torch.device) -> list[Tensor]:
    """Lets an optimizer read all that changes from the device, also where it goes on with what a CPU has saved.

    torch brings no state called `step` to the device, and takes a saved rate, and whether it can be captured, as they
    are.

    Returns:
        The learning rates of its groups, which the graph reads.
    """
    for state in optimizer.state.values():
        state |= {key: value.to(device) for key, value in state.items() if isinstance(value, Tensor)}
    for group in optimizer.param_groups:
        group.update({"capturable": True} if "capturable" in group else {})
        group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32).to(device)
    return [group["lr"] for group in optimizer.param_groups]


def refill(optimizer: Any, rates: list[Tensor]) -> None:
    """Puts the learning rates where the graph reads them: some schedules of torch put others in their place."""
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if group["lr"] is not rate:
            rate.fill_(float(group["lr"]))
            group["lr"] = rate


def _packed(choice: Choice) -> Tensor:
    """A choice as whole numbers, one line of N, or four where images are augmented: one copy brings all to the GPU."""
    crop = choice.crop
    return torch.stack([choice.rows, *((crop.top, crop.left, crop.flip.long()) if crop else ())])


def _unpacked(lines: Tensor, shape: torch.Size) -> Choice:
    """The choice that was packed, of images of an N×C×H×W tensor's shape, without asking the device."""
    rows, *crop = lines
    return Choice(rows, Crop(Crop.padding(shape), crop[0], crop[1], crop[2] != 0) if crop else None)
