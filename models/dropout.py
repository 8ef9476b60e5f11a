"""Dropout layers. Each takes the rate at which it drops; the papers' p is most often 1 − rate.

All of them change values in training only, draw from torch's global generator, keep shape, dtype and
device, and let their input through as it is at rate 0. x is the input and q = 1 − rate below.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.place import Place


def channels(place: Place) -> nn.Module:
    """Inverted dropout of whole channels: y = x·m / q with one m ~ Bernoulli(q) for each channel of each image.

    SpatialDropout of Tompson et al. 2015 (arXiv 1411.4280, section 3.2). In a flat tensor every feature
    is a channel of one pixel, so this is `InvertedDropout` there.
    """
    return nn.Dropout2d(place.rate) if place.spatial else InvertedDropout(place.rate)


def alpha(place: Place) -> nn.Module:
    """Alpha dropout, for SELU: y = a·(x·m + α′·(1 − m)) + b, m ~ Bernoulli(q); in test mode y = x.

    α′ ≈ −1.7581 is the value at which SELU saturates; a = (q + α′²·q·(1 − q))^(−1/2) and b = −a·(1 − q)·α′
    keep mean 0 and variance 1 (Klambauer et al. 2017, arXiv 1706.02515, section on the new dropout).
    """
    return nn.AlphaDropout(place.rate)


class Dropout(nn.Module):
    """What the dropouts that torch lacks have in common.

    Args:
        p: the rate, in [0, 1).

    Raises:
        ValueError: a rate outside [0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"a rate of {p}; rates lie in [0, 1)")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        if not self.p:
            return x
        return self.noisy(x) if self.training else self.quiet(x)

    def noisy(self, x: Tensor) -> Tensor:
        """The output in training."""
        raise NotImplementedError

    def quiet(self, x: Tensor) -> Tensor:
        """The output in test mode."""
        return x

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


def keep(x: Tensor, rate: float) -> Tensor:
    """A mask of x's shape, layout and device, bool: each value True with probability 1 − rate, by itself.

    On a CPU a generator is serial and takes longer than the layer's arithmetic, so each value gets 16 random
    bits and not a number of its own. Bits under rate·2¹⁶ drop, bits equal to its whole part drop with a
    probability of its fraction: the probability is exact, not rounded to 16 bits.
    """
    if x.device.type != "cpu":
        return torch.empty_like(x, dtype=torch.bool).bernoulli_(1 - rate)
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    bits = words.view(torch.int16)[: x.numel()]
    whole, fraction = divmod(rate * 2**16, 1)
    threshold = int(whole) - 2**15
    kept = bits >= threshold
    if fraction:
        ties = (bits == threshold).nonzero()
        kept[ties] = torch.rand(ties.shape) >= fraction
    layout = torch.empty_like(x, device="meta")  # dense, in the order of x's memory
    return kept.as_strided(x.shape, layout.stride())


class InvertedDropout(Dropout):
    """Inverted dropout: y = x·m / q, m ~ Bernoulli(q); in test mode y = x.

    Srivastava et al. 2014 (JMLR 15, section 10), who call it scaling up at training time.
    """

    def noisy(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return functional.dropout(x, self.p)
        # The product of x, mask and scale in one kernel, under the name of the derivative that it also is.
        return torch.ops.aten.native_dropout_backward(x, keep(x, self.p), 1 / (1 - self.p))


class ClassicDropout(Dropout):
    """Dropout as first published: y = x·m, m ~ Bernoulli(q); in test mode y = q·x.

    Srivastava et al. 2014 (JMLR 15, section 4), who put the factor q on the outgoing weights.
    """

    def noisy(self, x: Tensor) -> Tensor:
        return x * keep(x, self.p)

    def quiet(self, x: Tensor) -> Tensor:
        return x * (1 - self.p)


class GaussianDropout(Dropout):
    """Multiplicative Gaussian noise: y = x·(1 + r), r ~ N(0, rate / q), the variance that inverted dropout has.

    Srivastava et al. 2014 (JMLR 15, section 10); Wang and Manning 2013 (ICML).
    """

    def noisy(self, x: Tensor) -> Tensor:
        # x + x·r and not x·(1 + r): the sum is rounded once, which matters in half precision.
        return torch.addcmul(x, x, torch.empty_like(x).normal_(0, math.sqrt(self.p / (1 - self.p))))


class UniformDropout(Dropout):
    """Uout, multiplicative uniform noise: y = x·(1 + r), r ~ U(−β, β), where the rate is β.

    Li et al. 2018 (arXiv 1801.05134), made to shift the variance less: by 3 / (3 + β²) where x has mean 0.
    """

    def noisy(self, x: Tensor) -> Tensor:
        return torch.addcmul(x, x, torch.empty_like(x).uniform_(-self.p, self.p))
