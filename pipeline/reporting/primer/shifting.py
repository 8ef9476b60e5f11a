"""How dropout shifts the variance that a batch norm learned: measured on layers, and by formula."""

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from pipeline.measures.closed_form import Inputs, noise_variance, ratio_a, ratio_b
from pipeline.reporting.charts import BLUE, GREEN, PURPLE, VERMILLION, WIDTH
from pipeline.reporting.primer.lesson import Lesson, layer

IMAGES, FEATURES, UNITS = 10_000, 64, 32
RATES = (0.0, 0.1, 0.3, 0.5, 0.7)
DIRECT, BEHIND = "directly before the norm", "behind the norm"
MIXED, SUMMED = "weights of both signs between", "weights of one sign between"
COLOURS = {DIRECT: VERMILLION, MIXED: PURPLE, SUMMED: BLUE, BEHIND: GREEN}
"""Where dropout stands, seen from the norm."""


def activations() -> Tensor:
    """What a ReLU gives of normal numbers that share a part, as features of images do."""
    generator = np.random.default_rng(4)
    own, common = generator.normal(0, 1, (IMAGES, FEATURES)), generator.normal(0, 1, (IMAGES, 1))
    return torch.from_numpy(0.9 * own + 0.45 * common).float().relu()


def weights(place: str) -> nn.Linear | None:
    """The weight layer between dropout and norm, if there is one."""
    if place not in (MIXED, SUMMED):
        return None
    drawn = torch.from_numpy(np.random.default_rng(6).normal(0, FEATURES**-0.5, (UNITS, FEATURES))).float()
    dense = nn.Linear(FEATURES, UNITS, bias=False)
    dense.weight = nn.Parameter(drawn.abs() if place == SUMMED else drawn)
    return dense


@torch.no_grad()
def ratio(place: str, rate: float, x: Tensor) -> float:
    """Variance that a norm meets in test mode by that which it learned in training, means over its features."""
    torch.manual_seed(0)
    layers = [] if place == BEHIND else filter(None, [layer("drop", FEATURES, rate=rate), weights(place)])
    before = nn.Sequential(*layers)
    training, test = before.train()(x), before.eval()(x)
    norm = layer("bn", training.shape[1], momentum=1.0)
    norm.train()(training)
    assert isinstance(norm.running_var, Tensor)
    return float(test.var(0).mean() / norm.running_var.mean())


@torch.no_grad()
def predicted(place: str, rate: float, x: Tensor) -> float:
    """The same by formula."""
    if place == BEHIND:
        return 1.0
    noise, dense = noise_variance(layer("drop", FEATURES, rate=rate)) or 0.0, weights(place)
    if dense is None:
        return ratio_a(x.mean(0), x.var(0), noise)
    seen = Inputs(x.mean(0).double(), (x**2).mean(0).double(), float(x.sum(1).var()))
    return ratio_b(seen, dense.weight, noise)


def lesson() -> Lesson:
    """The lesson."""
    x = activations()
    half = {place: f"{ratio(place, 0.5, x):.2f} ({predicted(place, 0.5, x):.2f})" for place in COLOURS}
    return Lesson(
        title="Dropout before a batch norm: it learns a variance that the test does not have",
        file="shift",
        alt="Variance in test mode by variance in training, by dropout rate and place: points measured, lines formula",
        draw=draw,
        before=(
            "In training, dropout makes the numbers behind it vary more, as some are zero and the others scaled up. A"
            " batch norm behind it learns that larger variance. In test mode nothing is dropped, the variance is"
            " smaller, and the norm still divides by what it learned: its outputs come out too small, in every layer"
            f" again. At a rate of 0.5, a norm directly behind dropout meets {half[DIRECT]} of the variance that it"
            " learned (in brackets: by formula). With a weight layer between them it depends on the weights: with"
            f" random ones of both signs it is {half[MIXED]}, with weights of one sign, which add up inputs that go"
            f" together, {half[SUMMED]}, as the coins tossed for many inputs average out and what they share does"
            " not. Dropout behind the norm shifts nothing."
        ),
        formula=(
            "directly:        test / training = v / (v + s·(c² + v))\n"
            "weights between: test / training = w / (w + s·(c² + v)),   w = v + v·ρ·(d·cos²θ − 1)\n"
            "s = rate / (1 − rate);   c, v: mean and variance of the dropout's input;   d inputs with correlation ρ"
        ),
        source="Li et al. 2018, arXiv 1801.05134, section 3, cases (a) and (b); their p is 1 − rate",
        after=(
            "The paper finds the shift of trained networks at this rate to be 1.37 to 1.49 directly behind dropout and"
            " 1.02 to 1.06 with weights between (read off its figure; there it is the larger of the ratio and its"
            " inverse). Remedies are to run the norms' statistics again without dropout once training is over, or to"
            " drop only behind the last norm."
        ),
        rows={"shift-small": ["shift-small-a-50", "shift-small-b-50", "shift-small-after-50"]},
        matters="What the shift costs in accuracy, and how much of it comes back when statistics are run again.",
    )


def draw() -> Figure:
    """Ratios by rate."""
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = figure.subplots()
    x, rates = activations(), np.linspace(0, RATES[-1], 15).tolist()
    for place, colour in COLOURS.items():
        axes.plot(rates, [predicted(place, rate, x) for rate in rates], color=colour, label=place)
        axes.plot(RATES, [ratio(place, rate, x) for rate in RATES], "o", color=colour)
    axes.set(xlabel="dropout rate", ylabel="variance, test / training", xlim=(-0.02, 0.72), ylim=(0, 1.1))
    axes.legend(loc="lower left")
    return figure
