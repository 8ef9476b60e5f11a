"""Where a word stands, what a row asks of its norms, and how a layer refuses a place."""

from dataclasses import dataclass
from typing import NamedTuple


class SentenceError(ValueError):
    """A sentence that cannot be built. `part` is the key at fault, such as `each` or `norm.groups`."""

    def __init__(self, part: str, message: str) -> None:
        super().__init__(message)
        self.part = part


@dataclass(frozen=True)
class Norm:
    """Settings of all normalization layers of a network; the defaults are torch's, where torch has one.

    Args:
        momentum: weight of the newest batch in the running mean and variance, in (0, 1]; `bn` only.
            This is torch's convention, new = (1 − m)·old + m·batch. TensorFlow's is 1 − m.
        eps: added to the variance before the root.
        running_stats: whether test mode normalizes with running statistics; without them it takes those
            of the batch at hand, as training does; `bn` only.
        groups: into how many groups of neighbours the features fall; `gn` only.
    """

    momentum: float = 0.1
    eps: float = 1e-5
    running_stats: bool = True
    groups: int = 8


class Place(NamedTuple):
    """Where a word stands when it becomes a layer."""

    part: str  #: `each`, `end` or `head`
    name: str  #: of the layer, such as block1_bn2
    features: int  #: channels of the tensor here, or features once it is flat
    pixels: int  #: height × width of the tensor here; 0 once it is flat
    activation: str  #: a key of ACTIVATIONS
    rate: float  #: the dropout rate of this position; 0 for words that drop nothing
    norm: Norm

    @property
    def spatial(self) -> bool:
        """True for N×C×H×W tensors, False for N×C."""
        return self.pixels > 0
