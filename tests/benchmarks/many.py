"""Eight equal rows through one pool: how much faster they are side by side than one after the other."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from contest import ROOT
from footprint import TINY

ROWS = 8


@dataclass(frozen=True)
class Launch:
    """Wall-clock seconds of `launch` for all rows, start-up and records included; means of two launches."""

    jobs: int
    alone: float  #: one run at a time
    together: float  #: `jobs` at a time

    @property
    def ratio(self) -> float:
        return self.alone / self.together


def launch(jobs: int, epochs: int = 250) -> Launch:
    """Launches the rows each way twice, each time in a fresh project; what is logged goes to a server nobody runs."""
    # One way lies inside the other, so that a machine that slows down or speeds up favours neither.
    first, *inner, last = (_seconds(count, epochs) for count in (1, jobs, jobs, 1))
    return Launch(jobs, (first + last) / 2, sum(inner) / 2)


def _seconds(jobs: int, epochs: int) -> float:
    wide = {"widths": [16, 32], "convs": [1, 1], "dense": [64]}
    rows = {f"row-{number}": TINY | {"backbone": wide, "epochs": epochs, "seeds": [number]} for number in range(ROWS)}
    params = {
        "datasets": {"digits": {"source": "digits", "train_size": 400, "validation": 0.1}},
        "studies": {"start": {"title": "Start", "question": "?"}},
        "rows": rows,
        "tuned": {},
        "sources": {},
        "bases": {},
        "claims": {},
    }
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("models", "pipeline", "words", ".dvc"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("cache", "tmp", "__pycache__"))
        shutil.copy(ROOT / "dvc.yaml", folder)
        (folder / "params.yaml").write_text(json.dumps(params))
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        _run(folder, "dvc", "repro", "prepare@digits")
        began = time.perf_counter()
        _run(folder, "pipeline.launch", "train", "--jobs", str(jobs))
        return time.perf_counter() - began


def _run(folder: Path, *command: str) -> None:
    outer = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "DISHARMONY_"))}
    own = {"DISHARMONY_PYTHON": sys.executable, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    subprocess.run([sys.executable, "-m", *command], cwd=folder, env=outer | own, check=True, capture_output=True)


def lines(found: Launch) -> list[str]:
    """As Markdown."""
    return [
        f"| `launch` of {ROWS} equal rows | seconds |",
        "|---|---:|",
        f"| one run at a time | {found.alone:.1f} |",
        f"| {found.jobs} runs at a time | {found.together:.1f} |",
        f"| ratio; *target* at least 1.8 on two cores | **{found.ratio:.2f}** |",
    ]
