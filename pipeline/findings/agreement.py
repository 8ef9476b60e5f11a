"""Whether a result came back: two tables of seeds, the committed and the retrained, compared row by row.

Same bytes on the same machine are the rule. Another processor rounds otherwise, and within an epoch roundings grow
until a run is another one of the same kind. What must hold then: runs of one seed begin alike, because they begin with
the same weights, images and masks; and the differences that roundings make have no direction. Where they begin with
the same digits nothing was rounded otherwise, and all numbers must come back.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pipeline.findings.decisions import ALPHA, Sample
from pipeline.findings.measured import Run
from pipeline.findings.seed_table import START, Table
from pipeline.findings.stats import Estimate, mean_interval

ROUNDING = 1e-5
"""Relative difference under which numbers are equal: some hundred roundings of float32."""

ALIKE = 0.01
"""Runs of one seed begin alike if the squared difference of their first losses is under this share of that of
different seeds. From AVX-512 to SSE4.1, six rows of eight steps an epoch come to 3e-4 at most; other random numbers
come to 1 on average. Roundings grow with the steps of an epoch: rows of hundreds were not measured."""

FEWEST = 3
"""Seeds that tell another machine's arithmetic from another result."""

CENTRED = (*START, *(f"final_{split}_loss" for split in ("train", "val")), "test_accuracy", "test_loss", "test_auc")
"""Numbers whose differences must be centred on zero."""


class Level(StrEnum):
    """How well a row agrees, best first."""

    IDENTICAL = "identical"
    EQUAL = "equal"
    CONSISTENT = "consistent"
    DIFFERENT = "different"


@dataclass(frozen=True)
class Agreement:
    """How well a row agrees, and what shows it."""

    row: str
    level: Level
    reason: str


def agree(committed: Table, again: Table, same_bytes: Mapping[str, bool]) -> list[Agreement]:
    """Compares every row of either table, in the order of the committed one.

    Args:
        committed, again: numbers by row and seed.
        same_bytes: whether all outputs of a row have the same digests.
    """
    rows = [*committed, *(row for row in again if row not in committed)]
    tests = len(rows) * len(CENTRED)
    return [_row(row, committed.get(row, {}), again.get(row, {}), same_bytes.get(row, False), tests) for row in rows]


def _row(row: str, old: dict[int, Run], new: dict[int, Run], same_bytes: bool, tests: int) -> Agreement:
    if other := _other_runs(old, new):
        return Agreement(row, Level.DIFFERENT, other)
    apart = [
        f"{column} of seed {seed}: {old[seed].numbers[column]:.6g}, now {new[seed].numbers[column]:.6g}"
        for seed in old
        for column in old[seed].numbers
        if not math.isclose(old[seed].numbers[column], new[seed].numbers[column], rel_tol=ROUNDING, abs_tol=1e-9)
    ]
    if same_bytes and not apart:
        return Agreement(row, Level.IDENTICAL, "same bytes")
    if same_bytes:
        return Agreement(row, Level.DIFFERENT, f"the outputs have the same bytes, but not these numbers: {apart[0]}")
    if not apart:
        exact = all(old[seed].numbers == new[seed].numbers for seed in old)
        return Agreement(row, Level.EQUAL, "all numbers to the last digit" if exact else f"within {ROUNDING:g}")
    problem = next(_problems(old, new, tests, apart[0]), None)
    if problem:
        return Agreement(row, Level.DIFFERENT, problem)
    return Agreement(row, Level.CONSISTENT, f"differences are centred on zero; the first: {apart[0]}")


def _other_runs(old: dict[int, Run], new: dict[int, Run]) -> str:
    """What tells that these are not the same runs at all; empty if they may be."""
    if not old or not new:
        return f"only in the {'retrained' if new else 'committed'} results"
    if old.keys() != new.keys():
        return f"seeds {_listed(old)}, now {_listed(new)}"
    for seed, first in old.items():
        second = new[seed]
        if (first.failure is None) != (second.failure is None):
            return f"seed {seed} {first.failure or 'finished'}, now {second.failure or 'finished'}"
        if first.numbers.keys() != second.numbers.keys():
            return f"other numbers were measured: {_listed(sorted(first.numbers.keys() ^ second.numbers.keys()))}"
        if first.numbers.get("parameters") != second.numbers.get("parameters"):
            return "another number of parameters"
    return ""


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))


def _problems(old: dict[int, Run], new: dict[int, Run], tests: int, first: str) -> Iterator[str]:
    """What roundings do not explain.

    Args:
        tests: that all rows together are put to.
        first: of the numbers that differ.
    """
    seeds = [seed for seed in old if old[seed].failure is None]
    if len(seeds) < FEWEST:
        yield f"numbers differ, and {len(seeds)} finished seeds are too few to say by how much they may"
        return
    pairs = {
        column: [(old[seed].numbers[column], new[seed].numbers[column]) for seed in seeds]
        for column in CENTRED
        if all(column in old[seed].numbers for seed in seeds)
    }
    begun = [pair for column in START for pair in pairs.get(column, [])]
    if begun and all(before == after for before, after in begun):
        yield f"runs begin with the same digits and do not end so: {first}"
    for column in filter(pairs.__contains__, START):
        if (share := _unlikeness(pairs[column])) > ALIKE:
            yield f"runs begin otherwise: {column} is {share:.2g} as far from that of its seed as from that of others"
    for column, values in pairs.items():
        if shifted := _shift(values, ALPHA / tests):
            ends = f"{shifted.low:+.3g} to {shifted.high:+.3g}"
            yield f"{column} is shifted by {shifted.mean:+.3g} (simultaneous 95 % interval {ends})"


def _unlikeness(pairs: list[tuple[float, float]]) -> float:
    """Mean squared difference of paired values, as a share of that of values of different seeds."""
    same = [(old - new) ** 2 for old, new in pairs]
    others = [(one[0] - other[1]) ** 2 for one in pairs for other in pairs if one is not other]
    return math.fsum(same) / len(same) / (math.fsum(others) / len(others) or math.inf)


def _shift(pairs: list[tuple[float, float]], alpha: float) -> Estimate | None:
    """The mean difference with its interval of level 1 − alpha, if that leaves zero out; None if it does not."""
    differences = [new - old for old, new in pairs]
    scale = max(abs(value) for pair in pairs for value in pair)
    estimate = mean_interval(differences, 1 - alpha)
    small = abs(estimate.mean) <= ROUNDING * scale
    found = Sample([differences])
    return None if small or 2 * min(found.over()[0], found.below()[0]) > alpha else estimate
