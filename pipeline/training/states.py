"""The state from which an interrupted run goes on: tensors and plain numbers alone, behind a digest of them.

A state may come from a store that was copied or is shared, so nothing in it is ever executed; and a bit that a disk
has lost would change the run's numbers, so a state that is not as it was written is not taken up.
"""

import hashlib
import io
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import CheckpointIO

from pipeline import paths
from pipeline.storage import Damaged, set_aside
from pipeline.text import one_line

DIGEST = hashlib.md5().digest_size
"""Bytes in front of a state."""


class States(CheckpointIO):
    """How Lightning saves and loads states."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with Path(path).open("wb") as file:
            file.write(hashlib.md5(content.getbuffer()).digest())
            file.write(content.getbuffer())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return read(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """A state, on the CPU.

    Raises:
        Damaged: it is not as it was written, or holds more than tensors and plain numbers.
    """
    content = path.read_bytes()
    if hashlib.md5(content[DIGEST:]).digest() != content[:DIGEST]:
        raise Damaged(f"{paths.shown(path)}: damaged, not as it was written")
    try:
        return torch.load(io.BytesIO(content[DIGEST:]), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever somebody has put there
        raise Damaged(f"{paths.shown(path)}: no state of a run ({one_line(error)[:60]})") from None


def sound(path: Path) -> Path | None:
    """The state to take up, if there is one; a broken one is set aside, so that the run starts again."""
    try:
        read(path)
    except FileNotFoundError:
        return None
    except Damaged as damage:
        set_aside(path, path.with_name(f"{path.name}.damaged"), damage)
        return None
    return path
