"""The variance shift of batch norm layers, as Li et al. 2018 define it (arXiv 1801.05134, section 4).

    shift = max(real / moving, moving / real)

moving is the mean over channels of a layer's running variance, as training has left it. real is the same moving
average, with the norm's momentum and of unbiased batch variances, taken in test mode over the training data with
its augmentation: no dropout, and all norms normalize with their running statistics.

The paper does not say from where the average starts, and over its 700 batches a start is forgotten. Here none has
any weight: the batches' weights m(1 − m)ⁿ are divided by their sum. As many batches are seen as it takes to forget a
start to a thousandth, 66 at momentum 0.1: one that lies further back weighs nothing, and where the data have fewer,
they are gone through again.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.measures.closed_form import Inputs, noise_before, ratio_a, ratio_b, ratio_b_by_input

FORGOTTEN = 1e-3
"""Weight that the start of a moving average may have left when enough batches have been seen."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the channels' ratios."""

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d


def running_norms(network: nn.Sequential) -> dict[int, BatchNorm]:
    """The batch norms that keep running statistics, by their place."""
    layers = enumerate(network)
    return {i: layer for i, layer in layers if isinstance(layer, BatchNorm) and layer.track_running_stats}


def enough(momentum: float) -> int:
    """After how many batches the start of a moving average is forgotten."""
    return math.ceil(math.log(FORGOTTEN) / math.log1p(-momentum)) if momentum < 1 else 1


def channel_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased variance of each channel of N×C or N×C×H×W, float64.

    By batch norm's own kernel, which takes a third of the time of `torch.var_mean` on a CPU.
    """
    mean, variance = x.new_zeros(x.shape[1]), x.new_zeros(x.shape[1])
    functional.batch_norm(x, mean, variance, training=True, momentum=1.0)
    return mean.double(), variance.double()


class MovingAverage:
    """The exponential moving average of batch norms, less the weight of its start.

    Args:
        momentum: weight of the newest value.
    """

    def __init__(self, momentum: float) -> None:
        self.momentum, self._sum, self._weight = momentum, torch.zeros(()), 0.0

    def update(self, value: Tensor) -> None:
        """Takes in a batch's value."""
        self._sum = (1 - self.momentum) * self._sum.to(value) + self.momentum * value
        self._weight = (1 - self.momentum) * self._weight + self.momentum

    @property
    def value(self) -> Tensor:
        """The average so far, on the CPU."""
        return self._sum.cpu() / self._weight


class NormInput:
    """Moving averages of mean and unbiased variance of each channel that a norm gets, float64."""

    def __init__(self, momentum: float) -> None:
        self.mean, self.variance = MovingAverage(momentum), MovingAverage(momentum)

    def update(self, x: Tensor) -> None:
        """Takes in a batch, N×C or N×C×H×W."""
        mean, variance = channel_moments(x)
        self.mean.update(mean)
        self.variance.update(variance)


class WeightInput:
    """Gathers the moments of a weight layer's inputs over all batches alike."""

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        self.layer, self._batches, self._images = layer, [], 0
        self._maps: Tensor | None = None

    def update(self, x: Tensor) -> None:
        """Takes in a batch, N×d or N×C×H×W."""
        total = self._windows(x.sum(1, keepdim=True)).sum(1).double()
        self._batches.append(torch.stack([total.sum(), (total**2).sum(), torch.tensor(float(total.numel())).to(total)]))
        maps = torch.stack([x.sum(0), (x**2).sum(0)]).double()
        self._maps = maps if self._maps is None else self._maps + maps
        self._images += len(x)

    def _windows(self, x: Tensor) -> Tensor:
        """The inputs of a unit at each of L places, N×d×L; a dense layer has one place."""
        if isinstance(self.layer, nn.Linear):
            return x[:, :, None]
        layer = self.layer
        assert not isinstance(layer.padding, str)
        return functional.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)

    @property
    def inputs(self) -> Inputs:
        """The moments so far, on the CPU."""
        assert self._maps is not None
        mean, square = self._windows(self._maps / self._images).mean(2).cpu()
        first, second, count = torch.stack(self._batches).sum(0).tolist()
        return Inputs(mean, square, second / count - (first / count) ** 2)


@dataclass(frozen=True)
class Observed:
    """What a norm got in test mode.

    Args:
        mean, variance: moving averages of each channel, float64.
        inputs: of the weight layer before it, in case b.
    """

    mean: Tensor
    variance: Tensor
    inputs: Inputs | None


def observe(network: nn.Sequential, batches: Iterable[Tensor]) -> dict[int, Observed]:
    """What each batch norm with running statistics gets when the network, in test mode, sees these batches."""
    layers, norms = list(network), running_norms(network)
    noises = {place: noise_before(layers, place) for place in norms}
    got = {place: NormInput(norm.momentum or 0) for place, norm in norms.items()}
    weights = {place: noise.weights for place, noise in noises.items() if noise and noise.weights}
    gathered = {place: WeightInput(layer) for place, layer in weights.items()}
    at = {layers.index(weights[place]): gathered[place] for place in gathered}
    with torch.inference_mode():
        for batch in batches:
            x = batch
            for place, layer in enumerate(layers):
                for seen in (got.get(place), at.get(place)):
                    if seen:
                        seen.update(x)
                x = layer(x)
    inputs = {place: one.inputs for place, one in gathered.items()}
    return {place: Observed(one.mean.value, one.variance.value, inputs.get(place)) for place, one in got.items()}


def shifts(
    network: nn.Sequential, exact: nn.Sequential, batches: Callable[[], Iterable[Tensor]]
) -> list[dict[str, Any]]:
    """The shift of each batch norm, in network order.

    Args:
        network: in test mode, as training has left it.
        exact: the network with the statistics of `recalibrate.exact`.
        batches: gives the training data, as many batches as are `enough`, the same at each call.

    Returns:
        Per layer: `layer`, its name; `channels`; `moving` and `real` as above; `ratio`, real by moving, and `shift`;
        `ratio_alone`, the same where the norms before it have exact statistics, hence without the shift that they
        hand on; `q05` … `q95`, quantiles of the channels' ratios (the norm's eps is added to both sides, so that a
        channel that never varies counts as unshifted); `case`; `predicted`, the formula's ratio of real by moving;
        `predicted_by_input`, the same without assuming that all inputs are alike. The last three are None where no
        formula applies. A formula knows of one dropout, so it is given the moments that the norm's inputs have in
        `exact`, and stands beside `ratio_alone`.
    """
    layers, names, norms = list(network), [name for name, _ in network.named_children()], running_norms(network)
    observed, alone = observe(network, batches()), observe(exact, batches())
    return [
        {"layer": names[place]}
        | _shift(norm, observed[place].variance, _running(norms_exact))
        | _predicted(layers, place, alone[place])
        for (place, norm), norms_exact in zip(norms.items(), running_norms(exact).values(), strict=True)
    ]


def _running(norm: BatchNorm) -> Tensor:
    assert norm.running_var is not None
    return norm.running_var.double().cpu()


def _shift(norm: BatchNorm, seen: Tensor, alone: Tensor) -> dict[str, Any]:
    """Of a norm and its input's variances in test mode, with all norms before it as they are and with them exact."""
    running = _running(norm)
    moving, real = float(running.mean()), float(seen.mean())
    ratio = real / moving if moving > 0 else math.nan
    channels = (seen + norm.eps) / (running + norm.eps)
    quantiles = channels.quantile(torch.tensor(QUANTILES, dtype=torch.float64)).tolist()
    line = {"channels": len(running), "moving": moving, "real": real, "ratio": ratio}
    line["shift"] = max(ratio, 1 / ratio) if ratio > 0 else math.nan
    line["ratio_alone"] = float(alone.mean()) / moving if moving > 0 else math.nan
    return line | {f"q{round(100 * q):02}": value for q, value in zip(QUANTILES, quantiles, strict=True)}


def _predicted(layers: list[nn.Module], place: int, seen: Observed) -> dict[str, Any]:
    noise = noise_before(layers, place)
    if noise is None:
        return {"case": None, "predicted": None, "predicted_by_input": None}
    if noise.weights is None or seen.inputs is None:
        ratio = ratio_a(seen.mean, seen.variance, noise.variance)
        return {"case": "a", "predicted": ratio, "predicted_by_input": ratio}
    weights = noise.weights.weight.cpu()
    return {
        "case": "b",
        "predicted": ratio_b(seen.inputs, weights, noise.variance),
        "predicted_by_input": ratio_b_by_input(seen.inputs, weights, seen.variance, noise.variance),
    }
