"""What batch norm does to the inputs of a sigmoid."""

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from pipeline.reporting.charts import BLUE, VERMILLION, WIDTH
from pipeline.reporting.primer.lesson import Lesson, layer

IMAGES, INPUTS, UNITS, SCALE, BIAS = 2000, 64, 16, 4.0, 3.0
FLAT = 0.01
"""A slope under this passes on less than a twenty-fifth of the largest, ¼."""


def inputs() -> dict[str, Tensor]:
    """Sums of random weights and inputs, and the same behind batch norm."""
    generator = np.random.default_rng(5)
    images = torch.from_numpy(generator.normal(0, 1, (IMAGES, INPUTS))).float()
    dense = nn.Linear(INPUTS, UNITS)
    with torch.no_grad():
        dense.weight.copy_(torch.from_numpy(generator.normal(0, SCALE / INPUTS**0.5, (UNITS, INPUTS))))
        dense.bias.copy_(torch.from_numpy(generator.normal(0, BIAS, UNITS)))
        sums = dense(images)
        return {"without batch norm": sums, "with batch norm": layer("bn", UNITS).train()(sums)}


def slope(x: Tensor) -> Tensor:
    """Derivative of the sigmoid: s·(1 − s)."""
    return torch.sigmoid(x) * (1 - torch.sigmoid(x))


def flat(x: Tensor) -> float:
    """The share of inputs at which the sigmoid is flat."""
    return float((slope(x) < FLAT).float().mean())


def lesson() -> Lesson:
    """The lesson."""
    found = inputs()
    without, with_norm = found["without batch norm"], found["with batch norm"]
    slopes = float(slope(without).mean()), float(slope(with_norm).mean())
    return Lesson(
        title="Batch norm keeps a sigmoid where it is steep",
        file="sigmoid",
        alt="A sigmoid, and how its inputs are spread without and with batch norm",
        draw=draw,
        before=(
            "A sigmoid is flat for large inputs of either sign, and where it is flat, learning stands still: its slope"
            " is a factor of every gradient that passes, and factors of several layers multiply. Here a dense layer has"
            f" grown large weights and biases. {100 * flat(without):.0f} % of its outputs meet a slope under {FLAT:g},"
            f" and the mean slope is {slopes[0]:.3f}. With batch norm between dense layer and sigmoid it is"
            f" {100 * flat(with_norm):.0f} % and {slopes[1]:.3f}, of at most 0.25."
        ),
        formula="sigmoid(x) = 1 / (1 + exp(−x)),   slope = sigmoid(x)·(1 − sigmoid(x)) ≤ ¼",
        source="Ioffe and Szegedy 2015, arXiv 1502.03167, section 2",
        after="To batch norm the scale of the weights before it is all one: ten times the weights, the same output.",
        rows={"saturation-small": ["saturation-small-sigmoid-plain-1e-1", "saturation-small-sigmoid-bn-1e-1"]},
        matters="Whether a network of sigmoids learns at all.",
    )


def draw() -> Figure:
    """Two panels: the curve above where the inputs are."""
    figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
    curve = torch.linspace(-15, 15, 301)
    for axes, (name, values) in zip(figure.subplots(1, 2), inputs().items(), strict=True):
        shares, edges = np.histogram(values.numpy().ravel(), bins=60, range=(-15, 15))
        axes.stairs(shares / shares.max(), edges, fill=True, color=BLUE, alpha=0.45, label="inputs")
        axes.plot(curve, torch.sigmoid(curve), color=BLUE, label="sigmoid")
        axes.plot(curve, 4 * slope(curve), color=VERMILLION, linestyle="--", label="slope, four times as high")
        axes.set(title=name, xlabel="input", xlim=(-15, 15), ylim=(0, 1.05), yticks=(0, 0.5, 1))
    figure.legend(*figure.axes[1].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure
