"""Lightning is imported without what training never uses, and whoever wants that still has it."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.running import light

AFTER = """
import sys
from pipeline.running import light
import pytorch_lightning, torchmetrics
print(sorted({*light.OPTIONAL, "torchmetrics"} & sys.modules.keys()))
import matplotlib.pyplot, scipy.signal, torchvision.datasets
from torchmetrics.functional.classification import binary_auroc
"""


def test_lightning_comes_alone() -> None:
    """Broken: every stage that trains would wait seconds for metrics of images and for plots; or a stage that reads
    CIFAR-10, or draws, would find no torchvision or matplotlib after it."""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", AFTER], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "['torchmetrics']\n"


IDLE = """
import importlib, sys
for name in "plan launch train diagnose report reporting.sections tracking.mlflow_log".split():
    importlib.import_module(f"pipeline.{name}")
    print(name, {"torch", "pytorch_lightning"} & sys.modules.keys())
"""


def test_who_does_not_compute_imports_no_torch() -> None:
    """Broken: a stage with nothing to train or measure would take seconds, and so would a report."""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", IDLE], cwd=root, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 7
    assert [line for line in done.stdout.splitlines() if not line.endswith(" set()")] == []


def test_a_package_is_absent_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a package would stay absent, or one that is in use would be taken away."""
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    asked = importlib.metadata.version
    with light.absent("colorsys", "torch"):
        remembered = importlib.metadata.version
        with pytest.raises(ImportError):
            import colorsys
        with pytest.raises(importlib.metadata.PackageNotFoundError):
            remembered("colorsys")
        assert remembered("torch") == asked("torch")
        assert sys.modules["torch"]
    import colorsys

    assert colorsys.rgb_to_hsv(0, 0, 0) == (0, 0, 0)
    assert importlib.metadata.version is asked and remembered("torch") == asked("torch")
