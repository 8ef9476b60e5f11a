"""The grammar of contrasts: what is right becomes weighted sums of rows, what is wrong gets one line that points."""

import pytest

from pipeline.params.contrasts import ContrastError, parse

MEANINGS = {
    "accuracy: a-1 > b": [({"a-1": 1, "b": -1}, 0)],
    "loss: a < b": [({"a": -1, "b": 1}, 0)],
    "accuracy: a > b - 0.005": [({"a": 1, "b": -1}, 0.005)],
    "accuracy: a>b -5e-3": [({"a": 1, "b": -1}, 0.005)],
    "shift: a > 1": [({"a": 1}, -1)],
    "gap_accuracy: mean(a, b) < mean(c, d)": [({"a": -0.5, "b": -0.5, "c": 0.5, "d": 0.5}, 0)],
    "accuracy: (a - b) > (c - d)": [({"a": 1, "b": -1, "c": -1, "d": 1}, 0)],
    "accuracy: a < each(b, c + 1, mean(b, c))": [
        ({"a": -1, "b": 1}, 0),
        ({"a": -1, "c": 1}, 1),
        ({"a": -1, "b": 0.5, "c": 0.5}, 0),
    ],
    "accuracy: a >= b": [({"a": 1, "b": -1}, 0)],
    "accuracy: a < b < c": [({"a": -1, "c": 1}, 0)],
    "accuracy: a > b > c > d": [({"a": 0.9, "b": 0.3, "c": -0.3, "d": -0.9}, 0)],
    "accuracy: mean < each": [({"mean": -1, "each": 1}, 0)],
}


@pytest.mark.parametrize("text", MEANINGS)
def test_a_contrast_is_what_it_says(text: str) -> None:
    """Broken: a claim would be tested by another comparison than the one that is written."""
    parts = parse(text).parts
    assert [part.weights for part in parts] == [pytest.approx(weights) for weights, _ in MEANINGS[text]]
    assert parse(text).tolerant == (">=" in text)
    assert [part.constant for part in parts] == pytest.approx([constant for _, constant in MEANINGS[text]])


def test_a_trend_has_steps_and_rows_in_order() -> None:
    """Broken: a trend that turns round would pass, or rows be shown in another order than they are compared in."""
    trend = parse("shift: x-30 > x-10 > x-20")
    assert [step.weights for step in trend.steps] == [{"x-30": 1, "x-10": -1}, {"x-10": 1, "x-20": -1}]
    assert (trend.metric, trend.rows) == ("shift", ("x-30", "x-10", "x-20"))
    assert parse("loss: (a - b) < a").rows == ("a", "b")


WRONG = {
    "a > b": "a metric and a colon stand first",
    ": a > b": "a metric and a colon stand first",
    "accuracy: a": "a »end«: '<', '>', '<=' or '>=' expected",
    "accuracy:": "»end«: a row, a number, 'mean(' or '(' expected",
    "accuracy: a > b < c": "a > b »<« c: the end expected, or '>' again",
    "accuracy: a - > b": "a - »>« b: a row",
    "accuracy: (a > b": "( a »>« b: ')' expected",
    "accuracy: mean() > b": "mean ( »)« > b: a row",
    "accuracy: a > each(b) > c": "»>« c: the end expected",
    "accuracy: a & b": "a »&« b: '<', '>', '<=' or '>=' expected",
    "accuracy: a b > c": "a »b« > c: '<', '>', '<=' or '>=' expected",
    "accuracy: a >= b >= c": "a trend takes '>'",
    "accuracy: a > a": "compares a row with itself, or names none",
    "accuracy: 1 > 0": "compares a row with itself, or names none",
    "accuracy: a > b > b": "compares a row with itself, or names none",
    "accuracy: " + "(" * 5000 + "a": "too many brackets",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_contrast_without_a_meaning_is_one_line(text: str) -> None:
    """Broken: a typo in a claim would give a traceback, or silently another comparison."""
    with pytest.raises(ContrastError) as raised:
        parse(text)
    assert WRONG[text] in str(raised.value)
    assert "\n" not in str(raised.value)
