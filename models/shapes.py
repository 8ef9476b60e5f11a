"""The words that give a network its shape. The backbone says how wide; no file of words may take their names."""

from collections.abc import Callable
from typing import NamedTuple

from torch import nn


class Shape(NamedTuple):
    """A layer of the backbone. Along a side of n pixels it leaves (n − cut) // by."""

    layer: Callable[[int, int], nn.Module]  #: of the features before and after it
    cut: int = 0
    by: int = 1


SHAPES: dict[str, Shape] = {
    "conv": Shape(lambda before, after: nn.Conv2d(before, after, kernel_size=3, padding=1)),
    "conv-valid": Shape(lambda before, after: nn.Conv2d(before, after, kernel_size=3), cut=2),  # Keras' name
    "pool": Shape(lambda before, after: nn.MaxPool2d(2), by=2),
    "flatten": Shape(lambda before, after: nn.Flatten()),
    "dense": Shape(nn.Linear),
    "classifier": Shape(nn.Linear),
}
CONVS = ("conv", "conv-valid")
SAID = {"each": CONVS, "end": ("pool",), "block": (*CONVS, "pool"), "head": ("dense",)}
"""The shape words of each part of a sentence; flattening and classifier follow by themselves."""
