"""dvc.yaml and params.yaml fit each other, and DVC's own ways of changing a value reach what they name."""

import shutil
import subprocess
import sys
from pathlib import Path

from pipeline.params.reading import read_params

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
