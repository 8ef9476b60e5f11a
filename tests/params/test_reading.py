"""params.yaml: what is right is read with its defaults, what is wrong gets one line that names the key."""

import copy
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML
from written import write_params

from pipeline import paths, plan
from pipeline.errors import UserError
from pipeline.params import planned as the_plan
from pipeline.params.complaints import reference
from pipeline.params.planned import claims_of
from pipeline.params.reading import read_params
from pipeline.params.rows import Row
from pipeline.params.studies import Params
from pipeline.storage import write_atomically

ROW = {
    "study": "s",
    "dataset": "d",
    "backbone": {"widths": [4, 8], "convs": [1, 1], "dense": [8]},
    "each": "conv act",
    "end": "pool drop",
    "head": "dense act",
    "dropout": 0.25,
    "optimizer": {"name": "adam", "lr": 0.001},
    "epochs": 2,
    "batch": 32,
    "seeds": [0, 1],
}
GOOD = {
    "datasets": {"d": {"source": "digits"}},
    "studies": {"s": {"title": "S", "question": "Which?"}},
    "rows": {"r": ROW, "other": copy.deepcopy(ROW)},
}


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "params.yaml"
    if isinstance(content, str):
        path.write_text(content)
    else:
        write_params(path, content)
    return path


def row(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Changes row r; a value of None removes a key."""

    def change(content: dict[str, Any]) -> None:
        for key, value in changes.items():
            if value is None:
                del content["rows"]["r"][key]
            else:
                content["rows"]["r"][key] = value

    return change


def top(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.update(changes)


def answering(says: str, **of: str) -> Callable[[dict[str, Any]], None]:
    return top(studies={"s": {"title": "S", "question": "?", "answers": [{"says": says, "of": of}]}})


def claim(tests: dict[str, str]) -> Callable[[dict[str, Any]], None]:
    return top(claims={"c": {"says": "So it is.", "source": "Somebody", "tested": "So.", "tests": tests}})


# What is broken, and words that the one line must contain.
BROKEN: dict[str, tuple[Any, list[str]]] = {
    "empty file": ("", ["params.yaml", "nothing"]),
    "not YAML": ("rows: [1, 2", ["params.yaml:1"]),
    "a tab as indentation": ("rows:\n\tr: 1", ["params.yaml:2"]),
    "a key twice": ("rows: {}\nrows: {}", ["params.yaml:2", "rows"]),
    "an unknown alias": ("rows: *nobody", ["params.yaml:1:7: not YAML: an alias"]),
    "a tag of Python's": ("rows: !!python/object:os.system {}", ["params.yaml:1"]),
    "a list": ("- 1", ["params.yaml"]),
    "a recursive alias": ("rows: &r {r: *r}", ["params.yaml:1:14: not YAML: an alias"]),
    "aliases that stand for a billion rows": (
        "a: &a {b: 1}\nb: &b [*a, *a]\nrows: {r: {seeds: *b}}",
        ["params.yaml:2:8: not YAML: an alias; rows inherit by name"],
    ),
    "no truth": ("rows: !!bool maybe", ["params.yaml: not YAML: 'maybe'"]),
    "a version to come": ("%YAML 1.3\n---\nrows: 1", ["params.yaml: not YAML: version"]),
    "a tag without a value": ("rows: !!int ''", ["params.yaml: not YAML"]),
    "brackets without end": ("rows: " + "[" * 5000, ["params.yaml: not YAML"]),
    "binary": ("\x00\x01", ["params.yaml"]),
    "targets that fall": (
        top(studies={"s": {"title": "S", "question": "?", "targets": [0.7, 0.5]}}),
        ["studies.s.targets", "in rising order"],
    ),
    "a target in percent": (
        top(studies={"s": {"title": "S", "question": "?", "targets": [70.0]}}),
        ["studies.s.targets", "70"],
    ),
    "a published range the wrong way round": (
        row(published={"shift": [1.5, 1.2]}),
        ["rows.r.published.shift", "the least before the greatest"],
    ),
    "rows missing": (lambda content: content.pop("rows"), ["rows: missing"]),
    "no rows": (top(rows={}), ["rows: found {}"]),
    "rows as a list": (top(rows=[ROW]), ["rows: found"]),
    "row without content": (lambda content: content["rows"].update(r=None), ["rows.r: found nothing"]),
    "unknown key at the top": (top(row={}), ["row: unknown key", "'rows'"]),
    "row with a space in its name": (top(rows={"my row": ROW}), ["rows.my row", "is no name"]),
    "a name that no file can have": (top(rows={"r" * 300: ROW}), ["rows.rrrr", "...: found 'rrr", "at most 100"]),
    "names that differ in case alone": (
        lambda content: content["rows"].update(R=ROW),
        ["rows.r: differs from 'R' in case alone"],
    ),
    "row named by a number": (top(rows={1: ROW}), ["rows.1", "string"]),
    "row named like a number": (top(rows={"1e5": ROW}), ["rows.1e5: a claim would take this name for a number"]),
    "typo in a row": (row(epoch=3), ["rows.r.epoch: unknown key; did you mean 'epochs'?"]),
    "row without epochs": (row(epochs=None), ["rows.r.epochs: missing"]),
    "no epochs": (row(epochs=0), ["rows.r.epochs: found 0", "greater than or equal to 1"]),
    "a fraction of epochs": (row(epochs=1.5), ["rows.r.epochs: found 1.5", "integer"]),
    "a number as text": (row(batch="32"), ["rows.r.batch: found '32'", "integer"]),
    "batch of one": (row(batch=1), ["rows.r.batch: found 1"]),
    "unknown study": (row(study="t"), ["rows.r.study: no study 't'; known: s"]),
    "unknown dataset": (row(dataset="digit"), ["rows.r.dataset: no dataset 'digit'"]),
    "unknown preset": (row(backbone="vgg3"), ["rows.r.backbone", "vgg2"]),
    "widths without convs": (
        row(backbone={"widths": [4], "convs": [1, 1], "dense": [4]}),
        ["rows.r.backbone: 1 widths but 2 convs"],
    ),
    "negative width": (
        row(backbone={"widths": [-4], "convs": [1], "dense": []}),
        ["rows.r.backbone.widths.0: found -4"],
    ),
    "a million convolutions": (
        row(backbone={"widths": [4, 8], "convs": [1000000, 1], "dense": [8]}),
        ["rows.r.backbone: 1,000,002 layers; 1,000 at most"],
    ),
    "a dense layer of a billion": (
        row(backbone={"widths": [4, 8], "convs": [1, 1], "dense": [1000000000]}),
        ["rows.r.backbone: 32,000,000,324 weights; 1,000,000,000 at most"],
    ),
    "a width of twenty digits": (
        row(backbone={"widths": [10**20 - 1, 16], "convs": [1, 1], "dense": [8]}),
        ["rows.r.backbone.widths.0: found 99999999999999999999", "less than 2147483648"],
    ),
    "a batch of all images ever taken": (
        row(batch=10**9),
        ["rows.r.batch: 384,000,000,000 values", "10,000,000,000 at most"],
    ),
    "pixels without end": (
        top(datasets={"d": {"source": "digits", "size": 100000}}),
        ["datasets.d.size: found 100000", "less than or equal to 4096"],
    ),
    "more pixels than are let into memory": (
        top(datasets={"d": {"source": "digits", "size": 4096}}),
        ["datasets.d.size: 4096, which makes 28.1 GiB of pixels, and max_gib is 2"],
    ),
    "a path without end": (
        top(datasets={"d": {"source": "folder", "path": "a/" * 2500}}),
        ["datasets.d.path: found 'a/a/", "at most 4096"],
    ),
    "unknown word": (row(each="conv bnn act"), ["rows.r.each: conv »bnn« act", "did you mean 'bn'?"]),
    "no convolution": (row(each="act"), ["rows.r.each", "'conv' is needed"]),
    "no part of a sentence": (row(each=None, end=None), ["rows.r.each: (empty): a word 'conv' is needed in `each`"]),
    "a block beside each": (row(block="conv act pool"), ["rows.r.block: it spells out what `each` and `end` say"]),
    "a block of other depth": (
        row(block="conv act conv-valid pool drop", each=None, end=None),
        ["rows.r.block: 2 convolutions, but 1 in the backbone's convs [1, 1]"],
    ),
    "an unknown word in a block": (
        row(block="conv valid pool drop", each=None, end=None),
        ["rows.r.block: conv »valid« pool drop: unknown word 'valid'; did you mean 'conv-valid'?"],
    ),
    "head without dense": (row(head="act drop"), ["rows.r.head", "'dense' is needed"]),
    "rate of one": (row(dropout=1.0), ["rows.r.dropout", "[0, 1)"]),
    "rate as text": (row(dropout="half"), ["rows.r.dropout: found 'half'"]),
    "a rate too many": (row(dropout=[0.1, 0.2, 0.3]), ["rows.r.dropout: 3 rates for 2 dropout positions"]),
    "unknown activation": (row(activation="swish"), ["rows.r.activation", "relu"]),
    "a norm without a meaning": (
        row(norm={"moment": 0.1}),
        ["rows.r.norm.moment: unknown key; did you mean 'momentum'?"],
    ),
    "momentum of the norm over 1": (row(norm={"momentum": 1.5}), ["rows.r.norm.momentum: found 1.5"]),
    "eps of zero": (row(norm={"eps": 0}), ["rows.r.norm.eps: found 0"]),
    "a number for a switch": (row(norm={"running_stats": 1}), ["rows.r.norm.running_stats: found 1"]),
    "no groups": (row(norm={"groups": 0}), ["rows.r.norm.groups: found 0"]),
    "groups that do not divide": (
        row(each="conv gn act", norm={"groups": 3}),
        ["rows.r.norm.groups: 3 groups do not divide the 4 features of block1_gn1"],
    ),
    "instance norm without pixels": (row(head="dense in act"), ["rows.r.head: head1_in", "needs pixels"]),
    "unknown optimizer": (
        row(optimizer={"name": "sdg", "lr": 0.1}),
        ["rows.r.optimizer.name: unknown 'sdg'; did you mean 'sgd'?"],
    ),
    "optimizer without a name": (row(optimizer={"lr": 0.1}), ["rows.r.optimizer.name: missing"]),
    "momentum for adam": (
        row(optimizer={"name": "adam", "lr": 0.1, "momentum": 0.9}),
        ["rows.r.optimizer.momentum: unknown key"],
    ),
    "learning rate of zero": (row(optimizer={"name": "sgd", "lr": 0}), ["rows.r.optimizer.lr: found 0"]),
    "infinite learning rate": (row(optimizer={"name": "sgd", "lr": float("inf")}), ["rows.r.optimizer.lr: found inf"]),
    "nesterov without momentum": (
        row(optimizer={"name": "sgd", "lr": 0.1, "nesterov": True}),
        ["rows.r.optimizer", "momentum"],
    ),
    "unknown schedule": (
        row(schedule={"name": "cos"}),
        ["rows.r.schedule.name: unknown 'cos'; did you mean 'cosine'?"],
    ),
    "the same seed twice": (row(seeds=[1, 1]), ["rows.r.seeds: found [1, 1]; every seed once"]),
    "no seeds": (row(seeds=[]), ["rows.r.seeds: found []"]),
    "negative seed": (row(seeds=[-1]), ["rows.r.seeds.0: found -1"]),
    "half precision, portable": (
        row(trainer={"precision": "bf16-mixed"}),
        ["rows.r.trainer: ", "; precision bf16-mixed depends on the processor; write arithmetic: native"],
    ),
    "compiled, portable": (
        row(trainer={"compile": True}),
        ["rows.r.trainer: ", "; compile depends on the processor; write arithmetic: native"],
    ),
    "two devices without ddp": (row(trainer={"devices": 2}), ["rows.r.trainer", "ddp"]),
    "batch that devices cannot share": (
        row(trainer={"devices": 3, "strategy": "ddp", "accelerator": "cpu"}),
        ["rows.r.batch: 32 is not a multiple of trainer.devices 3"],
    ),
    "published accuracy in percent": (row(published={"accuracy": 66.58}), ["rows.r.published.accuracy: found 66.58"]),
    "nothing to select on": (
        top(datasets={"d": {"source": "digits", "validation": 0}}),
        [".select_on: validation", "datasets.d.validation is 0"],
    ),
    "a plateau of nothing": (
        lambda content: (
            content["datasets"]["d"].update(validation=0),
            content["rows"]["other"].update(keep="last"),
            content["rows"]["r"].update(keep="last", schedule={"name": "plateau"}),
        ),
        ["rows.r.select_on: validation", "datasets.d.validation is 0"],
    ),
    "unknown source": (
        top(datasets={"d": {"source": "digit"}}),
        ["datasets.d.source: unknown 'digit'; did you mean 'digits'?"],
    ),
    "folder without a path": (top(datasets={"d": {"source": "folder"}}), ["datasets.d.path: missing"]),
    "unknown torchvision set": (
        top(datasets={"d": {"source": "torchvision", "name": "CIFAR"}}),
        ["datasets.d.name: found 'CIFAR'", "CIFAR10"],
    ),
    "validation of all": (
        top(datasets={"d": {"source": "digits", "validation": 1}}),
        ["datasets.d.validation: found 1"],
    ),
    "a study without rows": (
        lambda content: content["studies"].update(t={"title": "T", "question": "?"}),
        ["studies.t: no row belongs to it"],
    ),
    "seeds between two looks": (
        lambda content: (
            content["studies"]["s"].update(looks=[3, 5], rows={"seeds": [0, 1, 2, 3]}),
            [row.pop("seeds") for row in content["rows"].values()],
        ),
        ["studies.s.rows.seeds: found 4; the study is judged at 3, 5 seeds"],
    ),
    "seeds of a row between two looks": (
        lambda content: content["studies"]["s"].update(looks=[3, 5]),
        ["rows.other.seeds: found 2; the study is judged at 3, 5 seeds"],
    ),
    "seeds of a study that are no list": (
        lambda content: content["studies"]["s"].update(rows={"seeds": 3}) or content["rows"]["r"].pop("seeds"),
        ["studies.s.rows.seeds: found 3"],
    ),
    "a name alone where keys are needed": (
        row(schedule="cosine"),
        ["rows.r.schedule: found 'cosine'; keys are needed"],
    ),
    "a misspelt publication": (
        lambda content: (
            content.update(sources={"kim": "Kim 2020"}),
            content["rows"]["r"].update(published={"accuracy": 0.5, "source": "kimm"}),
        ),
        ["rows.r.published.source: no source 'kimm'; did you mean 'kim'?"],
    ),
    "milestones in any order": (
        row(schedule={"name": "step", "milestones": [9, 3]}),
        ["rows.r.schedule.milestones: found [9, 3]; each once, in rising order"],
    ),
    "claim with a margin in points": (
        claim({"s": "accuracy: r > other + 20"}),
        ["claims.c.tests.s: found 20 beside an accuracy, which is a fraction, such as 0.02"],
    ),
    "a study by the name of the benchmarks": (
        lambda content: content["studies"].update(benchmarks={"title": "T", "question": "?"}),
        ["studies.benchmarks: reports/ has a 'benchmarks' that is no study"],
    ),
    "a study by the name of the index": (
        lambda content: content["studies"].update(Index={"title": "T", "question": "?"}),
        ["studies.Index: reports/ has a 'index' that is no study"],
    ),
    "claim without a source": (
        top(claims={"c": {"says": "So.", "tested": "So.", "tests": {"s": "loss: r < other"}}}),
        ["claims.c.source: missing"],
    ),
    "claim without a test": (claim({}), ["claims.c.tests: found {}; 1 or more needed"]),
    "claim on an unknown study": (claim({"t": "loss: r < other"}), ["claims.c.tests.t: no study 't'; known: s"]),
    "claim on an unknown row": (
        claim({"s": "loss: r < othr"}),
        ["claims.c.tests.s: no row 'othr' in study s; did you mean 'other'?"],
    ),
    "claim on an unknown metric": (
        claim({"s": "acuracy: r < other"}),
        ["claims.c.tests.s: no metric 'acuracy'; did you mean 'accuracy'?"],
    ),
    "claim beyond all numbers": (
        claim({"s": "loss: r > 1e999"}),
        ["claims.c.tests.s: r > »1e999«: larger than any number"],
    ),
    "two tests of a claim in a study": (
        claim({"s": "loss: r < other", "s s": "loss: other < r"}),
        ["claims.c.tests.s: s has another test as well"],
    ),
    "claim that is no contrast": (
        claim({"s": "loss: r other"}),
        ["claims.c.tests.s: r »other«: '<', '>', '<=' or '>=' expected"],
    ),
    "claim with a threshold of its own": (
        claim({"s": "epochs_to_0.85: r < other"}),
        ["claims.c.tests.s: 0.85 is no target of the study; studies.s.targets has none"],
    ),
    "answer that compares": (
        answering("It adds {x}.", x="accuracy: r > other"),
        ["studies.s.answers.0.of.x: r »>« other: the end expected"],
    ),
    "answer about an unknown row": (
        answering("It adds {x}.", x="accuracy: r - othr"),
        ["studies.s.answers.0.of.x: no row 'othr' in study s; did you mean 'other'?"],
    ),
    "answer that does not tell": (
        answering("It adds {y}.", x="accuracy: r - other"),
        ["studies.s.answers.0: ", "says has {y} and of has {x}; each name in both"],
    ),
    "answer with half a brace": (
        answering("It adds {x.", x="accuracy: r - other"),
        ["studies.s.answers.0: ", "says: "],
    ),
    "answer with digits of its own": (
        answering("It adds {x:.1f}.", x="accuracy: r - other"),
        ["studies.s.answers.0: ", "says: {x} takes a name alone, with a letter; a report knows its digits"],
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_params_get_one_line_that_names_the_key(case: str, tmp_path: Path) -> None:
    """Broken: a typo would end in a traceback, or in a training of something else."""
    content, words = BROKEN[case]
    if callable(content):
        change, content = content, copy.deepcopy(GOOD)
        change(content)
    with pytest.raises(UserError) as caught:
        read_params(written(tmp_path, content))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_the_plan_command_ends_with_one_line_and_status_1(tmp_path: Path) -> None:
    """Broken: the same, as the user sees it."""
    for name in ("pipeline", "models"):
        shutil.copytree(Path(__file__).parents[2] / name, tmp_path / name)
    (tmp_path / "params.yaml").write_text("rows: 1")
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.plan"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_full_disk_leaves_the_old_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: every stage, and who predicts meanwhile, would find no plan until there is room again."""
    params = read_params(written(tmp_path, GOOD))
    plan.write_plan(params, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(plan, "write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        plan.write_plan(params, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == before


def test_a_plan_is_whole_while_it_is_rewritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: who predicts while `dvc repro` plans would be told that there is no such row."""
    params = read_params(written(tmp_path, GOOD))
    epochs = {name: row.epochs for name, row in params.rows.items()}
    monkeypatch.setattr(paths, "PLAN", tmp_path)
    plan.write_plan(params, tmp_path)

    def watched(path: Path, content: bytes) -> None:
        write_atomically(path, content)
        assert {name: the_plan.read_row(name).row.epochs for name in epochs} == epochs

    monkeypatch.setattr(plan, "write_atomically", watched)
    plan.write_plan(params, tmp_path)
    outputs = YAML(typ="safe").load((paths.ROOT / "dvc.yaml").read_text())["stages"]["plan"]["outs"]
    assert all(how == {"persist": True} for out in outputs for how in out.values())  # else DVC removes it first


def test_defaults_and_presets_are_filled_in(tmp_path: Path) -> None:
    """Broken: the plan would not say all that a row means, and a changed default would go unnoticed."""
    text = """
    datasets: {d: {source: digits}}
    studies: {s: {title: S, question: Q, rows: {backbone: vgg2, end: pool, head: dense act, epochs: 1}}}
    rows: {r: {study: s, dataset: d, batch: 2, seeds: [3], each: conv act, optimizer: {name: sgd, lr: 1e-3}}}
    """
    params = read_params(written(tmp_path, text))
    planned = params.rows["r"]
    assert planned.backbone.widths == [32, 64]
    assert planned.optimizer.lr == 0.001
    assert planned.schedule.name == "none"
    plan.write_plan(params, tmp_path / "plan")
    stored = json.loads((tmp_path / "plan" / "rows" / "r.json").read_text())["row"]
    assert Row.model_validate(stored | {"published": None}) == planned
    assert stored["optimizer"]["momentum"] == 0.0
    assert "rows" not in json.loads((tmp_path / "plan" / "studies" / "s.json").read_text())["study"]


def test_sources_and_claims_are_written_out(tmp_path: Path) -> None:
    """Broken: reports would cite a key, or claims would name rows that nobody finds."""
    content = copy.deepcopy(GOOD)
    content["studies"]["t"] = {"title": "T", "question": "Which?"}
    content["rows"] |= {"t-r": ROW | {"study": "t"}, "t-other": ROW | {"study": "t"}}
    content["rows"]["r"]["published"] = {"accuracy": 0.5, "source": "kim"}
    content["sources"] = {"kim": {"cite": "Kim, 2020", "copied": "all"}, "li": "Li, 2018"}
    tests = {"s t": "accuracy: (r - 0.005) < mean(other, other)"}
    content["claims"] = {"c": {"says": "So.", "source": "kim", "tested": "So.", "tests": tests}}
    params = read_params(written(tmp_path, content))
    assert params.rows["r"].published.source == "Kim, 2020"  # type: ignore[union-attr]
    assert [source.copied for source in params.cited("s")] == ["all"]
    assert params.cited("t") == []
    claims = [claims_of(params, study)["c"] for study in "st"]
    assert [claim.source for claim in claims] == ["Kim, 2020"] * 2
    assert claims[0].test == tests["s t"]
    assert claims[1].test == "accuracy: (t-r - 0.005) < mean(t-other, t-other)"


def test_publications_and_names_do_not_reach_the_training(tmp_path: Path) -> None:
    """Broken: correcting a published number, or renaming a study, would train a row again."""
    content = copy.deepcopy(GOOD)
    before = read_params(written(tmp_path, content)).rows["r"].training()
    row(published={"accuracy": 0.5}, seeds=[5])(content)
    after = read_params(written(tmp_path, content)).rows["r"]
    assert after.training() == after.model_copy(update={"study": "other", "dataset": "same"}).training() == before
    row(epochs=3)(content)
    assert read_params(written(tmp_path, content)).rows["r"].training() != before


def test_every_leaf_is_documented() -> None:
    """Broken: `python -m pipeline.params` would list keys without saying what they mean."""

    def leaves(model: type[BaseModel]) -> None:
        for key, _, meaning in reference(model):
            assert meaning, key

    leaves(Params)


def test_an_edited_claim_changes_the_plan_of_its_studies_alone(tmp_path: Path) -> None:
    """Broken: another wording of a claim would train, or write reports again that do not show it."""
    content = copy.deepcopy(GOOD)
    content["studies"]["t"] = {"title": "T", "question": "Which?"}
    content["rows"]["third"] = ROW | {"study": "t"}
    plans = []
    for says in ("So.", "Otherwise."):
        content["claims"] = {
            "c": {"says": says, "source": "Somebody", "tested": "So.", "tests": {"s": "loss: r < other"}}
        }
        plan.write_plan(read_params(written(tmp_path, content)), tmp_path / "plan")
        plans.append({path.relative_to(tmp_path): path.read_text() for path in (tmp_path / "plan").rglob("*.json")})
    changed = [str(path) for path in plans[0] if plans[0][path] != plans[1][path]]
    assert changed == ["plan/claims/s.json"]
