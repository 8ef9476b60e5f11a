"""What dropout does to the variance that a batch norm meets, by formula: pure functions of layers and moments.

The dropouts that have a formula multiply their test-mode output by noise of mean 1 and variance s, drawn
anew for every value. In the symbols of Li et al. 2018 (arXiv 1801.05134), s = 1/p − 1 for inverted and
classic dropout of keep rate p, and for Gaussian dropout, which copies that variance; s = β²/3 for uniform
dropout. Written with s, the formulas of that paper hold for all of them:

    (a) dropout, norm            Δ = v / (v + s(c² + v))
    (b) dropout, weights, norm   Δ = [v + vρ(d cos²θ − 1)] / [v + vρ(d cos²θ − 1) + s(c² + v)]

c and v are mean and variance of the dropout's input, d the number of inputs of a unit, ρ the correlation that
the paper takes to be the same for every two of them, and cos²θ = (Σw)² / (d·Σw²). Both speak of the nearest
dropout alone. An activation or a pool between dropout and norm leaves no formula.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from models.words.classic_dropout import ClassicDropout
from models.words.gaussian_dropout import GaussianDropout
from models.words.inverted_dropout import InvertedDropout
from models.words.uniform_dropout import UniformDropout


@dataclass(frozen=True)
class Noise:
    """The dropout that stands before a norm.

    Args:
        case: `a` or `b`, as above.
        variance: s, of all dropouts in a row together.
        weights: the layer between dropout and norm, in case b.
    """

    case: Literal["a", "b"]
    variance: float
    weights: nn.Conv2d | nn.Linear | None = None


def noise_variance(layer: nn.Module) -> float | None:
    """Variance s of the factor of mean 1 that training puts on a layer's test-mode output; None for any other layer."""
    match layer:
        case InvertedDropout() | ClassicDropout() | GaussianDropout() | nn.Dropout() | nn.Dropout2d():
            return layer.p / (1 - layer.p)
        case UniformDropout():
            return layer.p**2 / 3
        case _:
            return None


def noise_before(layers: Sequence[nn.Module], place: int) -> Noise | None:
    """The noise whose effect on the norm at `place` a formula gives, by the layers before it; None where none does.

    Flattening moves no value and is passed over. The noise of dropped channels is shared by the pixels of a
    channel: alone that changes nothing, but a sum over them is beyond (b).
    """
    before = [layer for layer in layers[:place] if not isinstance(layer, nn.Flatten)]
    if drops := _last_dropouts(before):
        return Noise("a", _product(drops))
    if not before or not isinstance(weights := before.pop(), (nn.Conv2d, nn.Linear)):
        return None
    drops = _last_dropouts(before)
    if not drops or any(isinstance(drop, nn.Dropout2d) for drop in drops):
        return None
    return Noise("b", _product(drops), weights)


def _last_dropouts(layers: Sequence[nn.Module]) -> list[nn.Module]:
    found: list[nn.Module] = []
    for layer in reversed(layers):
        if noise_variance(layer) is None:
            break
        found.append(layer)
    return found


def _product(drops: Sequence[nn.Module]) -> float:
    """Variance of the product of independent factors of mean 1."""
    square = 1.0
    for drop in drops:
        square *= 1 + (noise_variance(drop) or 0)
    return square - 1


def ratio_a(mean: Tensor, variance: Tensor, noise: float) -> float:
    """Case (a) of a layer: mean variance over channels in test mode by that in training.

    Args:
        mean, variance: c and v of each channel in test mode.
        noise: s.
    """
    return _ratio(variance, noise * (mean**2 + variance))


@dataclass(frozen=True)
class Inputs:
    """Test-mode moments of the d inputs of a weight layer's units, over images and places; padding counts as input.

    Args:
        mean, square: d means of the inputs and of their squares, in the order of a unit's weights.
        total: variance of the sum of the d inputs.
    """

    mean: Tensor
    square: Tensor
    total: float

    @property
    def variance(self) -> float:
        """v: the mean of the inputs' variances."""
        return float((self.square - self.mean**2).mean())

    @property
    def correlation(self) -> float:
        """ρ: the one value for all pairs that gives the sum its variance, total = d·v·(1 + (d − 1)·ρ)."""
        d, v = len(self.mean), self.variance
        return (self.total / (d * v) - 1) / (d - 1) if d > 1 and v > 0 else 0.0


def ratio_b(inputs: Inputs, weights: Tensor, noise: float) -> float:
    """Case (b) of a layer as in the paper, one c, v and ρ for all inputs: mean variance over units, test by training.

    Args:
        inputs: moments of the weight layer's inputs.
        weights: of K units, K×d or K×C×H×W.
        noise: s.
    """
    w = weights.detach().flatten(1).double()
    power, v = (w**2).sum(1), inputs.variance
    aligned = w.sum(1) ** 2 / power.clamp(min=torch.finfo(torch.float64).tiny)  # d cos²θ
    test = power * (v + v * inputs.correlation * (aligned - 1))
    return _ratio(test, noise * power * inputs.square.mean())


def ratio_b_by_input(inputs: Inputs, weights: Tensor, variance: Tensor, noise: float) -> float:
    """Case (b) without the paper's assumption that all inputs are alike: the noise adds s·Σᵢ wᵢ²·E[xᵢ²] to a unit.

    Exact for noise that is drawn apart for every value, whatever the inputs' moments and correlations.

    Args:
        inputs, weights, noise: as for `ratio_b`.
        variance: of the K units in test mode.
    """
    return _ratio(variance, noise * (weights.detach().flatten(1).double() ** 2 @ inputs.square))


def _ratio(test: Tensor, added: Tensor) -> float:
    """Variance in test mode by that in training, which has some added to it; nan where nothing varies."""
    return float(test.sum() / (test + added).sum())
