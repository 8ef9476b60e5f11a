"""What stands for the code in the keys of runs: digests of what Python executes of the files that decide numbers.

Comments, docstrings, layout, the names of files and where they lie are left out, so wording a comment or moving a file
keeps every run. A run's digest covers the core and the words that its row says: a new word makes no run stale.
"""

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.params.rows import Row, TunedRow
from pipeline.params.space import corners

CORE = (
    "models/*.py",
    "pipeline/training/*.py",
    "pipeline/images/draws.py",
    "pipeline/images/prepared.py",
    "pipeline/arithmetic.py",
)
"""Decides the numbers of every run, beside the words."""

LAUNCHING = Path("pipeline/training/captured.py")
"""How a GPU is told to do the step of module.py, and not what that is. It changes no run's key."""

MEASURES, SEARCH = "pipeline/measures/*.py", "pipeline/tuning/*.py"
"""Decide the measures of a trained network, and what a tuning tries."""

PROJECT = ("pipeline", "models", "words")


def of_run(row: Row) -> str:
    """Stands for the code that decides the numbers of a row's runs, whatever values of its space a tuning chooses."""
    return _digest([*_files(*CORE), *_words(row)])


def of_diagnosis(row: Row) -> str:
    """Stands for the code that decides the measures of a row's networks."""
    return _digest([*_files(*CORE, MEASURES), *_words(row)])


def of_search(row: TunedRow) -> str:
    """Stands for the code that decides a row's tuning."""
    return _digest([*_files(*CORE, SEARCH), *_words(row)])


def whole() -> str:
    """Stands for the code of all runs, whatever words they say."""
    return _digest(_files(*CORE, "models/words/*.py", "words/*.py"))


def _files(*patterns: str) -> list[Path]:
    return [path for pattern in patterns for path in _matching(paths.ROOT, pattern)]


@functools.cache
def _matching(root: Path, pattern: str) -> list[Path]:
    return [path for path in root.glob(pattern) if path.relative_to(root) != LAUNCHING]


def _words(row: Row) -> list[Path]:
    """The files of the words that a row says."""
    rows = [row, *(corner for _, corner in corners("", row))] if isinstance(row, TunedRow) else [row]
    return [Path(path) for one in rows for path in one.sources()]


def _digest(files: Iterable[Path]) -> str:
    """In no order, since files have no names here."""
    return hashlib.md5("".join(sorted({executed(path) for path in files})).encode()).hexdigest()


@functools.cache
def executed(path: Path) -> str:
    """A digest of what Python executes of a file."""
    return hashlib.md5("".join(_dump(ast.parse(path.read_bytes()))).encode()).hexdigest()


def _dump(node: Any) -> Iterator[str]:
    """A syntax tree as text, the same from any version of Python: without what is empty, which versions differ in."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring, of a module, class, function or attribute
    if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] in PROJECT):
        yield from ("(from", *_dump(node.names), ")")  # what is imported, not where it lies
    elif isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for name, value in sorted(ast.iter_fields(node)):
            if value not in (None, []) and name not in ("kind", "type_comment"):
                yield f" {name}="
                yield from _dump(value)
        yield ")"
    elif isinstance(node, list):
        yield "["
        for item in node:
            yield from _dump(item)
        yield "]"
    else:
        yield repr(node)
