"""A trained network from its files, and what it says of images."""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from models import Normalize, build
from pipeline.images import draws, prepared
from pipeline.params.rows import Row

BATCH = 32
"""Images that are computed at once, at most: what layers make of so few stays in a core's caches."""


def load(row: Row, data: Path, seed: int, weights: Path) -> nn.Sequential:
    """A network in test mode that takes pixels 0..255, N×C×H×W float32, and gives N×K logits.

    Args:
        row: what was trained.
        data: a folder that `prepare` wrote, on whose images it was trained.
        seed: of the run, whose training images normalize all others.
        weights: a file of state dict as a run leaves it.
    """
    info = prepared.info(data)
    network = build(*row.network(), info.shape, len(info.classes))
    network.load_state_dict(load_file(weights))
    return nn.Sequential(Normalize(*draws.statistics(draws.read(data, seed).train)), network).eval()


def logits(network: nn.Module, images: Tensor, done: Callable[[int], None] = lambda count: None) -> Tensor:
    """What a network says of images.

    Args:
        network: as `load` gives it.
        images: N×C×H×W, uint8 or float pixels 0..255, on the network's device.
        done: is told after each batch how many images are done.

    Returns:
        N×K float32.
    """
    parts = []
    with torch.inference_mode():
        # In equal parts: a last part of one image is too few for norms without running statistics.
        for batch in images.tensor_split(math.ceil(len(images) / BATCH)):
            parts.append(network(batch))
            done(sum(map(len, parts)))
    return torch.cat(parts)
