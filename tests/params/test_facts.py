"""What needs torch to be found out of a row is found out once, and again when code or the row has changed."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from test_reading import GOOD
from written import write_params

ROOT = Path(__file__).parents[2]
PLAN = "import runpy, sys; runpy.run_module('pipeline.plan', run_name='__main__'); print('torch' in sys.modules)"


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """Plans a small params.yaml in a copy of the project; whether that took torch, and what went wrong."""
    for name in ("pipeline", "models", "words"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))

    def planned(**rows: object) -> tuple[str, str]:
        content = json.loads(json.dumps(GOOD))
        content["rows"]["r"] |= rows
        write_params(tmp_path / "params.yaml", content)
        done = subprocess.run([sys.executable, "-c", PLAN], cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.stdout.split()[-1] if done.stdout else "", done.stderr

    return planned


def test_torch_is_asked_again_for_what_has_changed_alone(tmp_path: Path, plan: Callable[..., tuple[str, str]]) -> None:
    """Broken: every edit of a claim would wait for torch; or a sentence without meaning would pass for a good one, for
    its row was good before, or its words were."""

    assert plan() == ("True", "")
    first = (tmp_path / "plan" / "rows" / "r.json").read_text()
    assert plan(epochs=9) == ("False", "")
    assert (tmp_path / "plan" / "rows" / "r.json").read_text() == first.replace('"epochs": 2', '"epochs": 9')
    _, wrong = plan(each="conv bnn act")
    assert wrong.startswith("error: rows.r.each: conv »bnn« act: unknown word 'bnn'")
    batch_norm = tmp_path / "models" / "words" / "batch_norm.py"
    batch_norm.write_text(batch_norm.read_text() + "WORDS = {'bnn': WORDS['bn']}\n")
    assert plan(each="conv bnn act") == ("True", "")
