"""A tuning's trials in an Optuna storage, which several processes and machines may share.

A tuning has as many places as it may have trials. A trial claims its place in the act that creates it, and
of several that claim one place the one that was created first holds it; the others fail at once. A trial
whose worker was killed fails too, and its place is free again. So there are never more finished trials
than places, whoever shares the storage, and whatever is killed at any moment.

Trials that fail are thus no results. A run that diverged is one: its trial is complete, with the score of
guessing, so that the sampler learns to stay away from there.
"""

import contextlib
import os
import random
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline import paths
from pipeline.errors import UserError
from pipeline.text import one_line, redact
from pipeline.tuning.search import Direction, Distributions

BEAT_SECONDS = 20
"""A process that shares a database says so often that its trials go on."""

LOST_SECONDS = 120
"""A trial of which nothing was heard for so long is given back."""

CONNECTIONS = 5
"""Attempts to open a database in which other processes make tables."""


def journal() -> Path:
    """The storage, unless OPTUNA_STORAGE names another."""
    return paths.STORE / "optuna" / "journal.log"


class Trials:
    """The trials of one tuning. A context manager, within which trials that run are kept alive.

    Args:
        name: of Optuna's study.
        direction: `minimize` or `maximize`.

    Attributes:
        owner: who claims places: this checkout on this machine. What it has left running, it gives back.

    Raises:
        UserError: from all methods, if the storage cannot be reached or is damaged.
    """

    def __init__(self, name: str, direction: Direction) -> None:
        self.name = name
        self.direction: Direction = direction
        self.owner = f"{socket.gethostname()}:{paths.HOME}"
        self._live: set[int] = set()
        self._over = threading.Event()
        with _reached():
            self._storage = _connect()
            self._open()

    def _open(self) -> None:
        self._study = optuna.create_study(
            study_name=self.name, direction=self.direction, storage=self._storage, load_if_exists=True
        )

    def __enter__(self) -> "Trials":
        if isinstance(self._storage, JournalStorage):  # one process at a time, which holds the tuning's lock
            return self
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._over.set()

    def clear(self) -> None:
        """Forgets all trials, so that the tuning begins afresh."""
        with _reached():
            optuna.delete_study(study_name=self.name, storage=self._storage)
            self._open()

    def held(self) -> dict[int, FrozenTrial]:
        """The trial that holds each place, of those that are held."""
        with _reached():
            trials = self._study.get_trials(deepcopy=False)
        places: dict[int, FrozenTrial] = {}
        for trial in trials:
            if trial.state != TrialState.FAIL:
                places.setdefault(trial.user_attrs["place"], trial)
        return dict(sorted(places.items()))

    def claim(self, place: int, values: dict[str, Any], known: Distributions, about: Mapping[str, Any]) -> int | None:
        """Begins a trial; its id in the storage, or None where another process has the place."""
        trial = create_trial(
            state=TrialState.RUNNING,
            params=values,
            distributions=dict(known),
            user_attrs={"place": place, "owner": self.owner, **about},
        )
        with _reached():
            identity = self._storage.create_new_trial(self._study._study_id, trial)
            self._live.add(identity)
            self._pulse(identity)
            holder = self.held()[place]
        if holder._trial_id == identity:
            return identity
        self.give_back(identity)
        return None

    def report(self, identity: int, step: int, value: float) -> None:
        """Notes an intermediate value."""
        with _reached(), self._ours(identity):
            self._storage.set_trial_intermediate_value(identity, step, value)

    def finish(
        self, identity: int, pruned: bool, value: float, about: Mapping[str, Any], system: Mapping[str, Any]
    ) -> bool:
        """Ends a trial with its value; False, and nothing happens, where another process has taken it for lost.

        Args:
            identity: of the trial.
            pruned: whether it was ended early.
            value: its score.
            about: what else is known of it.
            system: what its pruner has noted.
        """
        state = TrialState.PRUNED if pruned else TrialState.COMPLETE
        with _reached(), self._ours(identity):
            for key, content in about.items():
                self._storage.set_trial_user_attr(identity, key, content)
            for key, content in system.items():
                self._storage.set_trial_system_attr(identity, key, content)
            self._storage.set_trial_state_values(identity, state, [value])
        ours = identity in self._live
        self._live.discard(identity)
        return ours

    def give_back(self, identity: int) -> None:
        """Marks a trial as failed, so that its place is free again."""
        with _reached(), self._ours(identity):
            self._storage.set_trial_state_values(identity, TrialState.FAIL)
        self._live.discard(identity)

    def sweep(self) -> None:
        """Gives back what this owner has left running, and what nothing was heard of.

        A journal belongs to its checkout, whatever the machine was called on which that ran before.
        """
        alone = isinstance(self._storage, JournalStorage)
        for trial in self.held().values():
            running = trial.state == TrialState.RUNNING and trial._trial_id not in self._live
            if running and (alone or trial.user_attrs["owner"] == self.owner):
                self.give_back(trial._trial_id)
        with _reached(), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(self._study)

    @contextlib.contextmanager
    def _ours(self, identity: int) -> Iterator[None]:
        try:
            yield
        except optuna.exceptions.UpdateFinishedTrialError:  # taken for lost
            self._live.discard(identity)

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            for identity in tuple(self._live):
                with contextlib.suppress(Exception):  # the next call of a method says what is wrong
                    self._pulse(identity)

    def _pulse(self, identity: int) -> None:
        beat = getattr(self._storage, "record_heartbeat", None)
        if beat:
            beat(identity)


def _connect() -> BaseStorage:
    address = os.environ.get("OPTUNA_STORAGE")
    if not address:
        return _open_journal(journal())
    return get_storage(_open_database(address))


def _open_database(address: str) -> RDBStorage:
    from sqlalchemy import make_url
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    options: dict[str, Any] = {"pool_pre_ping": True}
    if make_url(address).get_backend_name() != "sqlite":
        options["connect_args"] = {"connect_timeout": 10}
    for attempt in range(CONNECTIONS):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return RDBStorage(address, options, heartbeat_interval=BEAT_SECONDS, grace_period=LOST_SECONDS)
        except (IntegrityError, ProgrammingError):  # several processes make the tables of a new database
            if attempt == CONNECTIONS - 1:
                raise
            time.sleep(attempt + random.random())
    raise AssertionError


def _open_journal(path: Path) -> JournalStorage:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A lock that dies with its process; Optuna's own would be waited for, half a minute, after a kill.
    lock: Any = FileLock(f"{path}.lock")
    with lock:
        _cut_half_line(path)
    try:
        return JournalStorage(JournalFileBackend(str(path), lock))
    except (KeyError, ValueError, AssertionError) as error:
        wrong = one_line(error)[:100]
        raise UserError(f"{paths.shown(path)}: damaged ({wrong}); move it away to begin all tunings afresh") from None


def _cut_half_line(path: Path) -> None:
    """Removes what a full disk or a power cut has left of a last line; the next one would be glued to it."""
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)


@contextlib.contextmanager
def _reached() -> Iterator[None]:
    """What goes wrong with the storage becomes one line."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    where = shown()
    try:
        yield
    except ImportError as error:
        raise UserError(f"{where}: needs a driver, such as: pip install 'disharmony[postgresql]' ({error})") from None
    except (StorageInternalError, SQLAlchemyError, OSError) as error:
        reason = getattr(error, "orig", None) or getattr(error.__cause__, "orig", None) or error
        raise UserError(
            f"{where}: {redact(one_line(reason))[:200]}; finished trials are kept, the next start goes on"
        ) from None
    except KeyError:
        raise UserError(
            f"{where}: the tuning is gone, begun afresh by another process; start again to join it"
        ) from None


def shown() -> str:
    """The storage as a message should name it."""
    address = os.environ.get("OPTUNA_STORAGE")
    if not address:
        return paths.shown(journal())
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return f"OPTUNA_STORAGE {make_url(address).render_as_string(hide_password=True)}"
    except ArgumentError:
        return "OPTUNA_STORAGE"
