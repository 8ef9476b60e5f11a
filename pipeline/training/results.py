"""A row's outputs from its runs: what DVC tracks, deterministic to the byte.

metrics.json         means over the runs that finished, and how many did
spec.json            the row, the data and the code that they stand for
seeds.csv            one line per run: status and every number
curves.csv           one line per run and epoch
logits.safetensors   `labels` of the test images, N int64, and per run `seed-<n>`, N×K float32
weights/             per run `seed-<n>.safetensors`, the state dict of the kept weights
"""

import csv
import io
import shutil
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save

from pipeline.images import prepared
from pipeline.storage import read_sealed, write_atomically, write_json
from pipeline.training.columns import CURVES

MEANS = ("test_accuracy", "test_loss", "test_auc", "final_val_accuracy", "final_val_loss", "gap_accuracy", "best_epoch")
"""What metrics.json shows of a row."""


def write(spec: dict[str, Any], runs: dict[int, Path], data: Path, target: Path, draft: Path) -> list[dict[str, Any]]:
    """Writes a row's outputs, all or none.

    Args:
        spec: `row`, and the digests `data` and `code`.
        runs: folders of finished or failed runs by seed.
        data: the prepared data.
        target: the row's output folder.
        draft: a folder to build it in, on the same disk.

    Returns:
        The results of the runs, in the order of seeds.

    Raises:
        Damaged: a file of a run is not as it was written.
    """
    results = [{"seed": seed} | read_sealed(folder / "result.json") for seed, folder in runs.items()]
    finished = {seed: runs[seed] for seed in runs if (runs[seed] / "weights.safetensors").exists()}
    shutil.rmtree(draft, ignore_errors=True)
    (draft / "weights").mkdir(parents=True)
    info = prepared.info(data)
    write_json(draft / "spec.json", spec | {"classes": info.classes, "images": info.counts})
    write_json(draft / "metrics.json", _means(results))
    write_atomically(draft / "seeds.csv", _seeds_csv(results, info.classes).encode())
    write_atomically(draft / "curves.csv", _curves_csv(runs).encode())
    _, labels = prepared.test_arrays(data)
    logits = {f"seed-{seed}": load_file(folder / "logits.safetensors")["logits"] for seed, folder in finished.items()}
    write_atomically(draft / "logits.safetensors", save({"labels": labels} | logits))
    for seed, folder in finished.items():
        shutil.copyfile(folder / "weights.safetensors", draft / "weights" / f"seed-{seed}.safetensors")
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft.replace(target)
    return results


def _means(results: list[dict[str, Any]]) -> dict[str, Any]:
    finished = [result for result in results if result["status"] == "finished"]
    means: dict[str, Any] = {"runs": len(results), "failed": len(results) - len(finished)}
    for key in MEANS:
        values = [result[key] for result in finished if result[key] is not None]
        means[key] = sum(values) / len(values) if values else None
    return means


def _seeds_csv(results: list[dict[str, Any]], classes: list[str]) -> str:
    lines = []
    for result in results:
        by_class = result.pop("class_accuracy", [None] * len(classes))
        named = {f"class_accuracy_{name}": value for name, value in zip(classes, by_class, strict=True)}
        lines.append(result | named)
    first = ["seed", "status", "reason", "epochs", "best_epoch", "parameters"]
    columns = first + sorted({key for line in lines for key in line} - set(first))
    return _csv(columns, lines)


def _curves_csv(runs: dict[int, Path]) -> str:
    lines = []
    for seed, folder in runs.items():
        with (folder / "curves.csv").open(newline="") as file:
            lines += [{"seed": seed} | line for line in csv.DictReader(file)]
    return _csv(["seed", *CURVES], lines)


def _csv(columns: list[str], lines: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()
