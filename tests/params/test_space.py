"""What a tuning may change: refused in one line with the key's path, left out where a row lacks it."""

import copy
from pathlib import Path
from typing import Any

import pytest
from written import write_params

from pipeline.errors import UserError
from pipeline.params import space
from pipeline.params.reading import read_params
from pipeline.params.rows import Row, TunedRow

ROW: dict[str, Any] = {
    "study": "s",
    "dataset": "d",
    "backbone": {"widths": [4, 8], "convs": [1, 1], "dense": [8]},
    "each": "conv bn act",
    "end": "pool drop",
    "head": "dense act drop",
    "dropout": 0.25,
    "optimizer": {"name": "adam", "lr": 0.001},
    "epochs": 2,
    "batch": 32,
    "seeds": [0, 1],
}
RATE = {"low": 0.0001, "high": 0.1, "log": True}
SPACE = {"optimizer.lr": RATE, "dropout": {"low": 0, "high": 0.5, "step": 0.05}, "batch": {"choices": [16, 32]}}
TUNING: dict[str, Any] = {"trials": 4, "epochs": 2, "seeds": [1000], "space": SPACE}


def read(tmp_path: Path, tuning: Any = None, dataset: Any = None, **changes: Any) -> TunedRow:
    """The tuned row `t` of params.yaml with these changes."""
    content = {
        "datasets": {"d": {"source": "digits"} | (dataset or {})},
        "studies": {"s": {"title": "S", "question": "Which?"}},
        "rows": {"r": ROW | {"keep": "last"}},
        "tuned": {"t": copy.deepcopy(ROW) | {"tuning": TUNING | (tuning or {})} | changes},
    }
    path = tmp_path / "params.yaml"
    write_params(path, content)
    return read_params(path).tuned["t"]


def tunable(**changes: Any) -> TunedRow:
    return TunedRow.model_validate(ROW | {"tuning": TUNING} | changes)


# What is tried, and words that the one line must contain after `tuned.t.tuning.space.`.
BROKEN = {
    "a key that no row has": ({"optimizer.lrr": RATE}, "optimizer.lrr: no row has this key; did you mean 'lr'?"),
    "a key at the top": ({"lr": RATE}, "lr: no row has this key"),
    "several values": ({"optimizer": {"choices": ["adam", "sgd"]}}, "optimizer: holds several values"),
    "a whole list": ({"backbone.widths": {"low": 1, "high": 2}}, "widths: holds several values; name one, such as"),
    "what is compared": ({"dataset": {"choices": ["d", "e"]}}, "dataset: dataset names what is compared"),
    "what a row may see": ({"select_on": {"choices": ["test", "validation"]}}, "select_on: select_on decides what"),
    "epochs": ({"epochs": {"low": 1, "high": 9}}, "epochs: epochs is set by tuning.epochs"),
    "an empty range": ({"optimizer.lr": {"low": 1, "high": 0.1}}, "an empty range: low 1 is not under high 0.1"),
    "half a range": ({"optimizer.lr": {"low": 1}}, "low and high are needed"),
    "a log range over zero": ({"optimizer.lr": {"low": 0, "high": 1, "log": True}}, "a log range over zero"),
    "steps that do not fit": ({"dropout": {"low": 0, "high": 0.5, "step": 0.3}}, "not a whole number of steps"),
    "steps without end": ({"dropout": {"low": 0, "high": 0.5, "step": 1e-300}}, "5e+299 steps of 1e-300; 1,000,000 at"),
    "a range beyond all numbers": ({"optimizer.lr": {"low": 1, "high": 1e308}}, "optimizer.lr.high: found 1e+308"),
    "parts of a whole number": ({"batch": {"low": 2, "high": 8, "step": 0.5}}, "batch.step: 0.5, but batch is a whole"),
    "an end of another type": ({"batch": {"low": 2, "high": 8.5}}, "batch.high: 8.5 does not fit; batch: found 8.5"),
    "an end that no row may have": ({"optimizer.lr": {"low": -1, "high": 1}}, "optimizer.lr.low: -1 does not fit"),
    "a rate of one": ({"dropout": {"low": 0, "high": 1}}, "dropout.high.dropout: a rate of 1.0; rates lie in [0, 1)"),
    "an unknown word": ({"each": {"choices": ["conv", "conv bnn"]}}, "each.choices.1.each: conv »bnn«"),
    "another optimizer": ({"optimizer.name": {"choices": ["adam", "sgd"]}}, "optimizer.name.choices.1: sgd does not"),
    "one choice": ({"batch": {"choices": [16]}}, "batch.choices: found [16]; 2 or more needed"),
    "a choice twice": ({"batch": {"choices": [16, 16]}}, "every choice once"),
    "a range of choices": ({"batch": {"choices": [16, 32], "low": 1}}, "choices go without low"),
    "a typo": ({"batch": {"lo": 1, "high": 3}}, "batch.lo: unknown key; did you mean 'low'?"),
    "a rate and all rates": ({"dropout.1": {"low": 0, "high": 0.5}, "dropout": {"low": 0, "high": 0.5}}, "sets it too"),
    "nothing": ({}, "found {}; 1 or more needed"),
    "nothing that the row has": ({"optimizer.momentum": {"low": 0, "high": 0.9}}, "has none of optimizer.momentum"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_space_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    """Broken: a tuning would fail after hours, in a worker, with a traceback."""
    content, words = BROKEN[case]
    with pytest.raises(UserError) as caught:
        read(tmp_path, {"space": content})
    assert str(caught.value).startswith("tuned.t.tuning.space") and words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tuning": {"trials": 0}}, "tuned.t.tuning.trials: found 0"),
        ({"tuning": {"seeds": [5, 1]}}, "tuned.t.seeds: 1 is also a seed of the tuning"),
        ({"tuning": {"pruner": "wilcoxon"}}, "pruner wilcoxon needs 3 seeds or more"),
        ({"select_on": "test"}, "tuned.t.select_on: test; a row that selects on test images cannot be tuned"),
        ({"dataset": {"validation": 0}, "keep": "last"}, "tuned.t.dataset: datasets.d.validation is 0"),
    ],
)
def test_a_broken_tuning_is_refused_in_one_line(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    """Broken: a row would be tuned on what it is tested on, on its own seeds, or not at all."""
    with pytest.raises(UserError) as caught:
        read(tmp_path, **changes)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_trials_are_as_long_as_their_row_unless_it_says_otherwise() -> None:
    """Broken: values would be chosen by what they have reached early."""
    short = {key: value for key, value in TUNING.items() if key != "epochs"}
    assert tunable(tuning=short, epochs=7).tuning.epochs == 7
    assert tunable(tuning=short | {"epochs": 3}, epochs=7).tuning.epochs == 3


def test_names_of_rows_and_tuned_rows_differ(tmp_path: Path) -> None:
    """Broken: two rows would write the same outputs."""
    read(tmp_path)
    text = (tmp_path / "params.yaml").read_text().replace("  t:", "  r:")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"tuned\.r: rows has a row of that name"):
        read_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("changes", "lacks"),
    [
        ({}, {"optimizer.momentum", "schedule.factor", "early_stopping.patience", "norm.groups", "dropout.3"}),
        ({"end": "pool", "head": "dense act"}, {"dropout", "dropout.2"}),
        ({"each": "conv", "head": "dense"}, {"activation", "norm.momentum", "norm.eps", "norm.running_stats"}),
        ({"each": "conv gn act"}, {"norm.momentum"}),
        ({"optimizer": {"name": "sgd", "lr": 0.1}}, {"optimizer.beta1"}),
        ({"head": ""}, {"dropout.2"}),
    ],
)
def test_what_a_row_lacks_is_left_out(changes: dict[str, Any], lacks: set[str]) -> None:
    """Broken: trials would be spent on a value that changes nothing, or a value that matters would not be tuned."""
    row = Row.model_validate(ROW | changes)
    assert not any(space.has(row, path) for path in lacks)
    assert space.has(row, "optimizer.lr") and space.has(row, "backbone.widths.1")


def test_what_a_row_has_is_tuned() -> None:
    """Broken: a parameter would be left out although the row has it."""
    row = tunable(each="conv gn act drop", schedule={"name": "step", "milestones": [1]}, activation="elu")
    paths = ["dropout.4", "dropout", "norm.groups", "norm.eps", "schedule.factor", "schedule.milestones.0"]
    assert all(space.has(row, path) for path in [*paths, "activation", "label_smoothing", "optimizer.beta2"])


def test_values_are_put_under_their_keys() -> None:
    """Broken: a trial would train another row than the one that was proposed."""
    changed = space.apply(tunable(), {"optimizer.lr": 0.5, "dropout.1": 0.4, "batch": 8, "backbone.widths.0": 6})
    expected = copy.deepcopy(ROW)
    expected["optimizer"]["lr"], expected["batch"], expected["backbone"]["widths"] = 0.5, 8, [6, 8]
    expected["dropout"] = [0.25, 0.4, 0.25]
    assert changed == Row.model_validate(expected) and type(changed) is Row
    assert space.value_at(tunable(), "dropout.2") == 0.25
    with pytest.raises(space.Unfit, match=r"^optimizer\.nesterov|^optimizer"):
        space.apply(tunable(optimizer={"name": "sgd", "lr": 0.1}), {"optimizer.nesterov": True})
