"""DVC's own files after a kill: noticed, mended from the last whole copy, and never while DVC is at work."""

import fcntl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline import paths
from pipeline.running import bookkeeping

STAGES = ["plan", "prepare@digits", "train@a", "train@b", "report@s"]


def entry(name: str, md5: str) -> str:
    return f"""  {name}:
    cmd: pipeline/python -m pipeline.{name}
    deps:
    - path: plan/rows/{name}.json
      hash: md5
      md5: {md5}
      size: 700
    params:
      params.yaml:
        studies.s.note:
        studies.s.question: 'Which one is it,
          and why?'
    outs:
    - path: runs/{name}
      hash: md5
      md5: {md5[::-1]}
      size: 12
"""


def lock_of(**digests: str) -> str:
    """A dvc.lock as DVC writes it."""
    return "schema: '2.0'\nstages:\n" + "".join(entry(name, digest) for name, digest in digests.items())


BEFORE = {name: f"{place}" * 31 + "f" for place, name in enumerate(STAGES)}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a dvc.lock, whose copy is kept."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "HOME", tmp_path)
    monkeypatch.setattr(paths, "STORE", tmp_path / ".store")
    (tmp_path / "dvc.lock").write_text(lock_of(**BEFORE))
    bookkeeping.mend()
    return tmp_path


WRITTEN: dict[str, dict[str, str]] = {
    "a changed stage": BEFORE | {"train@a": "a" * 32},
    "a new stage": BEFORE | {"train@c": "c" * 32},
}


@pytest.mark.parametrize("case", WRITTEN)
def test_a_cut_anywhere_loses_no_entry(case: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: after a kill DVC would run stages again that were done, or refuse every command."""
    lock, whole = project / "dvc.lock", lock_of(**WRITTEN[case])
    for length in range(0, len(whole), 13):
        (project / ".store" / "dvc.lock").write_text(lock_of(**BEFORE))
        lock.write_text(whole[:length])
        bookkeeping.mend()
        said = capsys.readouterr().err
        found: dict[str, Any] = YAML(typ="safe").load(lock.read_text())["stages"]
        assert list(found)[: len(BEFORE)] == list(BEFORE)
        for name, digest in BEFORE.items():
            if said or name != "train@a":
                assert found[name]["deps"][0]["md5"] == digest
        assert said.count("\n") == ("cut short by a kill; the last whole one is put back, with 5 stages" in said)


@pytest.mark.parametrize("case", WRITTEN)
def test_what_dvc_has_written_is_kept(case: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a stage that is done would be forgotten."""
    whole = lock_of(**WRITTEN[case])
    (project / "dvc.lock").write_text(whole)
    bookkeeping.mend()
    assert (project / "dvc.lock").read_text() == (project / ".store" / "dvc.lock").read_text() == whole
    assert capsys.readouterr().err == ""


def test_what_somebody_else_has_changed_stays(project: Path) -> None:
    """Broken: a checkout of another commit, or a dvc.lock that was removed to run all again, would be undone."""
    other = dict.fromkeys(STAGES[:3], "9" * 32)
    shorter = dict(list(BEFORE.items())[:2])

    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e", *words], cwd=project, check=True)

    (project / "dvc.lock").write_text(lock_of(**other))
    bookkeeping.mend()
    assert (project / "dvc.lock").read_text() == lock_of(**other)
    (project / ".store" / "dvc.lock").write_text(lock_of(**BEFORE))
    (project / "dvc.lock").write_text(lock_of(**shorter))
    git("init", "--quiet")
    git("add", "dvc.lock")
    git("commit", "--quiet", "--message", "older")
    bookkeeping.mend()
    assert (project / "dvc.lock").read_text() == lock_of(**shorter)
    (project / "dvc.lock").unlink()
    bookkeeping.mend()
    assert not (project / "dvc.lock").exists()


def test_what_is_put_back_is_the_last_and_not_what_was_committed(project: Path) -> None:
    """Broken: after a kill DVC would run again all that was done since the last commit."""
    for words in (["init"], ["add", "dvc.lock"], ["commit", "--message", "older"]):
        command = ["git", "-c", "user.name=n", "-c", "user.email=e", *words, "--quiet"]
        subprocess.run([word for word in command if word != "--quiet" or words[0] != "add"], cwd=project, check=True)
    newer = lock_of(**BEFORE | {"train@c": "c" * 32})
    for text in (newer, newer[:-40]):
        (project / "dvc.lock").write_text(text)
        bookkeeping.mend()
    assert (project / "dvc.lock").read_text() == newer


def test_settings_of_ones_own_stay(project: Path) -> None:
    """Broken: a remote's password in .dvc/config.local would be deleted in every clone."""
    config = project / ".dvc" / "config.local"
    config.parent.mkdir(exist_ok=True)
    (project / ".git").mkdir()
    for text, stays in (("['remote \"mine\"']\n    user = me\n", True), (bookkeeping.WITHOUT_GIT, False)):
        config.write_text(text)
        bookkeeping.mend()
        assert config.exists() == stays


def test_a_first_lock_that_is_cut_is_set_aside(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a kill in a project's first minute would leave a file that DVC refuses for ever."""
    (project / ".store" / "dvc.lock").unlink()
    (project / "dvc.lock").write_text(lock_of(**BEFORE)[:-40])
    bookkeeping.mend()
    assert not (project / "dvc.lock").exists()
    assert "set aside as .store/dvc.lock.damaged" in capsys.readouterr().err


def test_nothing_is_touched_while_dvc_writes(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: what another DVC process is just writing would be overwritten."""
    monkeypatch.setattr(bookkeeping, "WAIT_SECONDS", 0.0)
    temporary = project / ".dvc" / "tmp"
    temporary.mkdir(parents=True)
    (project / "dvc.lock").write_text("schema")
    (temporary / "rwlock").write_text("")
    with (temporary / "lock").open("w") as lock, (temporary / "rwlock.lock").open("w") as guard:
        for file in (lock, guard):
            fcntl.flock(file, fcntl.LOCK_EX)
        bookkeeping.mend()
        assert (project / "dvc.lock").read_text() == "schema"
        assert (temporary / "rwlock").exists()
    bookkeeping.mend()
    assert (project / "dvc.lock").read_text() == lock_of(**BEFORE)
    assert not (temporary / "rwlock").exists()


REFUSED: dict[str, Callable[[Path], object]] = {
    "rwlock": lambda folder: (folder / ".dvc" / "tmp" / "rwlock").write_text(""),
    "dvc.lock": lambda folder: (folder / "dvc.lock").write_text("schema: '2.0'\nstages:\n  a:\n    cmd"),
}


def test_dvc_goes_on_after_what_it_refuses(tmp_path: Path) -> None:
    """Broken: after a kill every `dvc repro` would fail until somebody removes a file by hand."""

    def call(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, check=False)

    for name in ("pipeline/__init__.py", "pipeline/errors.py", "pipeline/paths.py", "pipeline/storage.py",
                 "pipeline/running/__init__.py", "pipeline/running/bookkeeping.py"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((paths.ROOT / name).read_bytes())
    (tmp_path / "dvc.yaml").write_text("stages: {a: {cmd: 'echo a > a', outs: [a]}}")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    assert call("dvc", "init", "--quiet").returncode == 0
    assert call("dvc", "repro").returncode == 0
    assert call("pipeline.running.bookkeeping").stderr == ""
    whole = (tmp_path / "dvc.lock").read_text()
    for spoil in REFUSED.values():
        spoil(tmp_path)
        assert call("dvc", "repro").returncode != 0
        assert call("pipeline.running.bookkeeping").stderr.count("\n") == 1
        done = call("dvc", "repro")
        assert done.returncode == 0 and "up to date" in done.stdout
    assert (tmp_path / "dvc.lock").read_text() == whole
