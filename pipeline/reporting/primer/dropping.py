"""Dropout on ten numbers: the mask, and why what is left is scaled."""

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from pipeline.reporting.primer.lesson import Lesson, boxes, canvas, layer

RATE, SEED, DRAWS = 0.4, 3, 20_000
NUMBERS = torch.arange(1.0, 11.0)
LAYERS = {name: layer(word, 10, rate=RATE) for name, word in (("inverted", "drop"), ("classic", "drop-classic"))}


def once(dropout: nn.Module, training: bool) -> Tensor:
    """The ten numbers behind a layer, with the same mask each time."""
    torch.manual_seed(SEED)
    return dropout.train(training)(NUMBERS)


def mean(dropout: nn.Module) -> float:
    """Mean of the outputs over many masks."""
    torch.manual_seed(SEED)
    return float(dropout.train()(NUMBERS.repeat(DRAWS, 1)).mean())


def lesson() -> Lesson:
    """The lesson."""
    kept = int((once(LAYERS["classic"], training=True) > 0).sum())
    means = {name: mean(dropout) for name, dropout in LAYERS.items()}
    quiet = {name: float(once(dropout, training=False).mean()) for name, dropout in LAYERS.items()}
    return Lesson(
        title="Dropout: a mask, and why what is left is scaled",
        file="dropout",
        alt="Ten numbers, and what two kinds of dropout make of them in training and in test mode",
        draw=draw,
        before=(
            "In training, dropout sets each number to zero with a probability, its *rate*: it throws a coin for every"
            f" number, anew for every image and step. Here the rate is {RATE:g}, and {kept} of ten numbers are left. In"
            " test mode nothing is dropped. But then the next layer would get larger sums than it was trained for, so"
            " one of the two modes must be scaled: *inverted* dropout, which everyone uses today, multiplies what is"
            " left in training; *classic* dropout, as first published, multiplies everything in test mode."
        ),
        formula=(
            "inverted   training: y = x·m / (1 − rate)    test: y = x\n"
            "classic    training: y = x·m                 test: y = x·(1 − rate)        m = 1 or 0, P(m = 0) = rate"
        ),
        source="Srivastava et al. 2014, Dropout, JMLR 15: classic in section 4, inverted in section 10",
        after=(
            f"Both ways the expectation is the same in both modes. The mean of the ten numbers is {NUMBERS.mean():.2f};"
            f" over {DRAWS:,} masks, inverted dropout gives {means['inverted']:.2f} in training and"
            f" {quiet['inverted']:.2f} in test mode, classic dropout {means['classic']:.2f} and {quiet['classic']:.2f}."
            " The *spread* is not the same: in training the numbers vary with the masks as well. What that does to a"
            " batch norm behind the dropout is lesson 7."
        ),
        rows={"quickstart": ["dropout", "both"]},
        matters="Dropout makes training harder than the test. Whether that helps with few images, the study measures.",
    )


def draw() -> Figure:
    """The numbers, and a line for each kind and mode."""
    figure, axes = canvas(10, 5.6)
    lines = [("the ten numbers", NUMBERS, [])]
    for name, dropout in LAYERS.items():
        out = once(dropout, training=True)
        lines += [(f"{name}, training", out, (out == 0).numpy()), (f"{name}, test", once(dropout, training=False), [])]
    for row, (label, values, dropped) in enumerate(lines):
        top = row * 1.1
        axes.text(-0.15, top + 0.5, label, ha="right", va="center", fontsize=9)
        boxes(axes, values.numpy(), top=top, most=10 / (1 - RATE), grey=np.atleast_2d(dropped) if len(dropped) else [])
    return figure
