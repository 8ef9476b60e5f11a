"""What tests share: small prepared data, small rows, and a clean process environment."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from models import vocabulary
from pipeline import arithmetic
from pipeline.images import prepared
from pipeline.params.rows import Row
from pipeline.running import forkserver

for name in (
    "DVC_ROOT",
    "DVC_STAGE",
    "MLFLOW_TRACKING_URI",
    "DISHARMONY_JOBS",
    "DISHARMONY_PYTHON",
    "DISHARMONY_IMAGES",
    "PYTHONDONTWRITEBYTECODE",  # stages would compile the project again, each
):
    os.environ.pop(name, None)
os.environ["DVC_NO_ANALYTICS"] = "true"  # in a project that does not say so, DVC starts a process after each command

LONGEST = (
    "test_emulated", "test_pipeline", "test_benchmarks", "test_makefile", "test_launch", "test_tune", "test_bundle",
    "test_mlflow",
)  # fmt: skip
"""Files that start whole projects, or servers."""

arithmetic.settle()  # as a stage does
torch.set_num_threads(1)  # as a run does; on small tensors threads mostly wait for each other

with warnings.catch_warnings():  # of packages at import, which is not what a test is about
    warnings.simplefilter("ignore")
    from pipeline.running import light  # noqa: F401


# The same examples every time, however long they take: a suite that fails now and then is not believed when it fails.
settings.register_profile("default", derandomize=True, deadline=None)
settings.load_profile("default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first: at the end of a suite in several processes one would go on alone."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_runtest_setup() -> None:
    """Every test starts from the same state of torch's generator."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def worker_server() -> None:
    """Workers are forked from a server that has imported what they need, as in a stage."""
    forkserver.start()


@pytest.fixture
def own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Writes files of words, by name and code, into a folder that stands for the user's own; the folder."""
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.setitem(vocabulary.FOLDERS, "words", folder)

    def write(**files: str) -> Path:
        for name, code in files.items():
            (folder / f"{name}.py").write_text(code)
        forget()
        return folder

    def forget() -> None:
        vocabulary.read.cache_clear()
        for module in [name for name in sys.modules if name.partition(".")[0] == "words"]:
            del sys.modules[module]

    yield write
    monkeypatch.undo()
    forget()


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data set of three classes that differ in brightness by place: each seed draws 96 that train and 30
    that select from 150; 33 test."""
    pool, total = 150, 183
    draws = torch.Generator().manual_seed(1)
    labels = torch.arange(total) % 3
    images = torch.randint(0, 120, (total, 1, 8, 8), generator=draws)
    for label in range(3):
        images[labels == label, :, 2 * label : 2 * label + 3] += 90
    path = tmp_path_factory.mktemp("data") / "stripes"
    pixels, classes = images.to(torch.uint8), ["top", "middle", "bottom"]
    prepared.write(path, (pixels[:pool], labels[:pool]), (pixels[pool:], labels[pool:]), classes, train=96, select=30)
    return path


@pytest.fixture(scope="session")
def make_row() -> Callable[..., Row]:
    """Makes a small row; keyword arguments change it."""

    def make(**changes: Any) -> Row:
        base: dict[str, Any] = {
            "study": "s",
            "dataset": "stripes",
            "backbone": {"widths": [4, 8], "convs": [1, 1], "dense": [8]},
            "each": "conv bn act",
            "end": "pool drop",
            "head": "dense act drop",
            "dropout": 0.2,
            "optimizer": {"name": "adam", "lr": 0.01},
            "epochs": 4,
            "batch": 32,
            "trainer": {"accelerator": "cpu"},
            "seeds": [0],
        }
        return Row.model_validate(base | changes)

    return make
