"""A digest of code changes with what Python executes, and with nothing else."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models import vocabulary
from pipeline import paths
from pipeline.params.rows import Row
from pipeline.running import code

WORDED = '''
"""Another docstring."""
from models.place import Place  # moved


# A comment.
def double(number):
    """Twice."""
    return (2 *
            number)
'''
BARE = """
from pipeline.place import Place
def double(number): return 2 * number
"""


def digest(path: Path, text: str) -> str:
    path.write_text(text)
    code.executed.cache_clear()
    return code.executed(path)


def test_words_and_places_change_nothing(tmp_path: Path) -> None:
    """Broken: a mended docstring, or a file that moves, would cost every trained network."""
    assert digest(tmp_path / "a.py", WORDED) == digest(tmp_path / "b.py", BARE)


@pytest.mark.parametrize(
    "other",
    [
        BARE.replace("2", "3"),
        BARE.replace("*", "+"),
        BARE.replace("number", "value"),
        BARE.replace("import Place", "import Norm"),
        BARE.replace("return ", ""),
        BARE + "double(1)\n",
    ],
)
def test_what_runs_changes_it(other: str, tmp_path: Path) -> None:
    """Broken: code that gives other numbers would be given the old ones."""
    assert digest(tmp_path / "a.py", BARE) != digest(tmp_path / "a.py", other)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of all code, which the digests are then of."""
    for name in ("models", "pipeline", "words"):
        shutil.copytree(paths.ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    folders = {"models.words": tmp_path / "models" / "words", "words": tmp_path / "words"}
    monkeypatch.setattr(vocabulary, "FOLDERS", folders)
    for cached in (vocabulary.read, vocabulary._imported, code.executed):
        cached.cache_clear()
    yield tmp_path
    for cached in (vocabulary.read, vocabulary._imported, code.executed):
        cached.cache_clear()


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)
    for cached in (vocabulary.read, vocabulary._imported, code.executed):
        cached.cache_clear()


def test_a_row_depends_on_the_core_and_on_the_words_that_it_says(checkout: Path, make_row: Callable[..., Row]) -> None:
    """Broken: a new word, or a change to one, would make rows stale that do not say it, or leave one that does."""
    says, silent = make_row(each="conv bn act"), make_row(each="conv act")
    before = [code.of_run(says), code.of_run(silent)]
    (checkout / "words" / "mine.py").write_text(
        "from models.vocabulary import Word\nWORDS = {'mine': Word(lambda place: None)}\n"
    )
    append(checkout / "models" / "words" / "batch_norm.py", "# a comment\n")
    assert [code.of_run(says), code.of_run(silent)] == before
    append(checkout / "models" / "words" / "batch_norm.py", "CHANGED = True\n")
    assert code.of_run(says) != before[0] and code.of_run(silent) == before[1]
    append(checkout / "pipeline" / "reporting" / "page.py", "CHANGED = True\n")
    assert code.of_run(silent) == before[1]
    measures = code.of_diagnosis(silent)
    append(checkout / "pipeline" / "measures" / "shift.py", "CHANGED = True\n")
    assert code.of_run(silent) == before[1] and code.of_diagnosis(silent) != measures
    append(checkout / code.LAUNCHING, "CHANGED = True\n")  # a GPU does the same step in another way
    assert code.of_run(silent) == before[1]
    append(checkout / "pipeline" / "training" / "run.py", "CHANGED = True\n")
    assert code.of_run(silent) != before[1]


def test_all_that_decides_a_number_stands_in_the_digest() -> None:
    """Broken: after a change of the layers, the draws or the arithmetic, old numbers would pass for today's."""
    named = {path.relative_to(paths.ROOT).as_posix() for path in code._files(*code.CORE)}
    assert named >= {
        "models/vgg.py",
        "models/dropout.py",
        "pipeline/images/draws.py",
        "pipeline/images/prepared.py",
        "pipeline/arithmetic.py",
        "pipeline/training/module.py",
    }
    assert code.LAUNCHING.as_posix() not in named
