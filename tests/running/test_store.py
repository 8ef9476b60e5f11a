"""What the run store forgets, and when."""

import hashlib
from pathlib import Path

import pytest

from pipeline import paths
from pipeline.running import store

LOCK = """\
schema: '2.0'
stages:
  train@it:
    cmd: pipeline/python -m pipeline.train it
    deps:
    - path: plan.json
      hash: md5
      md5: {dep}
    outs:
    - path: seeds.csv
      hash: md5
      md5: {out}
"""


def test_a_stage_is_forced_where_dvc_has_all_that_it_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: after a kill between training and DVC's taking in of its outputs, finished runs would be forgotten."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "STORE", tmp_path / ".store")
    (tmp_path / "plan.json").write_text("plan")
    (tmp_path / ".dvc").mkdir()
    dep, out = (hashlib.md5(text).hexdigest() for text in (b"plan", b"seeds"))
    (tmp_path / "dvc.lock").write_text(LOCK.format(dep=dep, out=out))
    attempt = store.Attempt("rows", "s", "it")
    attempt.begin()
    cached = tmp_path / ".dvc" / "cache" / "files" / "md5" / out[:2] / out[2:]
    cached.parent.mkdir(parents=True)
    cached.write_text("seeds")
    assert not store.is_forced("train@it", attempt)  # a kill
    attempt.complete()
    assert store.is_forced("train@it", attempt)
    assert not store.is_forced(None, attempt)
    (tmp_path / ".dvc" / "config.local").write_text("[cache]\n    dir = elsewhere\n")
    assert not store.is_forced("train@it", attempt)  # in no cache
    (tmp_path / ".dvc" / "config.local").unlink()
    whole = (tmp_path / "dvc.lock").read_text()
    (tmp_path / ".store" / "dvc.lock").write_text(whole)
    for length in range(0, len(whole), 7):  # another DVC writes it just now
        (tmp_path / "dvc.lock").write_text(whole[:length])
        store.is_forced("train@it", attempt)
    (tmp_path / "dvc.lock").write_text("")
    assert store.is_forced("train@it", attempt)
    (tmp_path / "dvc.lock").write_text(whole)
    (tmp_path / "plan.json").write_text("another")
    assert not store.is_forced("train@it", attempt)  # a change
