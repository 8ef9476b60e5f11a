"""Places of a tuning are claimed once, given back after a kill, and never lost with the storage."""

from pathlib import Path
from typing import Any

import pytest
from test_search import make

from pipeline import paths
from pipeline.errors import UserError
from pipeline.tuning import search
from pipeline.tuning.trials import Trials, journal

KNOWN = search.distributions(make(), make().tuning)
VALUES = {"optimizer.lr": 0.01, "dropout": 0.1, "backbone.widths.1": 8, "batch": 16}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "STORE", tmp_path)
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)


def opened(owner: str = "here") -> Trials:
    """The trials as a process of `owner` sees them."""
    trials = Trials("a tuning", "minimize")
    trials.owner = owner
    return trials


def claim(trials: Trials, place: int) -> int | None:
    return trials.claim(place, VALUES, KNOWN, {})


def test_a_place_is_claimed_once() -> None:
    """Broken: machines that share a storage would train more trials than the budget."""
    one, other = opened("one"), opened("other")
    assert claim(one, 0) is not None
    assert claim(other, 0) is None and claim(one, 0) is None
    assert claim(other, 1) is not None
    assert {place: trial.user_attrs["owner"] for place, trial in one.held().items()} == {0: "one", 1: "other"}


def test_what_a_killed_process_left_running_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a kill would cost a trial of the budget, or a trial of a machine that is at work would be taken."""
    monkeypatch.setenv("OPTUNA_STORAGE", f"sqlite:///{tmp_path / 'trials.db'}")  # which machines share
    claim(opened("here"), 0)
    others = opened("elsewhere")
    identity = claim(others, 1)
    again = opened("here")
    again.sweep()
    assert list(again.held()) == [1]
    assert claim(again, 0) is not None
    assert identity is not None
    others.report(identity, 1, 0.5)
    assert others.finish(identity, False, 0.25, {"epochs": 3}, {"completed_rung_0": 0.5})
    finished = again.held()[1]
    assert (finished.value, finished.user_attrs["epochs"], finished.intermediate_values) == (0.25, 3, {1: 0.5})
    assert finished.system_attrs == {"completed_rung_0": 0.5}


def test_a_trial_that_was_taken_for_lost_changes_nothing_any_more() -> None:
    """Broken: a machine that comes back after an hour would overwrite the trial that took its place."""
    slow = opened("slow")
    identity = claim(slow, 0)
    assert identity is not None
    opened("slow").sweep()
    fresh = opened("fresh")
    assert claim(fresh, 0) is not None
    slow.report(identity, 1, 0.5)
    assert not slow.finish(identity, False, 0.1, {}, {})
    assert fresh.held()[0].user_attrs["owner"] == "fresh" and fresh.held()[0].value is None


def test_a_journal_goes_on_under_another_name_of_the_machine() -> None:
    """Broken: a tuning whose job was moved to another node would wait for ever for what it left running itself."""
    claim(opened("old-node"), 0)
    again = opened("new-node")
    again.sweep()
    assert again.held() == {} and claim(again, 0) is not None


def test_half_a_line_at_the_end_of_a_journal_is_cut() -> None:
    """Broken: a full disk or a power cut would cost all trials of all tunings."""
    claim(opened(), 0)
    whole = journal().read_bytes()
    journal().write_bytes(whole + b'{"op_code": 4, "wor')
    again = opened()
    assert list(again.held()) == [0]
    assert journal().read_bytes().startswith(whole)
    again.sweep()
    assert claim(again, 0) is not None and list(opened().held()) == [0]


def test_a_forced_tuning_begins_afresh() -> None:
    """Broken: `dvc repro -f` would pick up the trials that it is to check."""
    trials = opened()
    claim(trials, 0)
    trials.clear()
    assert trials.held() == {} and opened().held() == {}


def test_a_damaged_journal_is_one_line() -> None:
    """Broken: half a line after a full disk would be a traceback for ever."""
    claim(opened(), 0)
    journal().write_text(journal().read_text()[:-20] + "\n{}\n")
    with pytest.raises(UserError, match=r"journal\.log: damaged \(.*\); move it away"):
        opened()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (
            "postgresql+psycopg://me:secret@127.0.0.1:1/db",
            "OPTUNA_STORAGE postgresql+psycopg://me:***@127.0.0.1:1/db: ",
        ),
        ("mysql+nosuchdriver://me:secret@localhost/db", "OPTUNA_STORAGE mysql+nosuchdriver://me:***@localhost/db: "),
        ("no address, secret", "OPTUNA_STORAGE: "),
        ("sqlite:////no/such/folder/trials.db", "unable to open database file"),
    ],
)
def test_a_storage_that_cannot_be_reached_is_one_line(
    address: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a database that is away would be a page of traceback, with the password in it."""
    monkeypatch.setenv("OPTUNA_STORAGE", address)
    with pytest.raises(UserError) as caught:
        opened()
    assert words in str(caught.value) and "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_a_database_keeps_places_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: what holds for the journal would not hold for a database, or a process that is gone would keep its
    trials for ever."""
    monkeypatch.setenv("OPTUNA_STORAGE", f"sqlite:///{tmp_path / 'trials.db'}")
    gone, present = opened("gone"), opened("present")
    assert claim(gone, 0) is not None and claim(present, 0) is None
    present.sweep()
    assert list(present.held()) == [0]
    storage: Any = present._storage
    storage._backend.grace_period = -1  # all that has gone by is longer than that
    present.sweep()
    assert claim(present, 0) is not None
