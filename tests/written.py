"""Writes params.yaml for tests."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML


def write_params(path: Path, content: Any) -> Path:
    """Writes content as YAML without aliases, which params.yaml may not have; returns the path."""
    yaml = YAML(typ="safe", pure=True)
    yaml.representer.ignore_aliases = lambda *_: True
    yaml.dump(content, path)
    return path
