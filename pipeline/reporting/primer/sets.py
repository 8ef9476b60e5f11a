"""Which values share a mean in each norm, found out by asking the layers: a value is in the set if the output depends
on it."""

from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from numpy.typing import NDArray

from pipeline.reporting.charts import BLUE, GREY, VERMILLION, WIDTH
from pipeline.reporting.primer.lesson import Lesson, layer

IMAGES, CHANNELS, SIDE, GROUPS = 4, 6, 2, 3
NORMS = {"bn": "batch norm", "ln": "layer norm", "in": "instance norm", "gn": "group norm"}


def shared(word: str) -> NDArray[np.bool_]:
    """IMAGES×CHANNELS×SIDE² flags: the values on which one output, that of the first image's last channel, depends."""
    norm = layer(word, CHANNELS, SIDE**2, groups=GROUPS)
    values = torch.from_numpy(np.random.default_rng(2).normal(0, 1, (IMAGES, CHANNELS, SIDE, SIDE))).float()
    values.requires_grad_()
    norm.train()(values)[0, -1, 0, 0].backward()
    assert values.grad is not None
    return (values.grad.abs() > 1e-6).flatten(2).numpy()


def lesson() -> Lesson:
    """The lesson."""
    counts = {word: int(shared(word).sum()) for word in NORMS}
    total = IMAGES * CHANNELS * SIDE**2
    return Lesson(
        title="Four norms: which values share a mean",
        file="sets",
        alt="A cube of images, channels and pixels for each norm, with the values coloured that share a mean",
        draw=draw,
        before=(
            f"The cube holds {IMAGES} images (front to back) with {CHANNELS} channels (left to right) of"
            f" {SIDE**2} pixels (from top to bottom), {total} values in all. All four norms subtract a mean and divide"
            " by a deviation; they differ in the values that these are taken over. The value with the orange edge"
            f" shares them with the coloured ones: {counts['bn']} in batch norm, {counts['ln']} in layer norm,"
            f" {counts['in']} in instance norm and {counts['gn']} in group norm with {GROUPS} groups. Only in batch"
            " norm do some come from other images."
        ),
        formula=(
            "bn  one channel of all images        in  one channel of one image\n"
            "ln  all channels of one image        gn  a group of channels of one image"
        ),
        source="Wu and He 2018, Group normalization, arXiv 1803.08494, figure 2 and equations 3 to 7",
        after="The colours are computed: a value is coloured if the layer's output at the orange edge depends on it.",
        rows={"norms-small": [f"norms-small-{word}-8" for word in NORMS]},
        matters="Norms that stay within an image do the same in training and test mode, and at any size of the batch.",
    )


def draw() -> Figure:
    """Four cubes."""
    figure = Figure(figsize=(WIDTH, 2.7), layout="constrained")
    for axes, (word, name) in zip(figure.subplots(1, 4), NORMS.items(), strict=True):
        _cube(axes, shared(word))
        axes.set_title(f"{name} ({word})")
    return figure


def _cube(axes: Axes, flags: NDArray[np.bool_]) -> None:
    """The faces that one sees: the first image in front, the last channel at the right, the first pixel on top."""
    images, channels, pixels = flags.shape
    depth = np.array([0.55, 0.4])
    for channel in range(channels):
        for pixel in range(pixels):
            corner = np.array([channel, -pixel - 1.0])
            chosen = (channel, pixel) == (channels - 1, 0)
            _face(axes, corner, np.array([1, 0]), np.array([0, 1]), flags[0, channel, pixel], chosen)
        for image in range(images):
            corner = np.array([channel, 0]) + image * depth
            _face(axes, corner, np.array([1, 0]), depth, flags[image, channel, 0])
    for image in range(images):
        for pixel in range(pixels):
            corner = np.array([channels, -pixel - 1.0]) + image * depth
            _face(axes, corner, depth, np.array([0, 1]), flags[image, -1, pixel])
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.autoscale_view()


def _face(axes: Axes, corner: Any, right: Any, up: Any, shared: bool, chosen: bool = False) -> None:
    around = np.array([corner, corner + right, corner + right + up, corner + up])
    axes.add_patch(Polygon(around, facecolor=BLUE if shared else "none", alpha=0.55, linewidth=0))
    axes.add_patch(Polygon(around, fill=False, edgecolor=GREY, linewidth=0.7))
    if chosen:
        axes.add_patch(Polygon(around, fill=False, edgecolor=VERMILLION, linewidth=2.2, zorder=3))
