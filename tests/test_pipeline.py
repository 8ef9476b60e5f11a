"""The whole pipeline with the real DVC and a real MLflow store, in a copy of the project.

The tests of this file build on each other, in order: each changes params.yaml, or kills, and looks at
what ran and what came out.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helping import free_port
from mlflow import MlflowClient
from mlflow.entities import Run
from written import write_params

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parent.parent
BASE = {
    "study": "tiny",
    "dataset": "digits",
    "backbone": {"widths": [8, 8], "convs": [1, 1], "dense": [8]},
    "each": "conv bn act",
    "end": "pool",
    "head": "dense act",
    "optimizer": {"name": "adam", "lr": 0.01},
    "epochs": 2,
    "batch": 20,
    "trainer": {"accelerator": "cpu"},
    "seeds": [0],
}
UNLOGGED = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
"""A tracking server that nobody runs: logging is tested elsewhere, and takes longer than these rows."""


class Project:
    """A copy of the project with a small params.yaml of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / name).is_file() and not name.startswith(("tests/", "reports/")) and name != "dvc.lock":
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        self.params: dict[str, Any] = {
            "datasets": {"digits": {"source": "digits", "train_size": 60, "validation": 0.1}},
            "studies": {"tiny": {"title": "Tiny", "question": "?"}, "other": {"title": "Other", "question": "?"}},
            "rows": {name: BASE.copy() for name in ("a", "b")} | {"d": BASE | {"study": "other"}},
            "tuned": {},
            "sources": {},
            "bases": {},
            "claims": {},
        }
        self.write()
        self._git("init -q", "config user.email tester@localhost", "config user.name tester")
        self.commit("start")

    def _git(self, *commands: str) -> None:
        for command in commands:
            subprocess.run(["git", *command.split()], cwd=self.folder, check=True)

    def commit(self, message: str) -> None:
        """Commits all that git does not ignore."""
        self._git("add -A", f"commit -qm {message}")

    def write(self) -> None:
        write_params(self.folder / "params.yaml", self.params)

    def environment(self, **extra: str) -> dict[str, str]:
        # The project's own Python is named; the first on PATH is another one.
        return os.environ | {"DISHARMONY_PYTHON": sys.executable, "PATH": "/usr/bin:/bin"} | extra

    def run(self, *command: str, **extra: str) -> str:
        """What a command prints, stdout and stderr."""
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=self.folder, env=self.environment(**extra),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    def repro(self, *arguments: str, **extra: str) -> tuple[list[str], str]:
        """The stages that `dvc repro` ran, and all that it printed."""
        printed = self.run("dvc", "repro", *arguments, **extra)
        return re.findall(r"Running stage '(.+)'", printed), printed

    def outputs(self) -> dict[str, str]:
        files = [
            path
            for name in ("runs", "diagnosis", "reports", "data")
            for path in (self.folder / name).rglob("*")
            if path.is_file()
        ]
        return {
            str(path.relative_to(self.folder)): hashlib.md5(path.read_bytes()).hexdigest() for path in sorted(files)
        }

    def lock(self) -> str:
        return (self.folder / "dvc.lock").read_text()

    def client(self) -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.folder / '.mlflow' / 'mlflow.db'}")

    def mlflow_run(self, study: str, row: str) -> Run:
        """The only MLflow run of a row."""
        experiment = self.client().get_experiment_by_name(study)
        assert experiment is not None
        (found,) = self.client().search_runs([experiment.experiment_id], f"tags.row = '{row}'")
        return found

    def logged(self, client: MlflowClient | None = None) -> list[tuple[str, str, str, str]]:
        """Row, seed, status and key of every run of training that MLflow shows."""
        runs = self.trained(client or self.client())
        tags = [(run.data.tags, run.info.status) for run in runs]
        return sorted((tag["row"], tag["seed"], status, tag["key"]) for tag, status in tags)

    def trained(self, client: MlflowClient) -> list[Run]:
        """All runs of training that MLflow shows."""
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return list(client.search_runs(experiments, "tags.stage = 'train'", max_results=1000))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("project"))


def test_everything_runs_from_nothing(project: Project) -> None:
    """Broken: `dvc repro` on a fresh clone."""
    stages, printed = project.repro()
    trains = {f"train@{row}" for row in "abd"}
    after = {f"{stage}@{study}" for stage in ("diagnose", "report") for study in ("tiny", "other")}
    assert set(stages) == {"plan", "primer", "prepare@digits"} | trains | after
    assert "Warning" not in printed
    assert [(row, status) for row, _, status, _ in project.logged()] == [(row, "FINISHED") for row in "abd"]


def test_a_second_time_nothing_runs(project: Project) -> None:
    """Broken: an output would differ from what DVC recorded."""
    assert project.repro()[0] == []


def test_metrics_plots_and_parameters_are_dvcs(project: Project) -> None:
    """Broken: DVC's own comparisons would not know the results."""
    assert "test_accuracy" in project.run("dvc", "metrics", "show")
    assert "curves.csv" in project.run("dvc", "plots", "show", "--json")


def test_the_logged_model_predicts(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: the model in MLflow could not be loaded, or would not be the one that was tested."""
    import mlflow
    import torch
    from mlflow import pytorch
    from safetensors.torch import load_file

    from pipeline.images import prepared

    uri = f"sqlite:///{project.folder / '.mlflow' / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)  # MLflow sets it too, and would leave it to the tests that follow
    mlflow.set_tracking_uri(uri)
    found = project.mlflow_run("tiny", "a")
    model = pytorch.load_model(f"runs:/{found.info.run_id}/model")
    images, _ = prepared.test(project.folder / "data" / "digits")
    logits = load_file(project.folder / "runs" / "tiny" / "a" / "logits.safetensors")["seed-0"]
    with torch.inference_mode():
        torch.testing.assert_close(model(images.float()), logits)
    history = project.client().get_metric_history(found.info.run_id, "val_loss")
    assert [metric.step for metric in history] == [1, 2]
    assert found.data.params["optimizer.lr"] == "0.01"
    files = {artifact.path for artifact in project.client().list_artifacts(found.info.run_id)}
    assert files == {"curves.csv", "result.json", "confusion.html"}


def test_anyones_picture_is_classified(project: Project) -> None:
    """Broken: a network would say something else of a picture than it said of the same image in the test, or could not
    be found by its MLflow run."""
    from PIL import Image
    from safetensors.torch import load_file

    from pipeline.images import prepared

    images, _ = prepared.test_arrays(project.folder / "data" / "digits")
    Image.fromarray(images[0, 0]).save(project.folder / "picture.png")
    logits = load_file(project.folder / "runs" / "tiny" / "a" / "logits.safetensors")["seed-0"][0]
    found = project.mlflow_run("tiny", "a")
    command = ["pipeline/python", "-m", "pipeline.predict", found.info.run_id, "picture.png", "--json"]
    (entry,) = json.loads(subprocess.check_output(command, cwd=project.folder, env=project.environment()))
    expected = dict(zip("0123456789", logits.double().softmax(0).tolist(), strict=True))
    assert entry["probabilities"] == pytest.approx(expected, abs=1e-6)


def test_a_value_is_tried_beside_the_study(project: Project) -> None:
    """Broken: `make try` would end in a traceback, or change params.yaml, the study's outputs, or what DVC recorded."""
    before = (project.folder / "params.yaml").read_bytes(), project.outputs(), project.lock()
    printed = project.run("pipeline.whatif", "a", "optimizer.lr=0.02")
    assert "a as it is and with optimizer.lr=0.02; for each seed (0)" in printed
    assert "test accuracy, %" in printed
    assert before == ((project.folder / "params.yaml").read_bytes(), project.outputs(), project.lock())


def test_a_new_seed_trains_alone(project: Project) -> None:
    """Broken: adding seeds until a claim is decided would train everything again."""
    project.params["rows"]["b"]["seeds"] = [0, 1]
    project.write()
    stages, printed = project.repro(**UNLOGGED)
    assert stages == ["plan", "train@b", "diagnose@tiny", "report@tiny"]
    assert re.findall(r"^b seed (\d)", printed, re.M) == ["1"]
    assert "tiny: 2 runs diagnosed, 1 of them just now" in printed  # a and b are the same network, b with one more seed


def test_what_is_forced_is_done_again_with_the_same_bytes(project: Project) -> None:
    """Broken: a result would depend on the number of workers, or `-f` would pick up what the run store holds, and so
    prove nothing."""
    lock = project.lock()
    stages, printed = project.repro("-f", "-s", "train@b", "diagnose@tiny", DISHARMONY_JOBS="1")
    assert stages == ["train@b", "diagnose@tiny"]
    assert sorted(re.findall(r"^b seed (\d)", printed, re.M)) == ["0", "1"]
    assert "tiny: 2 runs diagnosed, 2 of them just now" in printed
    assert project.lock() == lock
    seen = [(row, seed) for row, seed, status, _ in project.logged() if row == "b" and status == "FINISHED"]
    assert seen == [("b", "0"), ("b", "1")]


def test_killed_twice_it_ends_with_the_same_bytes(project: Project) -> None:
    """Broken: a kill would lose work, change results, or leave runs in MLflow that never end."""
    project.params["rows"]["a"] |= {"epochs": 600, "seeds": [0, 1]}
    project.write()
    for _ in range(2):
        kill_while_training(project)
    assert any(status == "RUNNING" for _, _, status, _ in project.logged())
    project.repro()
    outputs, lock = project.outputs(), project.lock()
    assert {status for _, _, status, _ in project.logged()} == {"FINISHED"}
    forced, _ = project.repro("-f", "-s", "train@a", **UNLOGGED)
    assert forced == ["train@a"]
    assert project.outputs() == outputs
    assert project.lock() == lock


def kill_while_training(project: Project) -> None:
    """Starts a training and kills its process group in the middle: MLflow shows it, and a resume state is new."""
    store = project.folder / ".store" / "runs"
    before = {path: path.stat().st_mtime_ns for path in store.glob("*/resume.ckpt")}
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"], cwd=project.folder, env=project.environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        for _ in range(1200):
            time.sleep(0.1)
            now = {path: path.stat().st_mtime_ns for path in store.glob("*/resume.ckpt")}
            fresh = any(before.get(path) != stamp for path, stamp in now.items())
            if fresh and any(status == "RUNNING" for _, _, status, _ in project.logged()):
                return
            assert process.poll() is None, "the training was over before it could be killed"
        pytest.fail("no resume state was written")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Server:
    """An MLflow server that a test can end and start again.

    Args:
        project: whose environment it has.
        folder: of its database and artifacts.
    """

    def __init__(self, project: Project, folder: Path) -> None:
        self._port = free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        self._environment = project.environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        stores = ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--artifacts-destination"]
        self._command = [*command, "--workers", "1", *stores, str(folder / "artifacts")]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        for _ in range(600):
            time.sleep(0.1)
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
        pytest.fail("the server does not start")

    def kill(self) -> None:
        """Ends it without a warning."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None


@pytest.fixture
def server(project: Project, tmp_path: Path) -> Iterator[Server]:
    """An MLflow server that runs."""
    server = Server(project, tmp_path)
    server.start()
    yield server
    server.kill()


def test_a_run_whose_server_is_cut_is_logged_once_and_whole(project: Project, server: Server) -> None:
    """Broken: an edit would retrain rows that it does not touch; a tracking server that goes away would end a
    training, slow a report, or lose epochs; a run on two devices would be logged by each of them."""
    project.params["rows"]["b"] |= {"epochs": 150, "trainer": {"accelerator": "cpu", "devices": 2, "strategy": "ddp"}}
    project.write()
    client = MlflowClient(server.address)
    repro = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"], cwd=project.folder, text=True, start_new_session=True,
        env=project.environment(MLFLOW_TRACKING_URI=server.address), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        while not any("val_loss" in run.data.metrics for run in project.trained(client)):
            assert repro.poll() is None, "the training was over before its server could be cut"
            time.sleep(0.1)
        server.kill()
        printed = repro.communicate()[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(repro.pid, signal.SIGKILL)
    assert re.findall(r"Running stage '(.+)'", printed) == ["plan", "train@b", "diagnose@tiny", "report@tiny"]
    assert printed.count(f"not logged to {server.address}") == 2  # the runs, and the report
    assert "b: 2 of 2 runs finished" in printed
    server.start()
    later = project.run("pipeline.log", MLFLOW_TRACKING_URI=server.address)
    assert "2 runs and 1 reports logged" in later
    runs = {run.data.tags["seed"]: run for run in project.trained(client)}
    assert project.logged(client) == sorted(("b", seed, "FINISHED", runs[seed].data.tags["key"]) for seed in "01")
    for run in runs.values():
        history = client.get_metric_history(run.info.run_id, "val_loss")
        assert sorted(metric.step for metric in history) == list(range(1, 151))
        assert {"test_accuracy", "seconds", "images_per_second"} <= run.data.metrics.keys()
        assert run.data.tags["threads"] == "2"
        assert run.data.params["trainer.strategy"] == "ddp"
    assert "0 runs and 0 reports logged" in project.run("pipeline.log", MLFLOW_TRACKING_URI=server.address)


def test_what_trains_nothing_changes_the_report_alone(project: Project) -> None:
    """Broken: correcting a published number would train, a removed row would haunt its report, or other studies would
    be written again."""
    assert "`b`" in (project.folder / "reports" / "tiny.md").read_text()
    del project.params["rows"]["b"]
    project.params["rows"]["a"]["published"] = {"accuracy": 0.5, "source": "somewhere"}
    project.write()
    assert project.repro(**UNLOGGED)[0] == ["plan", "diagnose@tiny", "report@tiny"]
    written = (project.folder / "reports" / "tiny.md").read_text()
    assert "`b`" not in written and "somewhere" in written


def test_a_reviewer_gets_the_committed_bytes(project: Project) -> None:
    """Broken: `make verify` would pick results up and not train them, call the same bytes different, or leave its clone
    behind."""
    project.params["rows"]["d"]["seeds"] = [0, 1]
    project.write()
    project.repro("report@other", **UNLOGGED)
    project.commit("results")
    before = project.logged()
    project.run("pipeline.verify", "other", "--seeds", "1", "--keep")
    printed = project.run("pipeline.verify", "other")
    assert "1 of 1 rows to train" in printed
    assert re.search(r"^d +identical ", printed, re.M)
    assert "reports/other.md: the same bytes" in printed
    part = project.run("pipeline.verify", "other", "--seeds", "1")
    assert "Going on in .verify/" in part and "0 of 1 rows to train" in part
    assert re.search(r"^d +equal +all numbers to the last digit$", part, re.M)
    assert "Compared: 1 of the study's runs" in part
    assert project.logged() == before
    assert list((project.folder / ".verify").iterdir()) == []


def test_a_queued_experiment_lands_in_the_same_stores(project: Project) -> None:
    """Broken: `dvc exp run --queue` would train in a copy whose runs nobody finds again."""
    before = len(project.logged())
    project.run("dvc", "exp", "run", "--queue", "-S", "rows.d.optimizer.lr=0.02", "report@other")
    # DVC starts the worker of its queue by the name `dvc`.
    project.run("dvc", "exp", "run", "--run-all", PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin")
    runs = project.logged()
    assert len(runs) == before + 2
    assert {status for _, _, status, _ in runs} == {"FINISHED"}
