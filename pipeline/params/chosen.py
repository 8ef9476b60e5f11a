"""The values that a tuning chose for a row: best.json, which `tune` writes."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline import paths
from pipeline.errors import UserError
from pipeline.params.rows import Row, TunedRow
from pipeline.storage import read_json

BEST = "best.json"


def read_row(name: str, row: TunedRow, folder: Path) -> Row:
    """The row with the values that won.

    Args:
        name: of the row.
        row: before its tuning.
        folder: of the tuning's outputs.

    Raises:
        UserError: they are missing, damaged or of another tuning.
    """
    best = read_best(name, row, folder)
    try:
        return Row.model_validate(best["row"] | {"published": row.published and row.published.model_dump()})
    except (ValidationError, KeyError, TypeError):
        raise UserError(f"{paths.shown(folder / BEST)}: damaged; run '.venv/bin/dvc repro -f tune@{name}'") from None


def read_best(name: str, row: TunedRow, folder: Path) -> dict[str, Any]:
    """The content of best.json."""
    path = folder / BEST
    try:
        best = read_json(path)
    except ValueError:
        raise UserError(f"{paths.shown(path)}: damaged; run '.venv/bin/dvc repro -f tune@{name}'") from None
    if best is None:
        raise UserError(f"{paths.shown(path)}: missing; run '.venv/bin/dvc repro tune@{name}'")
    if not isinstance(best, dict) or best.get("tuning") != row.tuning.model_dump():
        raise UserError(f"{paths.shown(path)}: of another tuning; run '.venv/bin/dvc repro tune@{name}'")
    return best
