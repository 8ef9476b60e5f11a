"""What dropout layers have in common. Each takes the rate at which it drops; the papers' p is most often 1 − rate.

All of them change values in training only, draw from torch's global generator, keep shape, dtype and
device, and let their input through as it is at rate 0. In their formulas x is the input and q = 1 − rate.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn


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

    On a CPU a generator is serial and takes longer than the layer's arithmetic, so each value gets 8 random bits and
    not a number of its own. Bits under w = ⌊256·rate⌋ drop. Of those left, a share of d = (rate − w/256) / (1 − w/256)
    has still to drop: N values are hit at random places, as often as Poisson's law of mean −N·ln(1 − d) says. A value
    is then missed with probability 1 − d, whatever happens to others, so that the rate is exact, not rounded to 8 bits.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():  # which has no name for how many hits there are
        return torch.empty_like(x, dtype=torch.bool).bernoulli_(1 - rate)
    count = x.numel()
    words = torch.empty(-(-count // 8), dtype=torch.int64).random_(-(2**63), None)
    whole = int(256 * rate)
    kept = words.view(torch.uint8)[:count].ge_(whole)  # in place: into bools takes ten times as long
    if left := (256 * rate - whole) / (256 - whole):
        hits = int(torch.poisson(torch.tensor(-count * math.log1p(-left), dtype=torch.float64)))
        kept[torch.empty(hits, dtype=torch.int64).random_().remainder_(count)] = 0
    layout = torch.empty_like(x, device="meta")  # dense, in the order of x's memory
    return kept.view(torch.bool).as_strided(x.shape, layout.stride())


def masked(x: Tensor, mask: Tensor, scale: float) -> Tensor:
    """x·mask·scale, where mask is bool and of x's shape; rounded once."""
    return _Masked.apply(x, mask, scale)


class _Masked(torch.autograd.Function):
    """The product and its derivative, which is the same product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(mask)
        ctx.scale = scale
        return _product(x, mask, scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (mask,) = ctx.saved_tensors
        return _product(gradient, mask, ctx.scale), None, None


def _product(x: Tensor, mask: Tensor, scale: float) -> Tensor:
    if x.device.type != "cpu":
        return torch.ops.aten.native_dropout_backward(x, mask, scale)  # by another name what is wanted
    # A kernel of two dtypes is five times as slow on a CPU as the conversion and one of a single dtype.
    ones = mask.view(torch.uint8).to(x.dtype)
    return torch.addcmul(x.new_zeros(()), x, ones, value=scale, out=ones)
