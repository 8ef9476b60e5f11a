"""How fast a network could train at most: what an image needs, and what the device can do."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models import build
from pipeline.params.rows import Row

HALF = 2
"""Bytes of a bf16 value."""


@dataclass(frozen=True)
class Work:
    """Bytes moved and floating-point operations done, of one training image or in one second."""

    bytes: float
    operations: float


def need(row: Row, shape: tuple[int, int, int] = (3, 32, 32), classes: int = 10) -> Work:
    """The least that one training image needs.

    Operations are those of convolutions and dense layers, forward and backward. Bytes are those of activations in
    bf16 where no kernel spans two layers: each layer reads its input and writes its output, and backward reads the
    output's gradient and the input, and writes the input's gradient. Weights are shared by a batch and left out.
    """
    network = build(*row.network(), shape, classes)
    moved = 0

    def count(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal moved
        if not isinstance(layer, nn.Flatten):
            moved += HALF * (2 * output.numel() + 3 * inputs[0].numel())

    for layer in network:
        layer.register_forward_hook(count)
    with FlopCounterMode(display=False) as flops:
        network.eval()(torch.zeros(1, *shape)).sum().backward()
    return Work(moved, flops.get_total_flops())


def probe(side: int) -> Work:
    """What this device does in a second: copies of a large tensor, and products of bf16 matrices.

    Args:
        side: of the matrices.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    source = torch.zeros(side, side, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    one, other = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    copied = 2 * source.numel() * source.element_size()  # read and written
    return Work(copied / _seconds(lambda: target.copy_(source)), 2 * side**3 / _seconds(lambda: one @ other))


def _seconds(action: Callable[[], object], repeats: int = 20) -> float:
    """The shortest of several times."""
    synchronize = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    times = []
    for _ in range(repeats):
        synchronize()
        began = time.perf_counter()
        action()
        synchronize()
        times.append(time.perf_counter() - began)
    return min(times)
