"""Rows inherit by name, what is wrong is named where it was written, and DVC changes what it is told to change."""

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dvc.exceptions import InvalidArgumentError
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML
from written import write_params

from pipeline import paths
from pipeline.errors import UserError
from pipeline.params import bases
from pipeline.params.complaints import Fault
from pipeline.params.reading import read_params

STUDY = {"title": "S", "question": "Which?", "rows": {"epochs": 2, "optimizer": {"name": "sgd", "lr": 0.1}}}
PLAIN = {"each": "conv act", "end": "pool", "backbone": {"widths": [4], "convs": [1], "dense": []}, "seeds": [0]}


def content(row: dict[str, Any], **other: dict[str, Any]) -> dict[str, Any]:
    """A params.yaml of one row and these bases."""
    return {
        "datasets": {"d": {"source": "digits"}},
        "studies": {"s": STUDY},
        "bases": other,
        "rows": {"r": {"study": "s", "dataset": "d"} | row},
    }


def resolved(row: dict[str, Any], **other: dict[str, Any]) -> dict[str, Any]:
    return bases.resolve(content(row, **other))["rows"]["r"]


def error(written: dict[str, Any], tmp_path: Path) -> str:
    path = write_params(tmp_path / "params.yaml", written)
    with pytest.raises(UserError) as caught:
        read_params(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_study_then_bases_from_left_to_right_then_the_row_itself() -> None:
    """Broken: a reader could not tell which of several values a row has."""
    row = resolved(
        {"from": "a b", "batch": 5},
        a={"epochs": 3, "batch": 3, "dropout": 0.3, "from": "c"},
        b={"dropout": 0.4, "batch": 4},
        c={"epochs": 4, "activation": "elu"},
    )
    assert row == {
        "study": "s",
        "dataset": "d",
        "epochs": 3,
        "dropout": 0.4,
        "batch": 5,
        "activation": "elu",
        "optimizer": {"name": "sgd", "lr": 0.1},
    }


def test_mappings_merge_unless_their_name_differs() -> None:
    """Broken: another optimizer would keep a momentum that it does not know, or a rate its optimizer."""
    assert resolved({"optimizer": {"momentum": 0.9}})["optimizer"] == {"name": "sgd", "lr": 0.1, "momentum": 0.9}
    assert resolved({"optimizer": {"name": "sgd", "momentum": 0.9}})["optimizer"]["lr"] == 0.1
    assert resolved({"optimizer": {"name": "adam"}})["optimizer"] == {"name": "adam"}


def test_lists_and_null_replace() -> None:
    """Broken: two lists of rates would mix, or nothing inherited could be taken back."""
    row = resolved({"from": "a", "seeds": [1], "published": None}, a={"seeds": [2, 3], "published": {"accuracy": 0.5}})
    assert row["seeds"] == [1] and row["published"] is None


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": (content({"from": "plan"}, plain=PLAIN), "rows.r.from: no base 'plan'; did you mean 'plain'?"),
    "unknown in a base": (content({"from": "a"}, a={"from": "b"}), "bases.a.from: no base 'b'; known: a"),
    "a circle": (content({"from": "a"}, a={"from": "b"}, b={"from": "a"}), "bases.b.from: a inherits from itself"),
    "a list": (content({"from": ["a"]}, a=PLAIN), "rows.r.from: found ['a']; names of bases with spaces"),
    "no mapping": (content({"from": "a"}, a=3), "bases.a: found 3; keys of a row are needed"),  # type: ignore[arg-type]
    "a study in a base": (content({"from": "a"}, a={"study": "s"}), "bases.a.study: each row writes it itself"),
    "unused": (content({**PLAIN, "batch": 2}, a=PLAIN), "bases.a: no row inherits from it"),
    "unused since its row is none": (
        content(PLAIN, a=PLAIN) | {"rows": {"r": None}},
        "rows.r: found nothing; keys are needed, such as activation",
    ),
    "a misspelt study": (content({"study": "t", **PLAIN}), "rows.r.study: no study 't'; known: s"),
    "a misspelt key": (
        content({"from": "plain a"}, plain=PLAIN, a={"epoch": 3}),
        "bases.a.epoch: unknown key; did you mean 'epochs'? (and 1 more) (inherited by rows.r)",
    ),
    "a misspelt key of a study": (
        content({**PLAIN, "batch": 2}) | {"studies": {"s": STUDY | {"rows": {"epoch": 3}}}},
        "studies.s.rows.epoch: unknown key",
    ),
    "a value of a base's base": (
        content({"from": "a", "batch": 2}, a={"from": "b"}, b=PLAIN | {"optimizer": {"lr": -1}}),
        "bases.b.optimizer.lr: found -1; input should be greater than 0 (inherited by rows.r)",
    ),
    "a sentence": (
        content({"from": "plain", "batch": 2, "end": "bn"}, plain=PLAIN | {"each": "conv bnn"}),
        "bases.plain.each: conv »bnn«: unknown word",
    ),
    "what nobody wrote": (content({"from": "plain"}, plain=PLAIN), "rows.r.batch: missing"),
    "what only another optimizer has": (
        content({"from": "plain", "batch": 2, "optimizer": {"name": "adam"}}, plain=PLAIN),
        "rows.r.optimizer.lr: missing",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_where_it_was_written(case: str, tmp_path: Path) -> None:
    """Broken: a message would name a row in which the value does not stand."""
    written, message = WRONG[case]
    assert error(written, tmp_path).startswith(message)


def test_many_bases_of_bases_take_no_time_to_resolve() -> None:
    """Broken: thirty lines, each naming the one before twice, would never end."""
    chain = {"b0": PLAIN} | {f"b{place}": {"from": f"b{place - 1} b{place - 1}"} for place in range(1, 60)}
    assert resolved({"from": "b59"}, **chain)["each"] == "conv act"
    with pytest.raises(Fault):
        resolved({"from": "b59 b0"}, **chain | {"b1": {"from": "b59"}})


def test_dvc_rewrites_the_file_as_it_stands(tmp_path: Path) -> None:
    """Broken: the first `dvc exp run -S` would change hundreds of lines."""
    assert changed(tmp_path, []) == []


WHOLE = paths.PARAMS.read_text()
ROWS = [
    re.search(rf"^  {row}:.*\n(   .*\n)*", WHOLE, re.MULTILINE) for row in ("vgg2-keras", "shift-narrow-a-10", "both")
]
PART = "rows:\n" + "".join(row[0] for row in ROWS if row)
"""Three rows as params.yaml has them, since DVC takes seconds to write the whole file."""


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict | list):
        yield path.removeprefix("."), value
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from leaves(inner, f"{path}.{key}")


BEFORE = dict(leaves(YAML(typ="safe").load(PART)))


@pytest.mark.parametrize("path", BEFORE)
def test_dvc_changes_one_value_and_one_line(path: str, tmp_path: Path) -> None:
    """Broken: `dvc exp run -S` would change nothing, as behind an anchor, or more than it was told."""
    value = BEFORE[path]
    other = 1 if value is None else value[:-1] + "X" if isinstance(value, str) else value * 2
    lines = changed(tmp_path, [f"{path}={other}"], PART)
    assert [line[0] for line in lines] == ["-", "+"]
    after = dict(leaves(YAML(typ="safe").load(tmp_path / "params.yaml")))
    assert {key: after[key] for key in BEFORE | after if BEFORE.get(key) != after.get(key)} == {path: other}


def test_what_a_row_inherits_wants_a_plus(tmp_path: Path) -> None:
    """Broken: `-S` would print "applied" and train the old value."""
    key, before = "rows.both.optimizer.lr", read_params().rows
    with pytest.raises(InvalidArgumentError):
        changed(tmp_path, [f"{key}=0.01"])
    for sign in ("+", "++"):
        assert changed(tmp_path, [f"{sign}{key}=0.01"])
    after = read_params(tmp_path / "params.yaml").rows
    assert {name for name in before if before[name] != after[name]} == {"both"}
    optimizer = after["both"].optimizer
    assert optimizer.lr == 0.01
    assert optimizer == before["both"].optimizer.model_copy(update={"lr": 0.01})


def changed(tmp_path: Path, overrides: list[str], text: str = WHOLE) -> list[str]:
    """The lines that DVC takes from a params.yaml and adds to it, with - and +."""
    path = tmp_path / "params.yaml"
    path.write_text(text)
    apply_overrides(str(path), overrides)
    delta = difflib.unified_diff(text.splitlines(), path.read_text().splitlines(), n=0, lineterm="")
    return [line for line in delta if line[:1] in "+-" and line[:3] not in ("+++", "---")]
