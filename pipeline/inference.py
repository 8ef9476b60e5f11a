"""A trained network from its files."""

from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from models import Normalize, build
from pipeline.config import Row
from pipeline.prepared import Info


def load(row: Row, info: Info, weights: Path) -> nn.Sequential:
    """A network in test mode that takes pixels 0..255, N×C×H×W float32, and gives N×K logits.

    Args:
        row: what was trained.
        info: of the data that it was trained on.
        weights: a file of state dict as a run leaves it.
    """
    network = build(*row.network(), info.shape, len(info.classes))
    network.load_state_dict(load_file(weights))
    return nn.Sequential(Normalize(info.mean, info.std), network).eval()
