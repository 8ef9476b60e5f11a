"""The Makefile where people run it: in a folder with spaces, beside other programs, without git, without Python."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helping import free_port
from test_pipeline import ROOT, Project

from pipeline import serve

pytestmark = pytest.mark.integration

LAST_SECONDS = 180
"""A server that does not answer after this time, on a busy machine, does not answer."""


@pytest.fixture(autouse=True, scope="module")
def outermost() -> Iterator[None]:
    """`make test` tells the makes that it starts what it was told itself."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"):
            patch.delenv(name, raising=False)
        yield


def make(*words: str) -> list[str]:
    """The command line of a target, with the environment that runs the tests."""
    return ["make", "-o", ".venv/.installed", *words]


def refused(project: Project, *words: str) -> str:
    """What a target says that ends with an error, but for what `make` adds."""
    done = subprocess.run(
        make(*words), cwd=project.folder, env=project.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode != 0, done.stdout
    said = done.stdout + done.stderr
    return "\n".join(line for line in said.splitlines() if not line.startswith("make: "))


@contextmanager
def running(project: Project, *words: str) -> Iterator[None]:
    """A target that goes on until the block is left."""
    process = subprocess.Popen(
        make(*words), cwd=project.folder, env=project.environment(), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answer(address: str, body: bytes | None = None) -> bytes:
    """What a server answers as soon as it does."""
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"} if body else {})
    deadline = time.monotonic() + LAST_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as found:
                content: bytes = found.read()
                return content
        except urllib.error.URLError as error:
            assert not isinstance(error, urllib.error.HTTPError), error
            assert time.monotonic() < deadline, f"{address} does not answer"
            time.sleep(0.2)


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@pytest.fixture(scope="module")
def project(outermost: None, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A launched study in a folder with spaces."""
    folder = tmp_path_factory.mktemp("somebody") / "my networks"
    folder.mkdir()
    (folder / ".venv").symlink_to(sys.prefix)
    project = Project(folder)
    del project.params["rows"]["b"], project.params["rows"]["d"], project.params["studies"]["other"]
    project.write()
    subprocess.run(make("launch", "STUDY=tiny"), cwd=folder, env=project.environment(), check=True)
    return project


def test_the_ui_opens_in_a_folder_with_spaces(project: Project) -> None:
    """Broken: who keeps the project under a name of two words would see no run."""
    port = str(free_port())
    with running(project, "ui", f"PORT={port}"):
        assert b"<title>MLflow" in answer(f"http://127.0.0.1:{port}/")
        body = json.dumps({"experiment_ids": ["1"]}).encode()
        runs = json.loads(answer(f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/search", body))["runs"]
        assert "a seed 0" in [run["info"]["run_name"] for run in runs]


def test_the_champion_answers_in_a_folder_with_spaces(project: Project) -> None:
    """Broken: MLflow would not find its own server, or not the network."""
    port = str(free_port())
    with running(project, "serve", "STUDY=tiny", f"PORT={port}"):
        image = [[[[0.0] * 8] * 8]]
        said = json.loads(answer(f"http://127.0.0.1:{port}/invocations", json.dumps({"inputs": image}).encode()))
    assert sum(said["predictions"][0].values()) == pytest.approx(1, abs=1e-5)


def test_a_port_that_is_taken_is_said_in_a_line(project: Project) -> None:
    """Broken: where macOS listens on 5000, a link would be printed that shows something else, and then an error."""
    with listening() as taken:
        port = taken.getsockname()[1]
        said = refused(project, "ui", f"PORT={port}")
    start = f"error: port {port}: somebody listens there already; name another, as in: make ui PORT="
    assert said.startswith(start)
    assert said.count("\n") == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", int(said.removeprefix(start))))  # that one is free


def test_what_cannot_be_served_is_said_in_a_line(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a misspelt study would end in a traceback of MLflow's, or be run by a shell."""
    assert refused(project, "serve", "STUDY=nonsense; rm -rf x") == (
        "error: STUDY: no network of 'nonsense; rm -rf x' is registered; known: tiny"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.folder / '.mlflow' / 'mlflow.db'}")
    with listening() as taken:
        port = str(taken.getsockname()[1])
        for study, message in (
            ("tyni", "registered; did you mean 'tiny'?"),
            ("tiny", f"port {port}: .*make serve PORT="),
        ):
            monkeypatch.setattr("sys.argv", ["serve", study, "--port", port])
            with pytest.raises(SystemExit, match=f"^error: .*{message}".replace("?", r"\?")):
                serve.main()


def test_what_was_unpacked_and_not_cloned_runs(project: Project, tmp_path: Path) -> None:
    """Broken: from an archive of the source, DVC would run nothing; or it would never know of git again."""
    folder = tmp_path / "unpacked"
    shutil.copytree(project.folder, folder, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    environment = project.environment()

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = ["pipeline/python", *words]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    first = run("-m", "dvc", "repro", "report@tiny")
    assert first.returncode == 0, first.stderr
    assert "Data and pipelines are up to date." in first.stdout
    assert first.stderr.count("no git repository: all trains and reports; make verify and dvc exp need a clone") == 1
    verify = run("-m", "pipeline.verify", "tiny")
    assert verify.returncode == 1
    assert verify.stderr.startswith("error: git rev-parse: fatal: not a git repository")
    assert verify.stderr.count("\n") == 1
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    run("-c", "")
    assert not (folder / ".dvc" / "config.local").exists()


def test_a_python_that_is_not_there_is_said(tmp_path: Path) -> None:
    """Broken: it would be called too old."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    done = subprocess.run(
        ["make", "install", "PYTHON=nopython"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert done.stderr.startswith(
        "error: no nopython here; name a Python from 3.11, as in: make PYTHON=python3.12 install\n"
    )
