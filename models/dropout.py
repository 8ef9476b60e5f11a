"""What dropout layers have in common. Each takes the rate at which it drops; the papers' p is most often 1 − rate.

All of them change values in training only, draw from torch's global generator, keep shape, dtype and
device, and let their input through as it is at rate 0. In their formulas x is the input and q = 1 − rate.
"""

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
