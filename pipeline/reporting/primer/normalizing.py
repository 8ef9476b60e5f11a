"""Batch norm on a small matrix, its running statistics, and why a batch of two is noisy."""

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from pipeline.reporting.charts import BLUE, GREEN, GREY, VERMILLION, WIDTH
from pipeline.reporting.primer.lesson import Lesson, boxes, canvas, layer

MATRIX = torch.tensor([[2.0, 10.0, -1.0], [4.0, 30.0, 0.0], [6.0, 20.0, 1.0], [8.0, 40.0, 4.0]])
MOMENTA = {0.01: GREEN, 0.1: BLUE, 0.5: VERMILLION}
MEAN, DEVIATION, BATCH, BATCHES = 2.0, 3.0, 32, 120
SIZES, DRAWS, VALUE = (2, 4, 8, 32, 128), 400, 1.0


def modes() -> tuple[Tensor, Tensor, nn.Module]:
    """The matrix normalized in training, then in test mode after that one batch, and the layer."""
    bn = layer("bn", 3)
    with torch.no_grad():
        training = bn.train()(MATRIX)
        return training, bn.eval()(MATRIX), bn


def matrix_lesson() -> Lesson:
    """Training mode against test mode."""
    _, _, bn = modes()
    means, variances = bn.running_mean, bn.running_var
    assert isinstance(means, Tensor) and isinstance(variances, Tensor)
    return Lesson(
        title="Batch norm: one scale for each feature, another way in training than in test mode",
        file="batch-norm",
        alt="Four images with three features, and what batch norm makes of them in training and in test mode",
        draw=draw_matrix,
        before=(
            "Four images (lines) with three features (columns). In training, batch norm subtracts from each column its"
            " mean over the batch and divides by its standard deviation: whatever the scale before, each column then"
            " has mean 0 and deviation 1. In test mode there may be but one image, so it takes *running statistics*"
            " instead, which it has moved a little towards every batch that it saw in training. After one batch they"
            f" have moved by a tenth from where they start, means of 0 and variances of 1: the means are"
            f" {_listed(means)} and the variances {_listed(variances)}, far from those of the batch, and so the two"
            " modes differ widely."
        ),
        formula=(
            "training:  y = γ·(x − mean of the batch) / √(variance of the batch + ε) + β\n"
            "test:      y = γ·(x − running mean) / √(running variance + ε) + β\n"
            "after each batch:  running = (1 − momentum)·running + momentum·batch,   momentum = 0.1\n"
            "                   where the variance of a batch of n is taken with n − 1"
        ),
        source="Ioffe and Szegedy 2015, Batch normalization, arXiv 1502.03167, algorithms 1 and 2",
        after=(
            "γ and β are learned; here they are at their start, 1 and 0. In training, what becomes of an image depends"
            " on the images beside it."
        ),
        rows={"quickstart": ["bn", "both"]},
        matters="The reports show how far predictions depend on the rest of a batch, and what both modes get right.",
    )


def _listed(values: Tensor) -> str:
    return ", ".join(f"{value:.2f}".replace("-", "−") for value in values.tolist())


def draw_matrix() -> Figure:
    """Three matrices side by side."""
    training, test, _ = modes()
    figure, axes = canvas(13, 5)
    for left, title, values, most, digits in (
        (-3.2, "the batch", MATRIX, 40, 0),
        (2.6, "training mode", training, 2, 2),
        (8.4, "test mode, after one batch", test, 20, 2),
    ):
        axes.text(left + 1.5, 0.4, title, ha="center", va="center", fontsize=9)
        boxes(axes, values.numpy(), left, 0.8, most, digits)
    return figure


def running(momentum: float) -> list[float]:
    """The running variance after each batch."""
    bn, generator = layer("bn", 1, momentum=momentum), np.random.default_rng(1)
    seen = []
    for _ in range(BATCHES):
        bn(torch.from_numpy(generator.normal(MEAN, DEVIATION, (BATCH, 1))).float())
        assert isinstance(bn.running_var, Tensor)
        seen.append(float(bn.running_var))
    return seen


def momentum_lesson() -> Lesson:
    """Running statistics against their momentum."""
    ends = {momentum: np.array(running(momentum)) for momentum in MOMENTA}
    spread = {momentum: values[-60:].std() for momentum, values in ends.items()}
    near = {momentum: int(np.argmax(values > 0.9 * DEVIATION**2)) + 1 for momentum, values in ends.items()}
    return Lesson(
        title="Running statistics: quick and noisy, or slow and calm",
        file="momentum",
        alt="The running variance by the number of batches, for three momenta",
        draw=draw_momentum,
        before=(
            f"Batches of {BATCH} numbers with variance {DEVIATION**2:g}; the running variance starts at 1. A large"
            " momentum follows every batch, a small one takes long to arrive. With momentum 0.5 it is within a tenth of"
            f" the truth after {_batches(near[0.5])}, and then varies by {spread[0.5]:.2f} (standard deviation); with"
            f" 0.1 after {_batches(near[0.1])} and by {spread[0.1]:.2f}; with 0.01, after {BATCHES} batches, it has"
            f" come to {ends[0.01][-1]:.1f}."
        ),
        formula="running = (1 − momentum)·running + momentum·batch;   (1 − momentum)ⁿ of the start is left after n",
        source="Ioffe and Szegedy 2015, arXiv 1502.03167, section 3.1; torch's convention for the momentum",
        after="Weights change while the average is taken, so a slow one also remembers networks that are gone.",
        rows={"shift-small": ["shift-small-none"]},
        matters=(
            "Even without dropout, a network's running variance is not quite the variance that it meets in test mode:"
            " the shift is not exactly 1."
        ),
    )


def _batches(count: int) -> str:
    return f"{count} batch{'es' * (count > 1)}"


def draw_momentum() -> Figure:
    """Running variances by batch."""
    figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.axhline(DEVIATION**2, color=GREY, linewidth=1.5, label="variance of the numbers")
    for momentum, colour in MOMENTA.items():
        axes.plot(range(1, BATCHES + 1), running(momentum), color=colour, label=f"momentum {momentum:g}")
    axes.set(xlabel="batches seen", ylabel="running variance", xlim=(1, BATCHES), ylim=(0, None))
    axes.legend(ncols=4, loc="lower right")
    return figure


def outputs(size: int) -> Tensor:
    """What batch norm makes of one value, in many batches whose other values are drawn anew."""
    generator = np.random.default_rng(size)
    batches = torch.from_numpy(generator.normal(0, 1, (DRAWS, size))).float()
    batches[:, 0] = VALUE
    bn = layer("bn", DRAWS).train()  # a feature for each batch
    with torch.no_grad():
        return bn(batches.T.contiguous())[0]


def pair_lesson() -> Lesson:
    """Why a batch of two is noisy."""
    spread = {size: float(outputs(size).std()) for size in SIZES}
    return Lesson(
        title="A batch of two is noisy",
        file="batch-size",
        alt="What batch norm makes of the same value in many batches, by the size of the batch",
        draw=draw_pair,
        before=(
            f"The value {VALUE:g} stands in {DRAWS} batches; the others are drawn from a normal distribution with mean"
            " 0 and variance 1, so it should stay 1. But mean and variance of a small batch are guesses: at size 32 the"
            f" output varies by {spread[32]:.2f} (standard deviation), at 8 by {spread[8]:.2f}. At size 2 nothing is"
            " left of the value but whether it is the larger of the two: +1 or −1."
        ),
        formula="of a > b:  mean = (a + b)/2,  deviation = (a − b)/2,  outputs +1 and −1 whatever they are (ε aside)",
        source="Wu and He 2018, Group normalization, arXiv 1803.08494, figure 1: the error of batch norm by batch size",
        after=(
            "In a convolution a channel has all pixels of all images to average over, so that two images are less"
            " noisy there than here. Norms that look at one image alone do not have the problem."
        ),
        rows={"norms-small": ["norms-small-bn-2", "norms-small-gn-2"]},
        matters="Batches of 2, 8 and 32, with batch norm and with norms that do not need a batch.",
    )


def draw_pair() -> Figure:
    """Outputs as dots, a line for each size."""
    figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
    axes = figure.subplots()
    heights = np.random.default_rng(0).uniform(-0.28, 0.28, DRAWS)
    axes.axvline(VALUE, color=GREY, linewidth=1.5)
    for place, size in enumerate(SIZES):
        axes.plot(outputs(size).numpy(), place + heights, "o", color=BLUE, markersize=2, alpha=0.45, linewidth=0)
    axes.set_yticks(range(len(SIZES)), [f"batch of {size}" for size in SIZES])
    axes.set(xlabel=f"what the value {VALUE:g} becomes", ylim=(len(SIZES) - 0.5, -0.5))
    axes.grid(visible=False, axis="y")
    return figure
