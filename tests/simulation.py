"""How often the rules of `decisions` decide: simulated studies without a difference, and with one.

    python tests/simulation.py          10,000 studies of each kind, in a minute
    python tests/simulation.py 2000     fewer

The suite holds the same numbers with tests/test_decisions.py.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import nctdtr, ndtr, stdtrit

sys.path.insert(0, str(Path(__file__).parent.parent))

from pipeline.decisions import ALPHA, compare, holm, improvement, p_values
from pipeline.power import power
from pipeline.stats import bootstrap

Numbers = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Numbers]
"""Differences of S×n pairs."""

SEEDS = (3, 5, 10, 29)
EFFECTS = (0.5, 0.8, 1.2, 2.0)


def between(one: Draw) -> Draw:
    """Differences of two rows that are alike."""
    return lambda generator, shape: one(generator, shape) - one(generator, shape)


def accuracy(share: float, images: int = 359) -> Draw:
    """Share of the test images that is recognized: a coarse number, so that rows tie."""
    return lambda generator, shape: generator.binomial(images, share, shape) / images


def diverging(generator: np.random.Generator, shape: tuple[int, int]) -> Numbers:
    """Accuracies of which every fifth is a guess, because its run diverged."""
    return np.where(generator.random(shape) < 0.2, 0.1, generator.normal(0.9, 0.01, shape))


def failed(generator: np.random.Generator, shape: tuple[int, int]) -> Numbers:
    """Whether a run diverged, as every second does."""
    return (generator.random(shape) < 0.5).astype(np.float64)


ALIKE: dict[str, Draw] = {
    "normal": lambda generator, shape: generator.normal(size=shape),
    "heavy tails, t with 3 df": lambda generator, shape: generator.standard_t(3, size=shape),
    "accuracies near 95 %": between(accuracy(0.95)),
    "accuracies near 99.8 %": between(accuracy(0.998)),
    "a fifth diverges": between(diverging),
    "share of failed runs": between(failed),
}
"""Differences between two rows that are alike in all but chance."""

SKEWED: Draw = lambda generator, shape: generator.exponential(size=shape) - 1  # noqa: E731
"""Differences of mean zero whose larger part is below it: the rows are not alike, but their means are."""


def rates(draw: Draw, seeds: int, studies: int) -> tuple[float, float]:
    """Shares of the studies, of one comparison each, that support and that contradict a claim."""
    found = compare([draw(np.random.default_rng(seeds), (studies, seeds))])
    decided = found.decided(found.p)
    return float((decided > 0).mean()), float((decided < 0).mean())


def family_rate(claims: int, seeds: int, studies: int, shared: float = 0.5) -> float:
    """Share of the studies that decide any of several claims although no row differs.

    Args:
        shared: correlation of the claims' differences, as claims about one row have.
    """
    generator = np.random.default_rng(seeds)
    common, own = generator.normal(size=(studies, 1, seeds)), generator.normal(size=(studies, claims, seeds))
    values = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
    found = compare([values.reshape(-1, seeds)])
    corrected = holm(found.p.reshape(studies, claims)).reshape(-1)
    return float((found.decided(corrected) != 0).reshape(studies, claims).any(1).mean())


def looking_rate(first: int, last: int, step: int, studies: int) -> float:
    """Share of the studies without a difference that decide at any look, with more seeds at each."""
    values = np.random.default_rng(0).normal(size=(studies, last))
    decided = np.zeros(studies, dtype=bool)
    for seeds in range(first, last + 1, step):
        found = compare([values[:, :seeds]])
        decided |= found.decided(found.p) != 0
    return float(decided.mean())


def powers(effect: float, seeds: int, studies: int) -> tuple[float, float, float]:
    """Shares of the studies that find a true effect: by the t test alone, by the two thresholds alone, by both."""
    values = np.random.default_rng(seeds).normal(effect, 1, (studies, seeds))
    by_t = p_values(values)[0] <= ALPHA / 2
    by_wins = improvement(values).decided
    return float(by_t.mean()), float(by_wins.mean()), float((by_t & by_wins).mean())


def t_power(effect: float, seeds: int) -> float:
    """Power of the paired t test (noncentral t)."""
    return 1 - float(nctdtr(seeds - 1, effect * np.sqrt(seeds), stdtrit(seeds - 1, 1 - ALPHA / 2)))


def coverage(seeds: int, studies: int) -> float:
    """Share of the percentile bootstrap intervals of a mean that cover it, of normal values."""
    samples = np.random.default_rng(seeds).normal(size=(studies, seeds))
    intervals = (bootstrap(sample.tolist()) for sample in samples)
    return float(np.mean([found.low < 0 < found.high for found in intervals]))  # type: ignore[operator]


def lines(studies: int) -> Iterator[str]:
    """The report, line by line."""
    yield f"{studies:,} studies of each kind. Supported + contradicted without a difference, by seeds:"
    for name, draw in (*ALIKE.items(), ("(equal means, skewed)", SKEWED)):
        cells = (f"{n:2}: {up:.4f} + {down:.4f}" for n in SEEDS for up, down in [rates(draw, n, studies)])
        yield f"  {name:26} " + "   ".join(cells)
    yield "Any of ten claims decided, none true: " + "   ".join(
        f"{n}: {family_rate(10, n, studies):.4f}" for n in SEEDS
    )
    twice, always = looking_rate(5, 29, 24, studies), looking_rate(5, 29, 1, studies)
    yield f"A claim decided that is not true, looking after 5 and 29 seeds: {twice:.4f}; after each: {always:.4f}"
    yield "Found of a true effect, measured (formula): t test, two thresholds, both"
    for n in SEEDS:
        for effect in EFFECTS:
            by_t, by_wins, both = powers(effect, n, studies)
            wins = power(n, effect, alpha=1.0)  # the t test passes everything
            formulas = (t_power(effect, n), wins, power(n, effect))
            pairs = zip((by_t, by_wins, both), formulas, strict=True)
            found = "   ".join(f"{measured:.3f} ({formula:.3f})" for measured, formula in pairs)
            yield f"  {n:2} seeds, effect {effect}, P(A > B) {ndtr(effect):.2f}:  {found}"
    yield "Coverage of 95 % bootstrap intervals of a mean: " + "   ".join(
        f"{n}: {coverage(n, min(studies, 2000)):.3f}" for n in SEEDS
    )


if __name__ == "__main__":
    for line in lines(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000):
        print(line, flush=True)
