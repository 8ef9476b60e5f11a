"""The words that a sentence may say, read from files: a new kind of layer is one small file and nothing else.

A file of `models/words/`, or of `words/` beside `models/`, which is for the user's own, holds words that share code:

    WORDS = {"bn": Word(batch_norm, settings=("momentum", "eps", "running_stats"))}

A file whose name starts with _ holds no words but what others import. Files are read when the first sentence is.
"""

import ast
import functools
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from torch import nn

from models.place import Place
from models.shapes import SHAPES

ROOT = Path(__file__).parent.parent
FOLDERS = {"models.words": ROOT / "models" / "words", "words": ROOT / "words"}
"""Where words are looked for, by the package as which files there are imported."""

ACT = "act"
"""Says the activation that its row names."""

NAME = re.compile(r"[a-z][a-z0-9-]*")


class Word(NamedTuple):
    """How one word of a sentence becomes a layer."""

    layer: Callable[[Place], nn.Module | None]  #: None for a word that stands for nothing
    drops: bool = False  #: takes a rate, so that it is one dropout position
    settings: tuple[str, ...] = ()  #: of `Norm`, that it reads; a norm reads one or more
    activation: bool = False  #: a row may name it as its activation


class WordError(ValueError):
    """A file of words that cannot be used. The message is one line and starts with the file's path."""


def words() -> dict[str, Word]:
    """All words by name.

    Raises:
        WordError: an error in a file, no words in it, or a name that is taken.
    """
    return {name: word for name, (word, _) in read().items()}


def sources(said: Iterable[str]) -> list[Path]:
    """The files that define these words, and those of the same folders that these import: what decides their layers.

    Args:
        said: names of words; those of shapes have no file and are passed over.
    """
    found: set[Path] = set()
    waiting = [read()[name][1] for name in said if name not in SHAPES]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(path)
    return sorted(found)


@functools.cache
def read() -> dict[str, tuple[Word, Path]]:
    """Each word and its file."""
    found: dict[str, tuple[Word, Path]] = {}
    for package, folder in FOLDERS.items():
        for path in sorted(folder.glob("[!_]*.py")):
            for name, word in _words_of(f"{package}.{path.stem}", path):
                if name in found:
                    raise WordError(f"{shown(path)}: '{name}' is also a word of {shown(found[name][1])}; rename one")
                found[name] = word, path
    return found


def _words_of(module: str, path: Path) -> Iterator[tuple[str, Word]]:
    defined = getattr(_load(module, path), "WORDS", None)
    if not isinstance(defined, dict) or not defined:
        raise WordError(f"{shown(path)}: no WORDS = {{'name': Word(…)}}, which every file of words has")
    for name, word in defined.items():
        if not isinstance(word, Word):
            raise WordError(f"{shown(path)}: WORDS['{name}'] is a {type(word).__name__} and not a Word")
        if not NAME.fullmatch(str(name)):
            raise WordError(f"{shown(path)}: a word '{name}'; letters a to z, digits and - make a word")
        if name in SHAPES or name == ACT:
            raise WordError(f"{shown(path)}: '{name}' is taken: it has a meaning in every network; choose another name")
        yield str(name), word


def _load(name: str, path: Path) -> ModuleType:
    """A file as a module, whether or not its folder is one that Python looks in."""
    package = name.rpartition(".")[0]
    if list(getattr(sys.modules.get(package), "__path__", ())) != [str(path.parent)]:
        sys.modules[package] = ModuleType(package)
        sys.modules[package].__path__ = [str(path.parent)]
    try:
        return importlib.import_module(name)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        place = f"{shown(path)}:{line}" if line else shown(path)
        reason = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
        raise WordError(f"{place}: {type(error).__name__}: {reason}") from error


@functools.cache
def _imported(path: Path) -> list[Path]:
    """The files of the folders of words that a file of them imports, anywhere in it."""
    package = next(package for package, folder in FOLDERS.items() if folder == path.parent)
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    files = [
        folder / f"{name.removeprefix(f'{package}.').split('.')[0]}.py"
        for name in names
        for package, folder in FOLDERS.items()
        if name.startswith(f"{package}.")
    ]
    return [file for file in files if file.is_file()]


def shown(path: Path) -> str:
    """A file of words as a person finds it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
