"""What a claim compares, in one line: the grammar of `tests` in the block `claims:` of params.yaml.

    accuracy: dropout > bn                               a row against a row
    accuracy: bn >= plain                                at least as good: not worse by what matters (quantities.py)
    accuracy: bn > plain + 0.2                           better by more than a margin, in the metric's unit
    gap_accuracy: mean(bn, both) < mean(plain, dropout)  means of rows
    accuracy: (both - dropout) < (bn - plain)            a difference of differences
    accuracy: both < each(bn, dropout)                   every one of several comparisons holds
    shift: rate-10 < rate-30 < rate-50                   a trend: the line through rows at equal distances

A minus between rows stands between spaces, since names hold minus signs themselves. Everything comes down to
weighted sums of rows that the claim says are over zero.
"""

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pipeline.text import one_line

TOKEN = re.compile(r"[<>]=?|[(),+-]|[A-Za-z0-9][A-Za-z0-9_.-]*|\S")
NUMBER = re.compile(r"\d+(\.\d+)?(e-?\d+)?")


class ContrastError(ValueError):
    """A contrast without a meaning; the message shows where."""


@dataclass(frozen=True)
class Sum:
    """A weighted sum of rows and a constant."""

    weights: dict[str, float] = field(default_factory=dict)
    constant: float = 0.0

    def plus(self, other: "Sum", factor: float = 1.0) -> "Sum":
        """self + factor × other, without the rows that cancel out."""
        rows = [*self.weights, *(row for row in other.weights if row not in self.weights)]
        sums = {row: self.weights.get(row, 0.0) + factor * other.weights.get(row, 0.0) for row in rows}
        return Sum({row: weight for row, weight in sums.items() if weight}, self.constant + factor * other.constant)


@dataclass(frozen=True)
class Contrast:
    """A claim about rows, as sums that it says are over zero.

    Args:
        metric: as written.
        rows: that it names, in their order.
        parts: each of them is over zero: one, or as many as `each` lists.
        steps: of a trend, whose rise is the only part: what each step adds. A trend that turns round is none.
        tolerant: what is claimed is "at least as good", so each part may be below zero by less than what matters.
    """

    metric: str
    rows: tuple[str, ...]
    parts: tuple[Sum, ...]
    steps: tuple[Sum, ...] = ()
    tolerant: bool = False


def parse(text: str) -> Contrast:
    """Reads a contrast.

    Raises:
        ContrastError: it has no meaning.
    """
    metric, parser = _begin(text)
    try:
        sides, ends, sign = parser.comparison()
    except RecursionError:
        raise ContrastError("too many brackets") from None
    parts, steps = [end.plus(sides[0], -1) for end in ends], []
    if len(sides) > 2:
        parts = [_rise(sides)]
        steps = [right.plus(left, -1) for left, right in itertools.pairwise(sides)]
    if not all(part.weights for part in (*parts, *steps)):
        raise ContrastError(f"{one_line(text)}: compares a row with itself, or names none")
    for_all, each_step = (
        tuple(Sum().plus(part, 1 if sign[0] == "<" else -1) for part in sums) for sums in (parts, steps)
    )
    return Contrast(metric, tuple(dict.fromkeys(parser.rows)), for_all, each_step, tolerant=sign.endswith("="))


def parse_sum(text: str) -> Contrast:
    """Reads what an answer tells, a contrast without a comparison: "accuracy: bn - plain".

    Raises:
        ContrastError: it has no meaning.
    """
    metric, parser = _begin(text)
    try:
        total = parser.sum()
    except RecursionError:
        raise ContrastError("too many brackets") from None
    if parser.next:
        raise parser.error("the end expected")
    if not total.weights:
        raise ContrastError(f"{one_line(text)}: compares a row with itself, or names none")
    return Contrast(metric, tuple(dict.fromkeys(parser.rows)), (total,))


def _begin(text: str) -> tuple[str, "_Parser"]:
    metric, colon, rest = text.partition(":")
    if not colon or not metric.strip():
        raise ContrastError(f"{one_line(text)}: a metric and a colon stand first, as in 'accuracy: bn > plain'")
    return metric.strip(), _Parser(rest)


def renamed(text: str, names: Mapping[str, str]) -> str:
    """A contrast with other names for its rows."""
    metric, colon, comparison = text.partition(":")
    return metric + colon + TOKEN.sub(lambda token: names.get(token[0], token[0]), comparison)


def _rise(sides: list[Sum]) -> Sum:
    """What the least-squares line through the sides at 0, 1, 2, … rises from the first to the last."""
    middle = (len(sides) - 1) / 2
    square = sum((place - middle) ** 2 for place in range(len(sides)))
    rise = Sum()
    for place, side in enumerate(sides):
        rise = rise.plus(side, 2 * middle * (place - middle) / square)
    return rise


class _Parser:
    """Recursive descent over the tokens of a comparison."""

    def __init__(self, text: str) -> None:
        self.tokens = TOKEN.findall(text)
        self.place = 0
        self.rows: list[str] = []

    @property
    def next(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self, expected: str) -> None:
        if self.next != expected:
            raise self.error(f"'{expected}' expected")
        self.place += 1

    def error(self, message: str) -> ContrastError:
        words = [*self.tokens, "end"]
        words[self.place] = f"»{words[self.place]}«"
        return ContrastError(f"{' '.join(words[: max(len(self.tokens), self.place + 1)])}: {message}")

    def comparison(self) -> tuple[list[Sum], list[Sum], str]:
        """All sides; those of the right end, more than one for `each`; and the sign between them."""
        sides = [self.sum()]
        sign = self.next
        if sign not in ("<", ">", "<=", ">="):
            raise self.error("'<', '>', '<=' or '>=' expected")
        while self.next == sign:
            self.place += 1
            if len(sides) == 1 and self.calls("each"):
                ends = list(self.listed())
                sides.append(ends[0])
                break
            sides.append(self.sum())
        else:
            ends = [sides[-1]]
        if self.next:
            raise self.error(f"the end expected, or '{sign}' again")
        if len(sides) > 2 and sign.endswith("="):
            raise self.error(f"a trend takes '{sign[0]}'")
        return sides, ends, sign

    def sum(self) -> Sum:
        total = self.term()
        while self.next in ("+", "-"):
            factor = 1 if self.next == "+" else -1
            self.place += 1
            total = total.plus(self.term(), factor)
        return total

    def term(self) -> Sum:
        word = self.next
        if word == "(":
            self.place += 1
            total = self.sum()
            self.take(")")
            return total
        if not word[:1].isalnum():
            raise self.error("a row, a number, 'mean(' or '(' expected")
        if self.calls("mean"):
            listed, total = list(self.listed()), Sum()
            for part in listed:
                total = total.plus(part, 1 / len(listed))
            return total
        self.place += 1
        if NUMBER.fullmatch(word):
            if math.isinf(float(word)):
                self.place -= 1
                raise self.error("larger than any number")
            return Sum(constant=float(word))
        self.rows.append(word)
        return Sum({word: 1.0})

    def calls(self, word: str) -> bool:
        return self.tokens[self.place : self.place + 2] == [word, "("]

    def listed(self) -> Iterator[Sum]:
        """The arguments of `mean` or `each`."""
        self.place += 1
        self.take("(")
        yield self.sum()
        while self.next == ",":
            self.place += 1
            yield self.sum()
        self.take(")")
