"""How often the rules of `decisions` decide, and how often wrongly: simulated studies with differences of every size.

    python tests/simulation.py          10,000 studies of each kind, in a minute or two
    python tests/simulation.py 2000     fewer

The suite holds the same numbers with tests/findings/test_decisions.py.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_ind

sys.path.insert(0, str(Path(__file__).parent.parent))

from pipeline.findings.decisions import ALPHA, Decision, Sample, compare, decide, level
from pipeline.findings.power import power
from pipeline.findings.stats import bootstrap

Numbers = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Numbers]
"""Differences of S×n pairs."""
Shares = dict[Decision, float]

SEEDS = (5, 10, 29, 100, 1000)
MATTERS, DEVIATION = 0.5, 1.3
"""Points of accuracy: what matters, and how much paired differences of the small studies vary."""

EFFECTS = {"none": 0.0, "half of what matters": 0.25, "what matters": 0.5, "small": 1.0, "large": 3.0}
"""True differences in points."""


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


def epochs(generator: np.random.Generator, shape: tuple[int, int]) -> Numbers:
    """Whole epochs, nearly always the same."""
    return np.round(generator.normal(3, 0.4, shape))


IMAGE, ONE = np.sqrt(2 / 12) / 359, np.sqrt(2 / 12)
ALIKE: dict[str, tuple[Draw, float]] = {
    "normal": (lambda generator, shape: generator.normal(size=shape), 0.0),
    "heavy tails, t with 3 df": (lambda generator, shape: generator.standard_t(3, size=shape), 0.0),
    "accuracies near 95 %": (between(accuracy(0.95)), IMAGE),
    "accuracies near 99.8 %": (between(accuracy(0.998)), IMAGE),
    "a fifth diverges": (between(diverging), IMAGE),
    "share of failed runs": (between(failed), ONE),
    "epochs": (between(epochs), ONE),
}
"""Differences between two rows that are alike in all but chance, and the deviation that rounding gives them. Two-valued
results are told apart a little too often, 5.5 % at ten seeds."""

SKEWED: Draw = lambda generator, shape: generator.exponential(size=shape) - 1  # noqa: E731
"""Differences of mean zero whose larger part is below it: the rows are not alike, but their means are."""


def shares(words: NDArray[np.str_]) -> Shares:
    """How often which verdict."""
    return {word: float((words == word).mean()) for word in Decision if word is not Decision.NOT_RUN}


def rates(draw: Draw, seeds: int, studies: int, floor: float = 0.0, matters: float | None = None) -> Shares:
    """Verdicts of studies of one claim each, that the mean of these differences is over zero."""
    found = compare([Sample(draw(np.random.default_rng(seeds), (studies, seeds)), floor)], matters=matters)
    return shares(decide([found])[0].word)


def shifted(effect: float) -> Draw:
    """Normal differences of a small study, in points."""
    return lambda generator, shape: generator.normal(effect, DEVIATION, shape)


def family_rate(effects: list[float], seeds: int, studies: int, shared: float = 0.5, alpha: float = ALPHA) -> float:
    """Share of the studies that decide any of several claims wrongly.

    Args:
        effects: the true difference of each claim, in points.
        shared: correlation of the claims' differences, as claims about one row have.
    """
    generator = np.random.default_rng(seeds)
    common = generator.normal(size=(1, studies, seeds))
    own = generator.normal(size=(len(effects), studies, seeds))
    noise = DEVIATION * (np.sqrt(shared) * common + np.sqrt(1 - shared) * own)
    samples = [Sample(values + effect) for values, effect in zip(noise, effects, strict=True)]
    found = decide([compare([sample], matters=MATTERS) for sample in samples], alpha)
    return float(np.any([wrong(one.word, effect) for one, effect in zip(found, effects, strict=True)], axis=0).mean())


def wrong(words: NDArray[np.str_], effect: float) -> NDArray[np.bool_]:
    """Which verdicts on a claim are false where its true difference is `effect`."""
    false = {Decision.SUPPORTED: effect <= 0, Decision.CONTRADICTED: effect >= 0}
    false[Decision.NEGLIGIBLE] = abs(effect) >= MATTERS
    return np.isin(words, [str(word) for word, is_false in false.items() if is_false])


def looking_rate(looks: list[int], studies: int, alpha: float = ALPHA) -> float:
    """Share of the studies without a difference that find one at any look, with more seeds at each."""
    values = np.random.default_rng(0).normal(size=(studies, looks[-1]))
    found = [compare([Sample(values[:, :seeds])]).direction <= alpha for seeds in looks]
    return float(np.any(found, axis=0).mean())


def staged(effects: list[float], looks: list[int], studies: int, shared: float = 0.5) -> tuple[float, float, float]:
    """What comes of studies that add seeds until every claim is decided, with an even share of ALPHA for each look.

    Returns:
        Share of the studies in which any claim is decided wrongly at any look at which the study arrives, share of all
        claims that are decided in the end, and the mean number of seeds.
    """
    generator = np.random.default_rng(0)
    common = generator.normal(size=(1, studies, looks[-1]))
    own = generator.normal(size=(len(effects), studies, looks[-1]))
    values = DEVIATION * (np.sqrt(shared) * common + np.sqrt(1 - shared) * own) + np.array(effects)[:, None, None]
    going, any_wrong, used = np.ones(studies, dtype=bool), np.zeros(studies, dtype=bool), np.zeros(studies)
    is_open = np.ones((len(effects), studies), dtype=bool)
    for seeds in looks:
        samples = [Sample(one[:, :seeds]) for one in values]
        found = [one.word for one in decide([compare([one], matters=MATTERS) for one in samples], level(looks))]
        false = [wrong(words, effect) for words, effect in zip(found, effects, strict=True)]
        any_wrong |= going & np.any(false, axis=0)
        used[going], is_open[:, going] = seeds, (np.array(found) == Decision.UNDECIDED)[:, going]
        going &= is_open.any(0)
    return float(any_wrong.mean()), float(1 - is_open.mean()), float(used.mean())


def picking_rate(seeds: int, studies: int) -> float:
    """Share of the studies without a difference that find one if they take the surer of a paired and an unpaired t
    test after a look at both."""
    a, b = np.random.default_rng(seeds).normal(size=(2, studies, seeds))
    unpaired = ttest_ind(a, b, axis=1, equal_var=False).pvalue  # pyright: ignore[reportAttributeAccessIssue]
    return float((np.minimum(compare([Sample(a - b)]).direction, unpaired) <= ALPHA).mean())


def decided(effect: float, seeds: int, studies: int) -> float:
    """Share of the studies that decide a claim with this true difference, in points, one way or another."""
    return 1 - rates(shifted(effect), seeds, studies, matters=MATTERS)[Decision.UNDECIDED]


def coverage(seeds: int, studies: int) -> float:
    """Share of the percentile bootstrap intervals of a mean that cover it, of normal values."""
    samples = np.random.default_rng(seeds).normal(size=(studies, seeds))
    intervals = (bootstrap(sample.tolist()) for sample in samples)
    return float(np.mean([found.low < 0 < found.high for found in intervals]))  # type: ignore[operator]


def lines(studies: int) -> Iterator[str]:
    """The report, line by line."""
    yield f"{studies:,} studies of each kind. Called better or worse without a difference, by seeds:"
    for name, (draw, floor) in {**ALIKE, "(equal means, skewed)": (SKEWED, 0.0)}.items():
        found = {n: rates(draw, n, studies, floor) for n in (3, *SEEDS[:-1])}
        cells = (f"{n:2}: {one[Decision.SUPPORTED]:.4f} + {one[Decision.CONTRADICTED]:.4f}" for n, one in found.items())
        yield f"  {name:26} " + "   ".join(cells)
    yield f"Verdicts in percent, deviation {DEVIATION} points, {MATTERS} matters, and the claim 'at least as good':"
    for name, effect in EFFECTS.items():
        for n in SEEDS:
            one = rates(shifted(effect), n, studies, matters=MATTERS)
            margin = rates(shifted(effect + MATTERS), n, studies)
            cells = (" ".join(f"{word} {100 * share:5.1f} " for word, share in part.items()) for part in (one, margin))
            yield f"  {name:21} {n:5}:  " + "  |  ".join(cells)
    mixed = [0.0, 0.0, -0.25, 0.5, 0.5, -0.5, 1.0, 3.0, 3.0, -3.0]
    for name, effects in (("ten alike", [0.0] * 10), ("ten that barely matter", [0.5] * 10), ("ten, mixed", mixed)):
        cells = (f"{n}: {family_rate(effects, n, min(studies, 2000 if n > 100 else studies)):.4f}" for n in SEEDS)
        yield f"Any of several claims decided wrongly, {name}: " + "   ".join(cells)
    for name, looks in (("after 5 and 29 seeds", [5, 29]), ("after each from 5 to 29", list(range(5, 30)))):
        yield f"A difference found where there is none, looking {name}: {looking_rate(looks, studies):.4f}"
    for name, effects in (("ten alike", [0.0] * 10), ("ten, mixed", mixed), ("ten large", [3.0] * 10)):
        for looks in ([5, 10, 20, 29], [10, 30, 100, 200]):
            share, done, used = staged(effects, looks, min(studies, 2000))
            yield f"Looks at {looks}, {name}: any wrong {share:.4f}, decided {done:.3f}, {used:.1f} seeds"
    yield "The same, taking the surer of paired and unpaired: " + "   ".join(
        f"{n}: {picking_rate(n, studies):.4f}" for n in SEEDS[:3]
    )
    yield "Share decided, measured (formula): " + "   ".join(
        f"{n} seeds, {effect} points: {decided(effect, n, studies):.3f}"
        f" ({power(n, effect / DEVIATION, MATTERS / DEVIATION):.3f})"
        for n in SEEDS[:-1]
        for effect in (0.0, 1.0, 3.0)
    )
    yield "Coverage of 95 % bootstrap intervals of a mean: " + "   ".join(
        f"{n}: {coverage(n, min(studies, 2000)):.3f}" for n in SEEDS[:3]
    )


if __name__ == "__main__":
    for line in lines(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000):
        print(line, flush=True)
