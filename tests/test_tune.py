"""Stage `tune` for real: DVC, a journal, MLflow, kills, PostgreSQL. The tests build on each other, in order."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from test_pipeline import BASE, UNLOGGED, Project

from pipeline.storage import read_json

pytestmark = pytest.mark.integration

TUNING: dict[str, Any] = {
    "trials": 6,
    "epochs": 2,
    "seeds": [100],
    "parallel": 3,
    "space": {
        "optimizer.lr": {"low": 1e-4, "high": 0.1, "log": True},
        "batch": {"choices": [10, 20]},
        "dropout": {"low": 0.0, "high": 0.5},
    },
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("project"))
    project.params["tuned"] = {"t": BASE | {"tuning": TUNING, "seeds": [0, 1]}}
    project.write()
    return project


def outputs(project: Project) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((project.folder / "tuned" / "t").iterdir())}


def trials(storage: Any) -> list[FrozenTrial]:
    """All trials of the newest study, failed ones included."""
    name = optuna.get_all_study_names(storage)[-1]
    return optuna.load_study(study_name=name, storage=storage).get_trials()


def journal(home: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(home / ".store" / "optuna" / "journal.log")))


def finished(found: list[FrozenTrial]) -> Counter[int]:
    """How often each place has a finished trial."""
    return Counter(
        trial.user_attrs["place"] for trial in found if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    )


def test_a_tuned_row_is_made_from_nothing(project: Project) -> None:
    """Broken: a row would train with other values than those that won, on seeds that the tuning saw, or again."""
    stages, printed = project.repro("train-tuned@t")
    assert set(stages) == {"plan", "prepare@digits", "tune@t", "train-tuned@t"}
    assert "Warning" not in printed
    best = read_json(project.folder / "tuned" / "t" / "best.json")
    spec = read_json(project.folder / "runs" / "tiny" / "t" / "spec.json")
    assert spec["row"]["optimizer"]["lr"] == best["values"]["optimizer.lr"] != BASE["optimizer"]["lr"]
    assert spec["row"]["batch"] == best["values"]["batch"] and spec["row"]["seeds"] == [0, 1]
    assert (spec["row"]["epochs"], best["left_out"], best["epochs"]) == (2, ["dropout"], 12)
    assert project.repro("train-tuned@t")[0] == []


def test_every_trial_is_a_child_of_its_tuning_in_mlflow(project: Project) -> None:
    """Broken: what a tuning tried could not be looked at."""
    client, best = project.client(), read_json(project.folder / "tuned" / "t" / "best.json")
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], "tags.row = 't'")
    (parent,) = (run for run in found if run.data.tags["stage"] == "tune")
    assert parent.info.status == "FINISHED" and parent.data.params["sampler"] == "tpe"
    assert parent.data.tags["best.trial"] == str(best["trial"]) and parent.data.metrics["score"] == best["score"]
    assert parent.data.params["space.optimizer.lr"] == "0.0001 to 0.1, log"
    children = {run.data.tags["trial"]: run for run in found if run.data.tags["stage"] == "trial"}
    assert sorted(children) == list("012345")
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parent.info.run_id}
    winner = children[str(best["trial"])]
    assert winner.data.params["optimizer.lr"] == str(best["values"]["optimizer.lr"])
    history = client.get_metric_history(winner.info.run_id, "val_loss")
    assert [metric.step for metric in history] == [1, 2] and min(metric.value for metric in history) == best["score"]


def test_forced_with_one_worker_it_gives_the_same_lock(project: Project) -> None:
    """Broken: best.json would depend on the number of workers, or `-f` would only pick up what is there."""
    lock, before = project.lock(), len(trials(journal(project.folder)))
    stages, printed = project.repro("-f", "-s", "tune@t", DISHARMONY_JOBS="1", **UNLOGGED)
    assert stages == ["tune@t"] and printed.count("t trial ") == before
    assert project.lock() == lock


def start(project: Project, home: Path, **extra: str) -> "subprocess.Popen[str]":
    """A process that tunes, with a run store of its own; as on another machine."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.tune", "t"], cwd=project.folder,
        env=project.environment(DVC_ROOT=str(home), **UNLOGGED, **extra),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def complete(process: "subprocess.Popen[str]") -> str:
    """What a process prints that ends well."""
    with process:
        printed, _ = process.communicate()
    assert process.returncode == 0, printed
    return printed


def test_killed_and_resumed_it_ends_with_the_same_bytes(project: Project, tmp_path: Path) -> None:
    """Broken: a kill would cost or repeat a trial, or change what comes after it."""
    project.params["tuned"]["t"]["tuning"] = TUNING | {"trials": 9, "epochs": 60, "pruner": "median"}
    project.write()
    project.repro("plan")
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    with start(project, killed) as process:
        try:
            for _ in range(1800):
                time.sleep(0.1)
                found = trials(journal(killed)) if (killed / ".store" / "optuna" / "journal.log").exists() else []
                if len(finished(found)) >= 2 and any(trial.state == TrialState.RUNNING for trial in found):
                    break
                assert process.poll() is None, process.communicate()[0]
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    printed = complete(start(project, killed))
    found = trials(journal(killed))
    assert finished(found) == Counter(range(9))
    assert 1 <= sum(trial.state == TrialState.FAIL for trial in found) <= 3
    assert printed.count("t trial ") < 9
    after = outputs(project)
    complete(start(project, whole, DISHARMONY_JOBS="1"))
    assert outputs(project) == after


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The address of a PostgreSQL server of its own, on loopback."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'disharmony[postgresql]'")
    places = [*Path("/usr/lib/postgresql").glob("*/bin"), Path(shutil.which("initdb") or "/none").parent]
    programs = next((place for place in places if (place / "initdb").exists()), None)
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    user = next((name for name in ("postgres", "nobody") if os.getuid() == 0), None)  # it refuses root
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    if user:
        shutil.chown(folder, user)

    def run(*command: str) -> None:
        subprocess.run(command, user=user, cwd=folder, check=True, capture_output=True, timeout=60)

    port = 20000 + os.getpid() % 20000
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} -c fsync=off"
    run(str(programs / "initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "tester", "--no-sync")
    control = (str(programs / "pg_ctl"), "-D", str(folder / "data"), "-w")
    try:
        run(*control, "-l", str(folder / "log"), "-o", options, "start")
        yield f"postgresql+psycopg://tester@127.0.0.1:{port}/postgres"
    finally:
        run(*control, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def test_two_processes_share_a_database(project: Project, postgresql: str, tmp_path: Path) -> None:
    """Broken: machines that share a storage would exceed the budget, miss it, or end with other values than one."""
    alone = outputs(project)
    homes = [tmp_path / "one", tmp_path / "other"]
    processes = [start(project, home, OPTUNA_STORAGE=postgresql, DISHARMONY_JOBS="2") for home in homes]
    for process in processes:
        complete(process)
    storage = RDBStorage(postgresql)
    assert len(optuna.get_all_study_names(storage)) == 1
    found = trials(storage)
    assert finished(found) == Counter(range(9))
    owners = {trial.user_attrs["owner"].rsplit(":", 1)[1] for trial in found if trial.state != TrialState.FAIL}
    assert owners == set(map(str, homes))
    assert outputs(project) == alone
    storage.remove_session()
    storage.engine.dispose()
