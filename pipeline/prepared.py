"""Prepared images: reading one split touches no other."""
import json
from dataclasses import dataclass
from pathlib import Path
from safetensors import safe_open
import torch
from torch import Tensor
TRAIN, VALIDATION, TEST = 0, 1, 2
NAMES = ("train", "validation", "test")

@dataclass(frozen=True)
class Info:
    classes: list[str]
    source: str
    mean: Tensor
    std: Tensor
    shape: tuple[int, int, int]
    counts: dict[str, int]

def info(path: Path) -> Info:
    with safe_open(path, "pt") as f:
        m = json.loads(f.metadata()["dataset"])
        return Info(m["classes"], m["source"], f.get_tensor("mean"), f.get_tensor("std"), tuple(f.get_slice("images").get_shape()[1:]), m["counts"])

def read(path: Path, split: int) -> tuple[Tensor, Tensor]:
    counts = list(info(path).counts[n] for n in NAMES)
    a = sum(counts[:split]); b = a + counts[split]
    with safe_open(path, "pt") as f:
        return f.get_slice("images")[a:b], f.get_slice("labels")[a:b]
