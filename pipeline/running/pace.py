"""How fast a row would train on this machine, tried for a moment before anything is begun."""

import time

from pipeline.params.rows import Row
from pipeline.training.devices import uses_gpu

MOMENT = 0.5
"""Seconds that each row is tried for."""

STEPS = 3
"""Steps that are timed at least, after one that is not."""


def images_per_second(row: Row, shape: tuple[int, int, int], classes: int) -> float:
    """Training images that one run takes a second, with one thread or one GPU.

    Args:
        row: what would train; its batch and its network count.
        shape: of an image, C, H, W.
        classes: how many.
    """
    import torch

    from models import build

    torch.set_num_threads(1)  # as in a run
    device = "cuda" if uses_gpu(row) else "cpu"
    network = build(*row.network(), shape, classes).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-6)
    images = torch.randn(row.batch, *shape, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(row.batch, device=device) % classes
    began, steps = time.monotonic(), -1
    while steps < STEPS or time.monotonic() - began < MOMENT:
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
        steps += 1
        if not steps:
            began = time.monotonic()
    return steps * row.batch / (time.monotonic() - began)


def seconds(row: Row, pace: float, train: int, select: int) -> float:
    """What all runs of a row take one after another; what an epoch takes beside its images is too little to measure.

    Args:
        row: what trains.
        pace: what `images_per_second` gives.
        train, select: images that a seed trains on, and that it selects by, which cost a third: no gradient.
    """
    return len(row.seeds) * row.epochs * (train + select / 3) / pace
