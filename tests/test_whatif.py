"""Values that are tried beside a study."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pipeline import whatif
from pipeline.errors import UserError
from pipeline.findings.measured import Result, Run
from pipeline.params.reading import read_params
from pipeline.params.rows import Row
from pipeline.params.studies import Params

MakeRow = Callable[..., Row]


@pytest.fixture(scope="module")
def params() -> Params:
    return read_params()


def test_values_are_changed_as_params_yaml_would(params: Params) -> None:
    """Broken: another row would be trained than the one that was asked for."""
    both = params.rows["both"]
    row = whatif.changed(params, "both", "optimizer.lr=0.01 dropout=0.4 each='conv act bn'")
    assert (row.optimizer.lr, row.dropout, row.each) == (0.01, 0.4, "conv act bn")
    assert row.model_copy(update={"optimizer": both.optimizer, "dropout": both.dropout, "each": both.each}) == both
    other = whatif.changed(params, "both", "optimizer.name=sgd optimizer.lr=0.1")
    assert (other.optimizer.name, other.optimizer.lr) == ("sgd", 0.1)
    assert whatif.changed(params, "both", "optimizer.lr=0.1 optimizer.name=sgd") == other


def test_what_is_printed_can_be_pasted() -> None:
    """Broken: a shell would take the second word of a value for the name of a stage."""
    printed = whatif.experiment("both", "dropout=0.4 each='conv act bn'")
    assert shlex.split(printed) == ["-S", "++rows.both.dropout=0.4", "-S", "++rows.both.each=conv act bn"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("optimizer.lr", "SET: found 'optimizer.lr'; usage:"),
        ("optimizer.lt=0.01", "SET: optimizer.lt: unknown key; did you mean 'lr'?"),
        ("dropout=high", "SET: dropout: found 'high'"),
        ("seeds=[7]", "SET: seeds: is the same for both"),
        ("each='conv bm act'", "SET: each: "),
        ("norm.groups=3", "SET: norm.groups: no layer of both reads it, so nothing would change"),
        ("dropout={", "SET: found 'dropout={'; usage:"),
        ("dropout=!!bool", "SET: found 'dropout=!!bool'; usage:"),
    ],
)
def test_what_a_row_cannot_have_is_one_line(words: str, message: str, params: Params) -> None:
    """Broken: a misspelt value would be a traceback, or be trained for nothing."""
    with pytest.raises(UserError) as caught:
        whatif.changed(params, "both", words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def result(make_row: MakeRow, accuracies: Sequence[float | None]) -> Result:
    """Of a row with these accuracies by seed; None is a run that diverged."""
    runs = [
        Run(seed, "diverged", {})
        if value is None
        else Run(seed, None, {"final_val_accuracy": value, "test_accuracy": value, "test_loss": 1 - value})
        for seed, value in enumerate(accuracies)
    ]
    spec = {"classes": ["a", "b"], "images": {"train": 100, "validation": 50, "test": 50}}
    return Result("it", make_row(seeds=list(range(len(runs)))), Path("it"), spec, runs, {})


@pytest.mark.parametrize(
    ("after", "says", "failures"),
    [
        ([0.90, 0.91, 0.92], "is better (95 %", False),
        ([0.70, 0.71, 0.72], "is worse (95 %", False),
        ([0.90, 0.60, 0.81], "is not surely better or worse", False),
        ([0.82, 0.83, 0.84], "is not surely better or worse", False),  # one image of 50 more each, as rounding can make
        ([0.80, None, 0.81], "1 of 3 runs failed: diverged", True),
    ],
)
def test_both_are_compared(after: list[float | None], says: str, failures: bool, make_row: MakeRow) -> None:
    """Broken: who tries a value would read another verdict, or nothing."""
    printed = whatif.comparison(result(make_row, [0.80, 0.81, 0.82]), result(make_row, after))
    assert says in printed
    assert ("runs failed" in printed) == failures
    assert "81.0" in printed  # as it is
    assert max(map(len, printed.splitlines()[:4])) <= 80


def test_one_seed_says_nothing_of_chance(make_row: MakeRow) -> None:
    """Broken: a single run would be called better."""
    assert "One seed says nothing" in whatif.comparison(result(make_row, [0.8]), result(make_row, [0.9]))
