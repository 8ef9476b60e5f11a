"""Batch norm's statistics run again in test mode, where no dropout changes what a norm gets.

Two definitions:

moving   what training does, less dropout: norms normalize with the batch while their moving averages are taken anew,
         all at once, over as many batches as for the shift. That is how Li et al. 2018 (arXiv 1801.05134) are read
         here, who write of moving averages and do not say what normalizes meanwhile. Were it the old statistics, as
         for the shift, then norm after norm would be corrected for what those before it no longer do.
exact    population mean and variance over one epoch of the training data, one norm after the other in network order,
         each with the new statistics of those before it. As many passes as norms, each as far as its norm, and from
         the norm before it where what that got is small enough to be kept; after it these data have mean 0 and
         variance 1 behind every norm, before γ and β.
"""

import copy
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from pipeline.measures.modes import with_batch_statistics
from pipeline.measures.shift import BatchNorm, channel_moments, observe, running_norms

KEPT = 2**28
"""Bytes of activations that are kept at most."""


def moving(network: nn.Sequential, batches: Iterable[Tensor]) -> nn.Sequential:
    """A copy of the network with moving averages over these batches.

    Args:
        network: in test mode.
        batches: as many as for the shift, see there.
    """
    observed = observe(with_batch_statistics(network), batches)
    network = copy.deepcopy(network)
    for place, norm in running_norms(network).items():
        _set(norm, observed[place].mean, observed[place].variance)
    return network


def exact(network: nn.Sequential, batches: Callable[[], Iterable[Tensor]]) -> nn.Sequential:
    """A copy of the network with population statistics.

    Args:
        network: in test mode.
        batches: gives the same images at every call.
    """
    network = copy.deepcopy(network)
    start = 0
    for place, norm in running_norms(network).items():
        got = _Passed(network[start:place], batches())
        _set(norm, *population(got))
        if got.kept is not None:
            start, batches = place, got.kept.__iter__
    return network


class _Passed:
    """What layers make of batches.

    Attributes:
        kept: all of it, once it has been gone through; None where it is more than KEPT bytes.
    """

    def __init__(self, layers: nn.Sequential, batches: Iterable[Tensor]) -> None:
        self.kept: list[Tensor] | None = []
        self._layers, self._batches, self._room = layers, batches, KEPT

    def __iter__(self) -> Iterator[Tensor]:
        with torch.inference_mode():
            for batch in self._batches:
                x = self._layers(batch)
                self._room -= x.nbytes
                if self._room < 0:
                    self.kept = None
                elif self.kept is not None:
                    self.kept.append(x)
                yield x


def population(batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel over all values of all batches, N×C or N×C×H×W, float64."""
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for x in batches:
        here, (middle, variance) = x.numel() // x.shape[1], channel_moments(x)
        # Chan et al. 1983: the squares of two parts about their own means, and what the means' difference adds.
        apart = middle - mean.to(middle)
        total = count + here
        squares = squares.to(middle) + (here - 1) * variance + apart**2 * (count * here / total)
        mean = mean.to(middle) + apart * (here / total)
        count = total
    return mean, squares / count


def _set(norm: BatchNorm, mean: Tensor, variance: Tensor) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
