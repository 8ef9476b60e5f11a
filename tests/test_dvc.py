"""dvc.yaml and params.yaml fit each other, and DVC's own ways of changing a value reach what they name."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from pipeline.params.config import read_params

ROOT = Path(__file__).parent.parent


def test_all_studies_can_be_planned(tmp_path: Path) -> None:
    """Broken: `dvc repro` would stop at once or leave rows out: dvc.yaml and params.yaml do not fit each other."""
    for name in ("dvc.yaml", "params.yaml", "models", "pipeline", "words"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "--no-scm", "--quiet"], cwd=tmp_path, check=True)
    # Without -f, DVC's dry run ends at the first stage whose inputs are still to be made.
    planned = subprocess.run([*dvc, "repro", "--dry", "-f"], cwd=tmp_path, check=True, capture_output=True, text=True)
    params = read_params()
    stages = [f"prepare@{name}" for name in params.datasets]
    stages += [f"train@{name}" for name in params.rows] + [f"report@{name}" for name in params.studies]
    stages += [f"{stage}@{name}" for name in params.tuned for stage in ("tune", "train-tuned")]
    assert not [name for name in stages if f"Running stage '{name}':" not in planned.stdout]


def test_an_experiment_changes_the_optimizer_of_one_row(tmp_path: Path) -> None:
    """Broken: `dvc exp run -S rows.<row>.optimizer.lr=…` would change nothing, as it does where rows share their
    optimizer through an anchor, or change other rows as well."""
    changed = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", changed)
    before = read_params().rows
    wanted = {name: (number + 1) * 1e-6 for number, name in enumerate(before)}
    apply_overrides(str(changed), [f"rows.{name}.optimizer.lr={lr:.6f}" for name, lr in wanted.items()])
    after = read_params(changed).rows
    assert {name: row.optimizer.lr for name, row in after.items()} == pytest.approx(wanted)
    optimizers = {
        name: row.optimizer.model_copy(update={"lr": before[name].optimizer.lr}) for name, row in after.items()
    }
    assert {name: row.model_copy(update={"optimizer": optimizers[name]}) for name, row in after.items()} == before
