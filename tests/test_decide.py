"""Seeds that are added until claims are decided: what a look says and costs, what it writes, and how often it errs."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import simulation
from outputs import CLASSES, prepare, write_outputs

from pipeline import decide, paths
from pipeline.errors import UserError
from pipeline.findings.decisions import ALPHA, level
from pipeline.findings.verdicts import judge_available
from pipeline.params.reading import read_params
from pipeline.running import store
from pipeline.storage import write_json

PARAMS = """\
datasets:
  digits: {source: digits}
studies:
  # What it is about
  s:
    title: S
    question: Which?
    looks: [3, 5, 8]  # fixed beforehand
    rows: {seeds: [0, 1, 2], backbone: {widths: [4], convs: [1], dense: [8]}, each: conv act, end: pool, head: dense act, optimizer: {name: adam, lr: 0.001}, epochs: 3, batch: 32}
rows:
  # The better one
  a: {study: s, dataset: digits, trainer: {accelerator: cpu}}
  b: {study: s, dataset: digits, trainer: {accelerator: cpu}, batch: 16}
claims:
  better: {says: It is., source: S, tested: So., tests: {s: 'accuracy: a > b'}}
  worse: {says: It is., source: S, tested: So., tests: {s: 'accuracy: a < b'}}
"""  # noqa: E501
NEAR = (0.90, 0.93, 0.91, 0.92, 0.93, 0.91, 0.92, 0.93)
FAR = (0.50, 0.53, 0.50, 0.52, 0.51, 0.50, 0.52, 0.50)

Train = Callable[[dict[str, Sequence[float]]], None]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Writes what training would: as many of a row's accuracies as it has seeds, and that each run took a minute."""
    for name in ("PLAN", "RUNS", "DIAGNOSIS", "REPORTS", "STORE", "DATA"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params.yaml")
    monkeypatch.setenv("DISHARMONY_JOBS", "2")
    paths.PARAMS.write_text(PARAMS)
    prepare(paths.prepared("digits"), images=50, classes=CLASSES)

    def trained(accuracies: dict[str, Sequence[float]]) -> None:
        for name, row in read_params(paths.PARAMS).rows.items():
            write_outputs(paths.RUNS / "s" / name, row, accuracies[name][: len(row.seeds)])

    return trained


def test_a_look_says_what_is_open_and_what_the_next_one_costs(train: Train) -> None:
    """Broken: seeds would be added to claims that are decided, or a night of training begin unannounced."""
    train({"a": NEAR, "b": (0.92, 0.91, 0.92)})
    params = read_params(paths.PARAMS)
    assert str(decide.look(params, "s")) == (
        "s, 3 seeds: 2 of 2 claims are open: better, worse\n"
        "the next look, at 5 seeds, takes 4 more runs: nobody knows how long, since no run so far noted it"
    )
    for name, row in params.rows.items():
        result = judge_available(params, "s")[1][name]
        key = store.run_key(store.run_spec(row, 0, result.spec["data"], result.spec["code"]))
        write_json(paths.STORE / "runs" / key / "cost.json", {"measured": {"seconds": 120.0}})
    assert str(decide.look(params, "s")).endswith("takes 4 more runs: about 4 minutes")
    assert decide.look(params, "s").more == [3, 4]


def test_seeds_are_added_until_all_is_decided(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: it would stop too early, never, or spoil params.yaml."""
    accuracies = {"a": NEAR, "b": (0.92, 0.91, 0.92, *FAR)}
    monkeypatch.setattr(decide, "_train", lambda *_: train(accuracies))
    monkeypatch.setattr(sys, "argv", ["decide", "s", "--go"])
    decide.main()
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "s, 3 seeds: 2 of 2 claims are open: better, worse"
    assert told[-1] == "s, 8 seeds: 2 of 2 claims are open: better, worse; that was the last look"
    assert [row.seeds for row in read_params(paths.PARAMS).rows.values()] == [list(range(8))] * 2
    text = paths.PARAMS.read_text()
    assert all(comment in text for comment in ("# What it is about", "# fixed beforehand", "# The better one"))
    paths.PARAMS.write_text(PARAMS)
    accuracies["b"] = FAR
    decide.main()
    assert capsys.readouterr().out == "s, 3 seeds: all 2 claims are decided\n"


def test_what_was_not_measured_is_not_called_decided(train: Train) -> None:
    """Broken: who forgot the diagnosis, or whose runs all failed, would read that every claim is decided."""
    shifted = "  shifted: {says: It is., source: S, tested: So., tests: {s: 'shift: a > b'}}\n"
    paths.PARAMS.write_text(PARAMS.replace("each: conv act", "each: conv bn act") + shifted)
    train({"a": NEAR, "b": FAR})
    assert str(decide.look(read_params(paths.PARAMS), "s")) == (
        "s, 3 seeds: no claim is open; shifted is not judged: shift was not measured in a, b"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("looks: [3, 5, 8]  #", "#", r"^studies\.s\.looks: missing; write the numbers of seeds to judge at"),
        ("batch: 16}", "batch: 16, seeds: [5, 6, 7]}", r"^rows\.b\.seeds: seeds are added to studies\.s\.rows\.seeds"),
        ("[3, 5, 8]", "[5, 3]", r"^studies\.s\.looks: .*in rising order"),
        ("studies:", "studies: ", "^a: no results; run 'pipeline/python -m pipeline.launch report@s' first"),
    ],
)
def test_what_cannot_be_looked_at_is_one_line(old: str, new: str, message: str, train: Train) -> None:
    """Broken: a study whose looks nobody fixed would be looked at after every seed, or be told so after days."""
    paths.PARAMS.write_text(PARAMS.replace(old, new))
    with pytest.raises(UserError, match=message):
        decide.look(read_params(paths.PARAMS), "s")


def test_nothing_is_trained_for_a_study_that_fixes_no_looks(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: days of training would end in a line that could have been said at once."""
    paths.PARAMS.write_text(PARAMS.replace("looks: [3, 5, 8]  #", "#"))
    monkeypatch.setattr(decide, "_train", lambda *_: pytest.fail("it was trained"))
    monkeypatch.setattr(sys, "argv", ["decide", "s", "--go"])
    with pytest.raises(SystemExit, match=r"studies\.s\.looks: missing"):
        decide.main()


def test_looks_share_what_may_be_wrong() -> None:
    """Broken: to look until all is decided would decide by chance; or large effects would still take all seeds."""
    looks = [5, 10, 20, 29]
    assert level([]) == ALPHA == pytest.approx(4 * level(looks))
    any_wrong, _, _ = simulation.staged([0.0] * 10, looks, 1000)
    assert any_wrong <= ALPHA
    _, decided, seeds = simulation.staged([3.0] * 10, looks, 1000)
    assert decided > 0.999
    assert seeds < 12
    assert simulation.looking_rate(looks, 2000) > 2 * ALPHA


def test_seeds_of_a_tuning_are_not_added() -> None:
    """Broken: rows would be judged on seeds on which their values were chosen."""
    assert decide.Look("s", [0, 1, 2], frozenset({3, 4}), 1, ["c"], {}, 5, 4, None).more == [5, 6]
