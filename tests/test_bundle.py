"""Training elsewhere: a bundle in an environment of torch, Lightning, safetensors, numpy and pydantic alone, killed and
started again, gives the bytes of `dvc repro`."""

import importlib.metadata
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image
from test_pipeline import BASE, UNLOGGED, Project

from pipeline import bundle, elsewhere
from pipeline.params.rows import Row
from pipeline.running import parcels
from pipeline.running.rows import describe

pytestmark = pytest.mark.integration

ALLOWED = ("torch", "pytorch-lightning", "safetensors", "numpy", "pydantic")
STUDIES = {"tiny": {"title": "Tiny", "question": "?"}}
ROWS = {"long": BASE | {"epochs": 60, "each": "conv bn act drop"}, "short": BASE | {"seeds": [0, 1]}, "twin": BASE}
PARAMS = {"rows": ROWS, "studies": STUDIES, "sources": {}, "bases": {}}


def needed(packages: tuple[str, ...]) -> set[Path]:
    """What lies in site-packages of packages and all that they require."""
    seen: set[str] = set()
    found: set[Path] = set()
    waiting = list(packages)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # for other systems
            continue
        seen.add(name)
        tops = {file.parts[0] for file in package.files or () if file.parts[0] not in ("..", "__pycache__")}
        found |= {Path(str(package.locate_file(top))) for top in tops}
        requirements = map(Requirement, package.requires or ())
        waiting += [one.name for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the allowed packages and no others."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    for path in needed(ALLOWED):
        (packages / path.name).symlink_to(path)
    return folder / "bin" / "python"


def test_a_bundle_says_what_is_missing(tmp_path: Path) -> None:
    """Broken: a fresh notebook would answer with a traceback."""
    (tmp_path / "__main__.py").write_text(bundle.START)
    done = subprocess.run([sys.executable, "-S", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: missing here: torch, pytorch-lightning, safetensors, numpy, pydantic")
    assert done.stderr.count("\n") == 1


def test_the_most_wanted_runs_come_first(
    make_row: Callable[..., Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: minutes of a GPU would go to the tenth seed of a row before the first one of another, or of a study."""
    monkeypatch.setattr(bundle, "_files", lambda runs: [])
    monkeypatch.setattr(bundle, "_images", lambda dataset, pixels: [])
    runs = [
        run
        for study in ("b", "a")
        for row in ("x", "y")
        for run in describe(f"{study}-{row}", make_row(study=study, seeds=[7, 3]), "", "")
    ]
    bundle.write(["b", "a"], runs[::-1], tmp_path / "bundle.pyz")
    manifest = json.loads(zipfile.ZipFile(tmp_path / "bundle.pyz").read(parcels.MANIFEST))
    assert [(name, seed) for name, seed, _ in manifest["runs"]] == [
        ("b-y", 7),
        ("b-x", 7),
        ("b-y", 3),
        ("b-x", 3),
        ("a-y", 7),
        ("a-x", 7),
        ("a-y", 3),
        ("a-x", 3),
    ]


@pytest.mark.parametrize("option", ["--jobs", "--minutes"])
@pytest.mark.parametrize("word", ["0", "-1", "1.5", "all", "inf", ""])
def test_a_bundle_takes_whole_numbers_alone(
    option: str, word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: `--jobs -1` would start no run and end, and `--minutes 0` never stop."""
    monkeypatch.setattr("sys.argv", ["vgg2.pyz", f"{option}={word}"])
    with pytest.raises(SystemExit):
        elsewhere.main()
    assert f"argument {option}: found '{word}'; a whole number, 1 or more" in capsys.readouterr().err


def test_an_archive_travels_instead_of_its_pixels(bare: Path, tmp_path: Path) -> None:
    """Broken: a bundle would be larger than it need be; or its pictures could not be read there, would be other images
    than those here, or end in a traceback where what reads them is missing."""
    home, there = tmp_path / "home", tmp_path / "there"
    home.mkdir()
    there.mkdir()
    project = Project(home)
    (home / ".images").mkdir()
    draws = np.random.default_rng(0)
    with zipfile.ZipFile(home / ".images" / "stripes.zip", "w") as archive:
        for label, side in enumerate(("left", "right")):
            for number in range(20):
                pixels = draws.integers(0, 256, (32, 32, 3), np.uint8)
                pixels[:, 16 * label : 16 * label + 8] = 0
                picture = io.BytesIO()
                Image.fromarray(pixels).save(picture, "jpeg")
                archive.writestr(f"{side}/{number}.jpg", picture.getvalue())
    project.params |= PARAMS | {"rows": {"a": BASE | {"dataset": "stripes", "batch": 10}}}
    project.params["datasets"] = {"stripes": {"source": "folder", "path": "stripes"}}
    project.write()
    project.repro("prepare@stripes")
    project.run("pipeline.bundle", "tiny", "--pixels")
    large = (home / "tiny.pyz").stat().st_size
    project.run("pipeline.bundle", "tiny")
    assert (home / "tiny.pyz").stat().st_size < large
    shutil.move(home / "tiny.pyz", there)

    def run(python: Path | str) -> "subprocess.CompletedProcess[str]":
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(there)}
        return subprocess.run(
            [str(python), "tiny.pyz"], cwd=there, env=environment, capture_output=True, text=True, check=False
        )

    without = run(bare)
    assert without.returncode == 1
    assert without.stderr.startswith("error: stripes: its pictures are read here, which needs pillow, rich; run:")
    done = run(sys.executable)
    assert done.returncode == 0, done.stderr
    assert "results.tar: 1 of 1 runs" in done.stdout
    shutil.move(there / "results.tar", home)
    assert "1 new runs, 0 already here" in project.run("pipeline.collect", "results.tar")
    _, printed = project.repro("train@a", **UNLOGGED)
    assert "epochs" not in printed, "other images there than here"


def test_a_bundle_gives_the_bytes_of_repro(bare: Path, tmp_path: Path) -> None:
    """Broken: training elsewhere would need more than it says, lose work, or give other numbers."""
    home, there = tmp_path / "home", tmp_path / "there"
    home.mkdir()
    there.mkdir()
    project = Project(home)
    project.params |= PARAMS
    project.write()
    project.repro("prepare@digits")
    assert "tiny.pyz: 3 of 3 runs" in project.run("pipeline.bundle", "tiny")
    shutil.move(home / "tiny.pyz", there)

    command = [str(bare), "tiny.pyz", "--jobs", "2"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(there)}
    killed = subprocess.Popen(command, cwd=there, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    states = there / "tiny.work" / ".store" / "runs"
    until = time.monotonic() + 300
    while not list(states.glob("*/resume.ckpt")) and not list(states.glob("*/result.json")):
        assert killed.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()

    done = subprocess.run(command, cwd=there, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "results.tar: 3 of 3 runs" in done.stdout
    shutil.move(there / "results.tar", home)
    assert "3 new runs, 0 already here" in project.run("pipeline.collect", "results.tar")
    stages = [f"train@{row}" for row in ROWS]
    _, printed = project.repro(*stages, **UNLOGGED)
    assert "epochs" not in printed, "something was trained again"
    collected = project.outputs()

    (tmp_path / "other").mkdir()
    other = Project(tmp_path / "other")
    other.params |= PARAMS
    other.write()
    project.run("pipeline.bundle", "tiny", "--results")
    shutil.move(home / "tiny.results.tar", other.folder)
    other.repro("prepare@digits")
    assert "3 new runs" in other.run("pipeline.collect", "tiny.results.tar")

    shutil.rmtree(home / ".store")
    project.repro("-f", "-s", *stages, **UNLOGGED)
    assert project.outputs() == collected
