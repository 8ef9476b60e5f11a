"""Where a word stands, what a row asks of its norms, and how a layer refuses a place."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class SentenceError(ValueError):
    """A sentence that cannot be built.

    Args:
        part: the key at fault, such as `each` or `norm.groups`.
        message: one line.
        word: what is not known, where that is the fault.
        known: what could stand in its place.
    """

    def __init__(self, part: str, message: str, word: str = "", known: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.part, self.word, self.known = part, word, sorted(known)


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

    part: str  #: `each`, `end`, `block` or `head`
    name: str  #: of the layer, such as block1_bn2
    features: int  #: channels of the tensor here, or features once it is flat
    pixels: int  #: height × width of the tensor here; 0 once it is flat
    rate: float  #: the dropout rate of this position; 0 for words that drop nothing
    norm: Norm

    @property
    def spatial(self) -> bool:
        """True for N×C×H×W tensors, False for N×C."""
        return self.pixels > 0

    def check_set(self, values: int) -> None:
        """Whether a norm has something to normalize: sets of so many values that share a mean and a variance.

        Raises:
            SentenceError: single values, which are their own mean.
        """
        if values < 2:
            raise SentenceError(
                self.part, f"{self.name}: it would normalize single values, and so make all of them zero"
            )
