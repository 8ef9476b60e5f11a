"""What only the words and layers themselves can say of a row: found out once, and not again while no code has changed.

Asking them takes torch, whose import takes longer than all else that `plan` does. A row that was refused is never kept.
"""

import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pipeline import paths
from pipeline.storage import read_notes, write_json

T = TypeVar("T")

CODE = ("models/**/*.py", "words/*.py", "pipeline/params/*.py")
"""Decides the answers, beside Python and torch."""


@dataclass
class _Memory:
    kept: dict[str, Any]  #: answers of last time
    asked: dict[str, Any] = field(default_factory=dict)


_memory: ContextVar[_Memory | None] = ContextVar("memory", default=None)


def known(question: str, of: Any, find: Callable[[], T]) -> T:
    """The answer to a question, found out unless it is kept.

    Args:
        question: a name for what `find` finds out.
        of: all that the answer depends on beside code, as JSON; so is the answer.
        find: finds it out.
    """
    memory = _memory.get()
    if memory is None:
        return find()
    key = hashlib.md5(json.dumps([question, of]).encode()).hexdigest()
    memory.asked[key] = memory.kept[key] if key in memory.kept else find()
    return memory.asked[key]


@contextmanager
def kept(whole: bool = False) -> Iterator[None]:
    """Keeps answers in the run store, and uses those of last time.

    Args:
        whole: all that there is to ask is asked, so that in the end it holds no other answers.
    """
    path, code = paths.STORE / "facts.json", _code()
    content = read_notes(path)
    memory = _Memory(content["facts"] if content.get("code") == code else {})
    before = _memory.set(memory)
    try:
        yield
    finally:
        _memory.reset(before)
    found = memory.asked if whole else memory.kept | memory.asked
    if found != memory.kept:
        with suppress(OSError):  # a full disk; the answers only save time
            write_json(path, {"code": code, "facts": found})


def _code() -> str:
    digest = hashlib.md5(f"{paths.ROOT} {sys.version} {importlib.metadata.version('torch')}".encode())
    for pattern in CODE:
        for path in sorted(paths.ROOT.glob(pattern)):
            digest.update(f"{path.relative_to(paths.ROOT)} ".encode() + path.read_bytes())
    return digest.hexdigest()
