"""Many rows through one pool, with the real DVC, in a copy of the project."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from test_pipeline import BASE, UNLOGGED, Project

pytestmark = pytest.mark.integration


def locked(project: Project) -> dict[str, object]:
    """What dvc.lock holds of the rows."""
    stages = YAML(typ="safe").load(project.lock())["stages"]
    return {name.removeprefix("train@"): entry for name, entry in stages.items() if name.startswith("train@")}


def killed_launch(project: Project) -> None:
    """Launches, and kills the whole process group when one row is written and another trains."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.launch", "train"],
        cwd=project.folder, env=project.environment(**UNLOGGED),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        for _ in range(1200):
            time.sleep(0.1)
            written = list(project.folder.glob("runs/*/*/metrics.json"))
            if written and list(project.folder.glob(".store/runs/*/resume.ckpt")):
                return
            assert process.poll() is None, "the launch was over before it could be killed"
        pytest.fail("no row was written, or no resume state")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_killed_and_launched_again_it_ends_with_the_bytes_of_dvc_repro(tmp_path: Path) -> None:
    """Broken: a launched row would differ from one that `dvc repro` trains, or be trained once more by it; a kill
    would cost what is done; one bad row would keep the others from dvc.lock; nothing to do would take long to say."""
    project = Project(tmp_path)
    project.params["rows"]["b"] |= {"epochs": 300, "seeds": [0, 1]}
    project.params["rows"]["bad"] = BASE | {"batch": 1000}
    project.write()
    killed_launch(project)
    done = {path: path.stat().st_mtime_ns for path in tmp_path.glob(".store/runs/*/result.json")}

    message = r"rows\.bad\.batch: 1000, but digits has 60 training images\s+error: 1 of the rows have no outputs"
    with pytest.raises(AssertionError, match=message):
        project.run("pipeline.launch", "train", "--jobs", "3", **UNLOGGED)
    assert {path: path.stat().st_mtime_ns for path in done} == done
    launched, outputs = locked(project), project.outputs()
    assert set(launched) == {"a", "b", "d"}

    assert project.repro("-f", "-s", "train@b", **UNLOGGED)[0] == ["train@b"]
    assert (locked(project), project.outputs()) == (launched, outputs)
    del project.params["rows"]["bad"]
    project.write()
    assert project.repro("train")[0] == ["plan"]
    assert project.run("pipeline.launch", "train", "--quiet") == "checking params.yaml and what is up to date\n"


def test_two_launches_of_the_same_rows_end_well(tmp_path: Path) -> None:
    """Broken: the second would write outputs anew while the first records them ("output does not exist"), or DVC would
    refuse the stages that both run."""
    project = Project(tmp_path)
    del project.params["rows"]["d"], project.params["studies"]["other"]
    project.params["rows"]["a"]["seeds"] = [0, 1, 2]
    project.write()
    command = [sys.executable, "-m", "pipeline.launch", "train"]
    processes = [
        subprocess.Popen(
            command, cwd=tmp_path, env=project.environment(**UNLOGGED),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    seen: dict[str, set[int]] = {"a": set(), "b": set()}
    try:
        while any(process.poll() is None for process in processes):
            time.sleep(0.02)
            for row, inodes in seen.items():
                with contextlib.suppress(FileNotFoundError):
                    inodes.add((tmp_path / "runs" / "tiny" / row).stat().st_ino)
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
    assert {row: len(inodes) for row, inodes in seen.items()} == {"a": 1, "b": 1}  # each was written once
    assert set(locked(project)) == {"a", "b"}


def test_a_row_that_is_taken_away_while_it_trains_costs_no_other(tmp_path: Path) -> None:
    """Broken: who edits params.yaml meanwhile would get a traceback, and rows that have trained for days no entry."""
    project = Project(tmp_path)
    del project.params["rows"]["d"], project.params["studies"]["other"]
    project.params["rows"]["b"] |= {"epochs": 100}
    project.write()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.launch", "train"],
        cwd=tmp_path, env=project.environment(**UNLOGGED),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        while not list(tmp_path.glob(".store/runs/*/resume.ckpt")):
            assert process.poll() is None, "the launch was over before params.yaml could be edited"
            time.sleep(0.05)
        del project.params["rows"]["b"]
        project.write()
        said = process.communicate()[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 1, said
    assert "train@b: what it depends on has changed while it trained; launch again" in said
    assert set(locked(project)) == {"a"}
