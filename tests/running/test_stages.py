"""What is asked of DVC and told to it, while others use it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import paths
from pipeline.running import stages, store


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of DVC's with a stage that copies a file."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "STORE", tmp_path / ".store")
    monkeypatch.chdir(tmp_path)  # DVC names stages as seen from here
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / "dvc.yaml").write_text("stages:\n  copy: {cmd: cp in out, deps: [in], outs: [out]}\n")
    for name in ("in", "out"):
        (tmp_path / name).write_text("content")
    return tmp_path


def test_who_finds_a_stage_busy_waits(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: a launch would end in an error where somebody's `dvc repro` is at one of its stages; after days of
    training, before anything is recorded. Or both would wait for each other for ever."""
    busy = project / ".dvc" / "tmp" / "rwlock"
    other = {"pid": os.getppid(), "cmd": "dvc repro"}
    waits = []

    def over(seconds: float) -> None:
        waits.append(seconds)
        assert not store.is_training("s", "copy")  # which that stage may be waiting for
        if len(waits) % 2 == 0:
            busy.unlink()

    monkeypatch.setattr(stages.time, "sleep", over)
    locks = {store.row_lock("s", "copy"): "training row copy"}
    for act in (lambda: stages.stale(["copy"]), lambda: stages.record(stages.stale(["copy"]), locks)):
        busy.parent.mkdir(exist_ok=True)
        busy.write_text(json.dumps({"read": {}, "write": {str(project / "out"): other}}))
        act()
        assert "waiting for another DVC process" in capsys.readouterr().err
    assert len(waits) == 4
    assert stages.stale(["copy"]) == {}
    assert "out" in (project / "dvc.lock").read_text()
