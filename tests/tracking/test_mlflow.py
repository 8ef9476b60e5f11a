"""A study as MLflow shows it: in a real store, a real server, a real browser, and served."""

import contextlib
import csv
import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch
from helping import free_port
from mlflow import MlflowClient, artifacts
from mlflow.entities import LoggedModelStatus, Run
from playwright.sync_api import Error, Page, expect, sync_playwright
from safetensors.torch import load_file

from pipeline import paths, plan, serve, ui
from pipeline.errors import UserError
from pipeline.findings import measured
from pipeline.images import prepared
from pipeline.log import log_pending
from pipeline.params import planned
from pipeline.params.rows import Row
from pipeline.params.studies import Params
from pipeline.running import cost, logbook, store
from pipeline.running.logbook import LoggedRun
from pipeline.text import redact
from pipeline.tracking import batches, champion, group_colours, labels, mlflow_log, registry, tracker, views
from pipeline.tracking.mlflow_log import MlflowLog, Work, _Going
from pipeline.training import results, run

SENTENCES = {
    "plain": {"each": "conv act", "end": "pool", "head": "dense act"},
    "bn": {"each": "conv bn act", "end": "pool", "head": "dense bn act"},
    "both": {"each": "conv bn act", "end": "pool drop", "head": "dense bn act drop"},
}


class Study:
    """A trained and reported study in a temporary project, and the log of it.

    Args:
        root: of the project; `paths` point into it.
        rows: of the study `s`.
    """

    def __init__(self, root: Path, rows: dict[str, Row]) -> None:
        self.root, self.rows = root, rows
        self.runs: list[LoggedRun] = []
        for name, row in rows.items():
            self._train(name, row)
        self.plan(rows)
        self.log = MlflowLog()

    def _train(self, name: str, row: Row) -> None:
        digests = {"data": prepared.digest(paths.prepared(row.dataset)), "code": "c"}
        folders = {}
        for seed in row.seeds:
            key = store.run_key(store.run_spec(row, seed, **digests))
            logged = LoggedRun("s", name, row, seed, key, **digests)
            reports: list[dict[str, Any]] = []
            run.train(row, seed, logged.prepared, logged.folder, reports.append)
            cost.write(logged.folder, row, reports, jobs=1)
            self.runs.append(logged)
            folders[seed] = logged.folder
        spec = digests | {"row": row.model_dump(exclude={"published"})}
        results.write(spec, folders, paths.prepared(row.dataset), paths.RUNS / "s" / name, self.root / "draft")

    def plan(self, rows: dict[str, Row]) -> None:
        """Plans the study with some of its rows, and writes a report of it."""
        about = {"title": "Three rows", "question": "Which is best?"}
        dataset = {"source": "folder", "path": "stripes"}
        content = {"datasets": {"stripes": dataset}, "studies": {"s": about}, "rows": dict(rows)}
        plan.write_plan(Params.model_validate(content), paths.PLAN)
        (paths.REPORTS / "s").mkdir(parents=True, exist_ok=True)
        (paths.REPORTS / "s" / "runs.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
        (paths.REPORTS / "s.md").write_text(f"# Three rows\n\n![Runs](s/runs.svg)\n\nOf {', '.join(rows)}.\n")
        (paths.REPORTS / "s.html").write_text("<!doctype html><title>Three rows</title>")

    @property
    def experiment(self) -> str:
        """The id of its experiment."""
        found = self.log.client.get_experiment_by_name("s")
        assert found is not None
        return found.experiment_id

    def logged(self, query: str) -> list[Run]:
        """MLflow runs of the study."""
        return list(self.log.client.search_runs([self.experiment], query))

    def best(self) -> champion.Champion:
        """The run that its outputs say is best."""
        (group,) = measured.load(planned.read_study("s"), paths.RUNS / "s")
        found = champion.champion(group)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def study(data: Path, make_row: Callable[..., Row], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """Three rows of two seeds, logged with their report."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(data, root / "data" / "stripes")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PLAN", "DATA", "RUNS", "REPORTS"):
            patch.setattr(paths, name, root / name.lower())
        patch.setattr(paths, "STORE", root / ".store")
        patch.setattr(paths, "MLFLOW", root / ".mlflow")
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
        rows = {name: make_row(**words, epochs=3, seeds=[0, 1]) for name, words in SENTENCES.items()}
        made = Study(root, rows)
        for logged in made.runs:
            made.log.end(logged, tracker.now())
        made.log.summarize("s")
        yield made


def test_runs_compare_without_set_up(study: Study) -> None:
    """Broken: rows would not overlay in one chart, tell apart by name, or group; finals would be drawn as curves."""
    runs = {found.data.tags["mlflow.runName"]: found for found in study.logged("tags.stage = 'train'")}
    assert sorted(runs) == sorted(f"{name} seed {seed}" for name in SENTENCES for seed in (0, 1))
    assert len({frozenset(found.data.metrics) for found in runs.values()}) == 1
    assert len({frozenset(found.data.params) for found in runs.values()}) == 1
    both = runs["both seed 1"]
    steps = {
        name: [metric.step for metric in study.log.client.get_metric_history(both.info.run_id, name)]
        for name in ("val_accuracy", "val_loss", "val_auc", "epoch_seconds", "test_accuracy", "images_per_second")
    }
    assert steps.pop("test_accuracy") == steps.pop("images_per_second") == [0]
    assert all(found == [1, 2, 3] for found in steps.values())
    tags = both.data.tags
    assert [tags[key] for key in ("row", "seed", "stage", "dataset", "norm", "dropout", "current", "threads")] == [
        "both", "1", "train", "stripes", "bn", "drop", "yes", "1",
    ]  # fmt: skip
    assert both.data.params["backbone.widths"] == "4 8"
    assert "`dense bn act drop`" in tags["mlflow.note.content"]
    assert len({found.data.tags["mlflow.runColor"] for found in runs.values()}) == len(SENTENCES)


def test_all_runs_are_found_page_by_page(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: of a study of more than a thousand runs or trials, those beyond would stay as they are for ever."""
    query = "tags.stage = 'train'"
    monkeypatch.setattr(batches, "MOST", 4)
    found = batches.search(study.log.client, study.experiment, query)
    assert len({one.info.run_id for one in found}) == len(found) == 2 * len(SENTENCES)


def test_an_experiment_explains_itself(study: Study) -> None:
    """Broken: who opens the study would find neither its question, answer and views nor what they compare."""
    tags = study.log.client.get_experiment(study.experiment).tags
    for words in ("Three rows", "Which is best?", "**Answer.**", "**Champion.**", views.link(study.experiment)):
        assert words in tags["mlflow.note.content"]
    view = json.loads(json.loads(tags[views.TAG + views.ROWS])["state"])
    differing = [column for column in view["selectedColumns"] if column.startswith("params")]
    assert differing == ["params.`each`", "params.`end`", "params.`head`"]


def test_a_second_report_changes_nothing(study: Study) -> None:
    """Broken: every report would add a summary or a version of the same network."""
    client, before = study.log.client, study.log.client.get_experiment(study.experiment).tags
    study.log.summarize("s")
    (found,) = study.logged("tags.stage = 'report'")
    assert found.info.status == "FINISHED"
    assert "Of plain, bn, both." in found.data.tags["mlflow.note.content"]
    attached = {item.path for folder in (None, "report", "report/s") for item in _artifacts(client, found, folder)}
    assert attached >= {"cost.md", "report/s.md", "report/s.html", "report/s/runs.svg"}
    assert client.get_experiment(study.experiment).tags == before
    assert [int(version.version) for version in client.search_model_versions("name = 's'")] == [1]


def _artifacts(client: MlflowClient, found: Run, folder: str | None) -> list[Any]:
    return client.list_artifacts(found.info.run_id, folder)


def test_the_champion_is_loaded_by_name(study: Study, tmp_path: Path) -> None:
    """Broken: the registered network would be another than the one with the best validation images, or none where
    results came from elsewhere and no run was logged."""
    from mlflow import pytorch

    best = study.best()
    images, _ = prepared.test(paths.prepared("stripes"))
    logits = load_file(paths.RUNS / "s" / best.result.name / "logits.safetensors")[f"seed-{best.run.seed}"]

    def check() -> None:
        with torch.inference_mode():
            torch.testing.assert_close(pytorch.load_model("models:/s@champion")(images.float()), logits)

    check()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
        patch.setattr(paths, "MLFLOW", tmp_path)
        MlflowLog().summarize("s")
        check()
    mlflow_log.connect()  # MLflow keeps the address


def test_the_network_of_every_run_is_loaded(study: Study) -> None:
    """Broken: a network that takes the graph of another seed would keep its weights, pixel statistics or name."""
    from mlflow import pytorch
    from mlflow.models import Model

    images, _ = prepared.test(paths.prepared("stripes"))
    shared = []
    for logged in study.runs:
        (found,) = study.logged(f"tags.key = '{logged.key}'")
        logits = load_file(logged.folder / "logits.safetensors")["logits"]
        with torch.inference_mode():
            torch.testing.assert_close(pytorch.load_model(f"runs:/{found.info.run_id}/model")(images.float()), logits)
        about = Model.load(f"runs:/{found.info.run_id}/model").to_dict()
        assert about["run_id"] == found.info.run_id and about["model_id"] in about["artifact_path"]
        shared.append({name: value for name, value in about.items() if name not in registry.OWN})
    assert all(len(one) > 5 and one.keys() == shared[0].keys() for one in shared)


def test_what_a_study_stands_on_follows_its_plan(study: Study) -> None:
    """Broken: a removed row would stay in the views and could stay champion; one that returns would be a new
    version."""
    best, seen = study.best(), []
    for rows in ({name: row for name, row in study.rows.items() if name != best.result.name}, study.rows):
        study.plan(rows)
        study.log.summarize("s")
        version = study.log.client.get_model_version_by_alias("s", "champion")
        current = {found.data.tags["row"] for found in study.logged("tags.current = 'yes'")}
        seen.append((int(version.version), version.tags["row"] == best.result.name, current == set(rows)))
    assert seen == [(2, False, True), (1, True, True)]
    assert len(study.log.client.search_model_versions("name = 's'")) == 2


def test_what_training_cost_is_a_table(study: Study) -> None:
    """Broken: nobody could tell what a row costs, or on what machine."""
    (found,) = study.logged("tags.stage = 'report'")
    table = artifacts.load_text(f"{found.info.artifact_uri}/cost.md")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "| `" in line]
    assert {line[0] for line in lines} == {f"`{name}`" for name in SENTENCES}
    for line in lines:
        machine, runs, seconds, speed = line[1], line[3], float(line[4]), float(line[5].replace(",", ""))
        assert machine.endswith(f"; torch {torch.__version__}")
        assert runs == "2"
        assert seconds > 0
        assert speed > 0


def test_a_log_that_was_cut_at_the_end_is_completed(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: what was sent before a cut would be there twice, or a run would stay unfinished."""
    logged = study.runs[0]
    (before,) = study.logged(f"tags.key = '{logged.key}'")
    log = MlflowLog()
    log.client.update_run(before.info.run_id, status="RUNNING")
    logged.mark("pending")
    log.end(logged, tracker.now())
    (after,) = study.logged(f"tags.key = '{logged.key}'")
    assert (after.info.run_id, after.info.status) == (before.info.run_id, "FINISHED")
    assert after.data.metrics == before.data.metrics
    found = log.client.search_logged_models([study.experiment], f"source_run_id = '{before.info.run_id}'")
    assert len(found) == 1


def test_checkouts_that_share_a_server_keep_their_own_runs(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a machine would go on with a run that another is logging, or delete it; or a seed would count twice."""
    logged, client = study.runs[0], study.log.client
    query = f"tags.key = '{logged.key}'"
    (before,) = study.logged(query)
    client.update_run(before.info.run_id, status="RUNNING")
    with monkeypatch.context() as patch:
        patch.setattr(labels, "home", lambda: "elsewhere")
        logged.mark("pending")
        MlflowLog().end(logged, tracker.now())
    status = {found.info.run_id: found.info.status for found in study.logged(query)}
    assert (len(status), status.pop(before.info.run_id)) == (2, "RUNNING")
    client.set_terminated(before.info.run_id, "FINISHED")
    study.log.summarize("s")
    assert len(study.logged(f"{query} and tags.current = 'yes'")) == 1
    client.delete_run(*status)
    study.log.summarize("s")


def test_a_server_that_is_away_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: who serves a network while the tracking server is away would read a traceback."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"^http://127.0.0.1:\d+: "):
        serve.check_champion("s")


def test_a_store_that_cannot_be_read_is_a_line(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: `make ui` and `serve` would end in a traceback of a hundred lines."""
    (tmp_path / "mlflow.db").write_bytes(b"no database at all" * 1000)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setattr("sys.argv", ["ui", "--port", str(free_port())])
    for start in (ui.main, lambda: serve.check_champion("s")):
        with pytest.raises((UserError, SystemExit), match=r"sqlite:///.*mlflow\.db: ") as refused:
            start()
        assert "\n" not in str(refused.value)
    monkeypatch.undo()
    mlflow_log.connect()  # MLflow keeps the address


def test_a_store_that_is_gone_is_filled_again(study: Study, elsewhere: str) -> None:
    """Broken: runs that a lost or emptied store held would never be shown again."""
    logged = study.runs[0]
    assert logged in logbook.unlogged([])
    Work().do("it", "end", logged, tracker.now())
    mlflow_log.connect().delete_experiment("1")
    assert logged not in logbook.unlogged([])
    logbook.forget()
    assert logged in logbook.unlogged([])


def test_a_row_that_trains_is_logged_by_its_own_stage(study: Study) -> None:
    """Broken: two processes would log the same runs at once."""
    logged = study.runs[0]
    logged.mark("pending")
    assert logged in logbook.unlogged([])
    with store.Lock(store.row_lock("s", logged.name), wait=False):
        assert logbook.unlogged([]) == []
        assert logged in logbook.unlogged([logged])
    logged.mark("logged")


@pytest.fixture
def elsewhere(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty tracking store, where two runs of the study are to be logged, one of them of images that
    are not here any more."""
    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setattr(paths, "MLFLOW", tmp_path)
    good, *_, other = study.runs
    for one in (dataclasses.replace(other, data="0" * 32), good):
        one.mark("pending")
    yield address
    monkeypatch.undo()
    mlflow_log.connect()  # MLflow keeps the address


def test_what_cannot_be_logged_costs_itself_alone(study: Study, elsewhere: str) -> None:
    """Broken: one run whose images were prepared anew would keep every other from the log for good, or be logged with
    what it was not trained on."""
    problem = r"^both seed 1: .*not the images that it was trained on; .*; 1 runs and 0 reports logged to sqlite"
    for pending, counted in (2, "1 runs"), (1, "0 runs"):
        assert len(logbook.unlogged([])) == pending
        with pytest.raises(UserError, match=problem.replace("1 runs", counted)):
            log_pending()
    (found,) = MlflowClient(elsewhere).search_runs(["1"])
    assert found.data.tags["mlflow.runName"] == study.runs[0].title


def test_what_a_server_does_not_take_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: an epoch during which a server was busy would be missing of its run for ever."""
    going = _Going("id", None, [], set())
    for epoch in (1, 2):
        going.take({"epoch": epoch, "lr": 0.1}, 0)
        monkeypatch.setattr(batches, "log", refuse)
        with pytest.raises(ConnectionError):
            going.send(MlflowClient())
    sent: list[int] = []
    monkeypatch.setattr(batches, "log", lambda client, run, metrics, tags: sent.extend(one.step for one in metrics))
    going.send(MlflowClient())
    going.send(MlflowClient())
    assert sent == [1, 2]


def refuse(*_: object, **__: object) -> None:
    raise ConnectionError


def test_a_store_that_is_back_is_logged_to(study: Study, elsewhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a server that is away for a minute would show nothing more of a launch of days."""
    monkeypatch.setattr(mlflow_log, "AGAIN_SECONDS", 0.0)
    work, logged = Work(), study.runs[0]
    with monkeypatch.context() as patch:
        for method in ("ask", "begin"):
            patch.setattr(MlflowLog, method, refuse)
        assert not work.do("it", "begin", logged)
        assert not work.do("other", "begin", study.runs[1])
    assert work.do("it", "epoch", logged, {"epoch": 1, "lr": 0.1}, tracker.now())
    assert work.problem == "ConnectionError"
    assert work.do("it", "end", logged, tracker.now())
    assert work.do("other", "end", study.runs[1], tracker.now())
    assert work.problem is None
    assert {one.info.status for one in MlflowClient(elsewhere).search_runs(["1"])} == {"FINISHED"}


def test_two_processes_log_a_run_once(study: Study, elsewhere: str) -> None:
    """Broken: who logs what is pending, while a stage does, would have each run twice for a while, or for good."""
    for work in (Work(), Work()):
        assert work.do("it", "end", study.runs[0], tracker.now())
    (found,) = MlflowClient(elsewhere).search_runs(["1"])
    assert found.info.status == "FINISHED"


def test_a_store_that_is_away_is_asked_once(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: every run of a study would wait for a server that is away."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    work = Work()
    assert not work.do("one", "end", study.runs[0], tracker.now())
    assert work.away
    monkeypatch.setattr(MlflowLog, "end", lambda *_: pytest.fail("it was asked again"))
    assert not work.do("other", "end", study.runs[1], tracker.now())
    assert "127.0.0.1" in (work.problem or "")
    monkeypatch.undo()
    mlflow_log.connect()


def test_a_machine_may_change_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a laptop in another network would log its interrupted run a second time; machines that share a server
    would take over each other's."""
    for address, names in ("sqlite:///mlflow.db", 1), ("http://localhost:5000", 2):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        seen = set()
        for name in ("home", "office"):
            monkeypatch.setattr(socket, "gethostname", lambda name=name: name)
            seen.add(labels.home())
        assert len(seen) == names


def test_a_relative_store_lies_in_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a queued experiment would log to a file of its temporary copy, which is deleted."""
    monkeypatch.setattr(paths, "HOME", tmp_path)
    for given, absolute in ("sqlite:///mlflow.db", tmp_path / "mlflow.db"), ("sqlite:////data/m.db", "/data/m.db"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
        assert logbook.tracking_uri() == f"sqlite:///{absolute}"


def test_an_address_with_a_slash_in_its_password_ends_no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: the report stage would end in a traceback that shows the password."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:p/w@host/db")
    assert tracker._server() is None


@pytest.mark.parametrize("scheme", ["http", "postgresql+psycopg"])
def test_a_report_does_not_wait_for_a_server_that_is_away(
    scheme: str, study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: the report stage would wait for MLflow, fail with it, or forget to log."""
    address = f"{scheme}://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setattr(tracker.Tracker, "_send", lambda *_: pytest.fail("a process was started"))
    with tracker.Tracker() as log:
        log.summarize("s")
    assert f"not logged to {address}" in capsys.readouterr().err
    assert logbook.unlogged_studies() == ["s"]
    monkeypatch.undo()
    assert logbook.unlogged_studies() == []


def test_a_password_is_neither_shown_nor_kept(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: whoever sees a log, or gets a copy of the run store, could write to somebody's tracking server."""
    port, logged = free_port(), study.runs[0]
    for password in ("s3cr:t", "0ther"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{password}@127.0.0.1:{port}")
        assert logged not in logbook.unlogged([])  # what is logged to one of two stores is not to the other
        logged.mark("pending")
        assert logged in logbook.unlogged([])
        with tracker.Tracker() as log:
            log.summarize("s")
    said = capsys.readouterr().err
    assert said.count(f"not logged to http://me:***@127.0.0.1:{port}") == 2
    kept = "".join(path.read_text() for path in paths.STORE.rglob("*.json"))
    assert kept.count(f"http://me:***@127.0.0.1:{port}#") == 4
    assert not [secret for secret in ("s3cr", "0ther") if secret in said + kept]


DRIPPING = """
import os, signal, socket, sys, threading, time
from pathlib import Path

connected = threading.Event()

def drip(connection):
    connected.set()
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 1000000\\r\\n\\r\\n")
    while True:
        time.sleep(0.2)
        connection.sendall(b" ")

def accept(listening):
    while True:
        threading.Thread(target=drip, args=(listening.accept()[0],), daemon=True).start()

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background may ignore it
    listening = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept, args=(listening,), daemon=True).start()
    os.environ["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{listening.getsockname()[1]}"
    from pipeline.params.rows import Row
    from pipeline.running.logbook import LoggedRun
    from pipeline.tracking import tracker

    tracker.WAIT_SECONDS = float(sys.argv[2])
    run = LoggedRun("s", "r", Row.model_validate_json(sys.argv[1]), 0, "key", "data", "code")
    with tracker.Tracker() as log:
        log.begin(run)
        connected.wait(120)
        for epoch in range(2000):  # much more than a pipe holds
            log.epoch(run, {"epoch": epoch, "val_loss": 0.5})
"""


def test_a_stage_does_not_wait_for_a_server_that_drips(make_row: Callable[..., Row], tmp_path: Path) -> None:
    """Broken: a server that answers every request with a byte now and then would keep a stage waiting for ever, while
    it trains or at its end."""
    script = tmp_path / "script.py"
    script.write_text(DRIPPING)
    environment = os.environ | {"DVC_ROOT": str(tmp_path), "PYTHONPATH": str(paths.ROOT)}
    row = make_row().model_dump_json()
    command = [sys.executable, script, row, "0.5"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert re.search(r"not logged to http://127.0.0.1:\d+: its server took more than 0.5 s", done.stderr)


def test_who_does_not_want_to_wait_for_a_server_need_not(make_row: Callable[..., Row], tmp_path: Path) -> None:
    """Broken: Ctrl-C would be ignored as long as a slow server takes, or leave the process that logs behind."""
    script = tmp_path / "script.py"
    script.write_text(DRIPPING)
    environment = os.environ | {"DVC_ROOT": str(tmp_path), "PYTHONPATH": str(paths.ROOT)}
    stage = subprocess.Popen(
        [sys.executable, script, make_row().model_dump_json(), "100000"],
        env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert stage.stderr
    while "logging to MLflow goes on" not in stage.stderr.readline():
        assert stage.poll() is None
    os.killpg(stage.pid, signal.SIGINT)  # as a terminal does
    try:
        stage.communicate(timeout=300)
        assert stage.returncode
        with contextlib.suppress(ProcessLookupError):
            for _ in range(600):  # the server of workers follows
                os.killpg(stage.pid, 0)
                time.sleep(0.1)
            pytest.fail("a process was left behind")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(stage.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql+psycopg://me:p@ss@host/db failed", "postgresql+psycopg://me:***@host/db failed"),
        ("https://token@host:5000/", "https://***@host:5000/"),
        ("mysql://host/db?user=me&password=abc&ssl=1", "mysql://host/db?user=me&password=***&ssl=1"),
        ("sqlite:////home/me/.mlflow/mlflow.db", "sqlite:////home/me/.mlflow/mlflow.db"),
        ("postgresql://me:p/w#1@host/db failed", "postgresql://me:***@host/db failed"),
        ("http://host:5000/api and me@home", "http://host:5000/api and me@home"),
    ],
)
def test_addresses_lose_their_passwords(text: str, shown: str) -> None:
    """Broken: a message of a library's could hold a password."""
    assert redact(text) == shown


@pytest.fixture(scope="module")
def served(study: Study) -> Iterator[tuple[str, str]]:
    """Addresses of the MLflow server and of the served champion, started side by side."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",  # as `make ui` says; the UI would ask other addresses
    }
    commands = {
        free_port(): ["server", "--workers", "1", "--backend-store-uri", os.environ["MLFLOW_TRACKING_URI"]],
        free_port(): ["models", "serve", "-m", "models:/s@champion", "--env-manager", "local"],
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command, "--host", "127.0.0.1", "--port", str(port)],
            env=environment, cwd=study.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for port, command in commands.items()
    ]  # fmt: skip
    try:
        for port in commands:
            for _ in range(1200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            else:
                pytest.fail(f"mlflow {commands[port][0]} does not start")
        server, model = (f"http://127.0.0.1:{port}" for port in commands)
        yield server, model
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_a_run_needs_ten_requests_and_one_a_file(
    study: Study, served: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: on a server that takes a second a request, a stage of short runs would log longer than it trains; or what
    is saved would be missing from the run or its model."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served[0])
    asked: list[str] = []
    send = requests.Session.send

    def counted(session: requests.Session, request: requests.PreparedRequest, **how: Any) -> requests.Response:
        asked.append(f"{request.method} {request.path_url.partition('?')[0]}")
        return send(session, request, **how)

    monkeypatch.setattr(mlflow_log, "FLUSH_SECONDS", 100)  # short, however slow this machine is
    log, logged = MlflowLog(), dataclasses.replace(study.runs[0], study="elsewhere")
    log.sweep("elsewhere", logged.name, set())  # makes the experiment
    monkeypatch.setattr(requests.Session, "send", counted)
    log.begin(logged)
    with (logged.folder / "curves.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            log.epoch(logged, line, tracker.now())
    log.end(logged, tracker.now())
    files = [request for request in asked if "/mlflow-artifacts/" in request]
    assert len(files) == 3 + 8  # of the run and of its model
    assert len(asked) - len(files) <= 10, asked

    experiment = log.client.get_experiment_by_name("elsewhere")
    assert experiment is not None
    (there,) = log.client.search_runs([experiment.experiment_id])
    (here,) = study.logged(f"tags.key = '{logged.key}' and tags.row = '{logged.name}'")
    assert (there.data.metrics, there.data.params) == (here.data.metrics, here.data.params)
    assert there.info.status == "FINISHED"
    (model,) = log.client.search_logged_models([experiment.experiment_id])
    finals = {name for name in here.data.metrics if name.startswith(("test_", "final_"))}
    assert finals <= {metric.key for metric in model.metrics or []}
    assert (model.params, model.status) == (here.data.params, LoggedModelStatus.READY)


def _ask(address: str, body: str) -> Any:
    request = urllib.request.Request(
        f"{address}/invocations", body.encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["predictions"]


def test_the_served_champion_names_classes(study: Study, served: tuple[str, str]) -> None:
    """Broken: a request with test images would not be answered with the probabilities that were measured."""
    best = study.best()
    images, _ = prepared.test(paths.prepared("stripes"))
    answers = _ask(served[1], json.dumps({"inputs": images.tolist()}))
    logits = load_file(paths.RUNS / "s" / best.result.name / "logits.safetensors")[f"seed-{best.run.seed}"]
    assert [list(answer) for answer in answers] == [["top", "middle", "bottom"]] * len(images)
    np.testing.assert_allclose([list(answer.values()) for answer in answers], logits.softmax(1), atol=1e-5)


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of Chromium, the system's or Playwright's own, that asks nobody but this machine."""
    with sync_playwright() as playwright:
        try:
            chromium = shutil.which("chromium") or shutil.which("google-chrome")
            browser = playwright.chromium.launch(executable_path=chromium)
        except Error as error:
            pytest.skip(f"no Chromium: {error.message.splitlines()[0]}")
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        # Its panel would cover a third of the page once.
        page.add_init_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        yield page
        browser.close()
        assert [url for url in asked if not re.match(r"http://127\.0\.0\.1:|data:|blob:", url)] == []


def test_rows_overlay_in_the_browser(study: Study, served: tuple[str, str], page: Page) -> None:
    """Broken: who follows the link would not see accuracy, loss and AUC of the rows in one chart each."""
    page.goto(f"{served[0]}/{views.link(study.experiment)}")
    expect(page.get_by_test_id("saved-views-trigger")).to_have_text("Rows: means over seeds")
    for row in SENTENCES:
        expect(page.get_by_text(f"Group: {row}", exact=True)).to_be_visible()
    for metric in ("val_accuracy", "val_loss", "val_auc"):
        expect(page.get_by_text(metric, exact=True)).to_be_visible()
    page.wait_for_function(
        # The first three charts hold a line per row from epoch 1 to 3.
        """rows => [...document.querySelectorAll('.js-plotly-plot')].slice(0, 3).filter(chart =>
            chart.data.filter(line => line.x.join() === '1,2,3').length >= rows).length === 3""",
        arg=len(SENTENCES),
    )
    drawn = page.evaluate("JSON.stringify(document.querySelector('.js-plotly-plot').data)")
    tag = group_colours.tag(SENTENCES)
    assert all(group_colours.colour(tag, row) in drawn for row in SENTENCES)


def test_runs_of_three_rows_compare_in_the_browser(study: Study, served: tuple[str, str], page: Page) -> None:
    """Broken: three runs could not be ticked and compared."""
    page.goto(f"{served[0]}/{views.link(study.experiment, views.RUNS).replace('&compareRunsMode=CHART', '')}")
    for name in SENTENCES:
        line = page.locator(".ag-row").filter(has=page.get_by_role("link", name=f"{name} seed 0", exact=True)).first
        identity = line.get_attribute("row-id")
        page.locator(f'.ag-row[row-id="{identity}"] input[type=checkbox]').first.check()
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_role("heading", name="Comparing 3 Runs from 1 Experiment")).to_be_visible()
    expect(page.locator(".js-plotly-plot").get_by_text("val_accuracy")).to_be_visible()
    for name in SENTENCES:
        expect(page.get_by_text(f"{name} seed 0", exact=True)).to_be_visible()
