"""The training step of a run on one GPU as a CUDA graph: recorded once, then replayed for every batch.

A step of a small network is some hundred kernels of a few microseconds, and Python takes longer to launch one of them.
A graph launches all of them at once. It holds the very kernels of `Classifier.step`, so this file decides no number,
and the digest of a run's code leaves it out.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

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
        self._stream = torch.cuda.Stream()
        self._graph = torch.cuda.CUDAGraph()
        self._done = 0
        self._choice = self._logits = self._labels = torch.empty(0)  # what the graph reads and writes

    def steps(self, block: Iterator[Choice]) -> list[tuple[Tensor, Tensor]]:
        """Trains a block of steps; the logits of each, and their labels."""
        packed = torch.stack([_packed(choice) for choice in block]).pin_memory()
        return [self._step(choice) for choice in packed.to(self._module.device, non_blocking=True)]

    def _step(self, choice: Tensor) -> tuple[Tensor, Tensor]:
        self._done += 1
        if self._done <= WARM_UP:
            return self._plain(choice)
        if self._done == WARM_UP + 1:
            self._choice = choice.clone()
            with torch.cuda.graph(self._graph):
                self._logits, self._labels = self._train(self._choice)
        self._choice.copy_(choice)
        self._graph.replay()
        return self._logits.clone(), self._labels.clone()

    def _plain(self, choice: Tensor) -> tuple[Tensor, Tensor]:
        """A step that is launched kernel by kernel; on a stream of its own, as torch wants it before a capture."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            seen = self._train(choice)
        torch.cuda.current_stream().wait_stream(self._stream)
        return seen

    def _train(self, choice: Tensor) -> tuple[Tensor, Tensor]:
        return self._module.step(*self._batches.taken(_unpacked(choice, self._batches.data.train.images.shape)))


def _packed(choice: Choice) -> Tensor:
    """A choice as whole numbers, one line of N, or four where images are augmented: one copy brings all to the GPU."""
    crop = choice.crop
    return torch.stack([choice.rows, *((crop.top, crop.left, crop.flip.long()) if crop else ())])


def _unpacked(lines: Tensor, shape: torch.Size) -> Choice:
    """The choice that was packed, of images of an N×C×H×W tensor's shape, without asking the device."""
    rows, *crop = lines
    return Choice(rows, Crop(Crop.padding(shape), crop[0], crop[1], crop[2] != 0) if crop else None)
