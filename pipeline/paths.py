"""Where things lie. Two roots, because `dvc exp run --queue` runs in a temporary copy of the project."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The checkout whose code is running: params.yaml and all that DVC tracks."""

HOME = Path(os.environ.get("DVC_ROOT", ROOT)).resolve()
"""The checkout that the user works in: the run store and the MLflow store, shared by its experiments.
DVC sets DVC_ROOT for stage commands, also in the temporary copies of queued experiments."""

PARAMS = ROOT / "params.yaml"
PLAN = ROOT / "plan"
DATA = ROOT / "data"
RUNS = ROOT / "runs"
TUNED = ROOT / "tuned"
DIAGNOSIS = ROOT / "diagnosis"
REPORTS = ROOT / "reports"

STORE = HOME / ".store"
MLFLOW = HOME / ".mlflow"
DOWNLOADS = HOME / ".downloads"
IMAGES = (HOME / Path(os.environ.get("DISHARMONY_IMAGES", ".images")).expanduser()).resolve()
"""Where archives and folders of images lie that are no part of the project: its own folder, or any on this machine."""


def prepared(dataset: str) -> Path:
    """The folder of a data set's prepared images."""
    return DATA / dataset


def shown(path: Path) -> str:
    """The path as a message should name it: relative to the project where it lies inside."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
