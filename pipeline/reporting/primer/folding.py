"""A batch norm folded into the convolution before it: the same numbers from one layer less."""

import math

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from pipeline.measures.folding import fold
from pipeline.reporting.primer.lesson import Lesson, boxes, canvas

CHANNELS = 2


def network() -> nn.Sequential:
    """A convolution and a batch norm as training could have left them, in test mode."""
    generator = np.random.default_rng(8)
    conv, norm = nn.Conv2d(1, CHANNELS, 3), nn.BatchNorm2d(CHANNELS)

    def drawn(shape: torch.Size, low: float, high: float) -> Tensor:
        return torch.from_numpy(generator.uniform(low, high, tuple(shape)).round(1)).float()

    with torch.no_grad():
        conv.weight.copy_(drawn(conv.weight.shape, -1, 1))
        assert conv.bias is not None and isinstance(norm.running_mean, Tensor) and isinstance(norm.running_var, Tensor)
        conv.bias.copy_(drawn(conv.bias.shape, -1, 1))
        norm.weight.copy_(drawn(norm.weight.shape, 0.5, 2))
        norm.bias.copy_(drawn(norm.bias.shape, -1, 1))
        norm.running_mean.copy_(drawn(norm.running_mean.shape, -1, 1))
        norm.running_var.copy_(drawn(norm.running_var.shape, 0.2, 3))
    return nn.Sequential(conv, norm).eval()


def apart() -> float:
    """How far the outputs of both networks are apart at most, on random images."""
    layers = network().double()
    images = torch.from_numpy(np.random.default_rng(9).normal(0, 1, (50, 1, 8, 8)))
    with torch.no_grad():
        return float((layers(images) - fold(layers).network(images)).abs().max())


def lesson() -> Lesson:
    """The lesson."""
    power = math.ceil(math.log10(max(apart(), 1e-12)))
    return Lesson(
        title="Folding: in test mode, a batch norm can vanish into the convolution before it",
        file="folding",
        alt="The weights of two channels before and after folding, with the factor of each",
        draw=draw,
        before=(
            "In test mode a batch norm multiplies each channel by a constant and adds another, and a convolution can do"
            " that itself once its weights are multiplied by the one and its bias takes in the other. On random images"
            f" both networks give the same numbers: they differ by less than 1e{power}."
        ),
        formula="γ·(W∗x + b − μ) / √(σ² + ε) + β  =  (g·W)∗x + g·(b − μ) + β,   g = γ / √(σ² + ε)",
        source="Jacob et al. 2018, arXiv 1712.05877, section 3.2",
        after=(
            "It needs running statistics, and nothing between convolution and norm but what does nothing in test mode,"
            " as dropout. An activation between them forbids it, and so do norms that look at each image."
        ),
        rows={"quickstart": ["bn", "drop-before-bn"]},
        matters="`pipeline/python -m pipeline.fold bn` folds a trained network, and says what that buys in speed.",
    )


def draw() -> Figure:
    """Kernel, factor, folded kernel, for each channel."""
    layers = network()
    conv, norm = layers
    folded = fold(layers).network[0]
    assert isinstance(conv, nn.Conv2d) and isinstance(folded, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    assert isinstance(norm.running_var, Tensor)
    factors = (norm.weight / (norm.running_var + norm.eps).sqrt()).tolist()
    figure, axes = canvas(12, 7.8)
    for channel, factor in enumerate(factors):
        top = 0.8 + 3.6 * channel
        axes.text(-0.3, top + 1.5, f"channel {channel + 1}", ha="right", va="center", fontsize=9)
        boxes(axes, conv.weight[channel, 0].detach().numpy(), 0, top, 2)
        axes.text(4.5, top + 1.5, f"× {factor:.2f}  =", ha="center", va="center", fontsize=11)
        boxes(axes, folded.weight[channel, 0].detach().numpy(), 6, top, 2, 2)
    axes.text(1.5, 0.4, "weights of the convolution", ha="center", va="center", fontsize=9)
    axes.text(7.5, 0.4, "with the norm folded in", ha="center", va="center", fontsize=9)
    return figure
