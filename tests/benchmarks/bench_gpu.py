"""`make bench-gpu`: all figures of one GPU, written to reports/benchmarks/<gpu>.md.

    pipeline/python tests/benchmarks/bench_gpu.py [--cpu]

Ten seeds of `vgg2` train as ten processes that share the device, each on tensors that lie on it: a run's numbers are
those of the run alone, because it is the run alone. `--cpu` goes through all of it in small, to see that it works.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hardware
import inputs
import limits
import speed
import torch
from contest import ROOT, Entrant, Team, median

from pipeline.params.reading import read_params
from pipeline.params.rows import Row
from pipeline.running import forkserver


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Args:
        seeds: of a row, trained together.
        together: numbers of processes to try, up to `seeds`.
        small, large: images of a slice of vgg2 and of vgg16; all processes hold those of all slices on the device.
        script: images of a slice of the Lightning script, which is slow.
        batch: of vgg16.
        rounds: slices of each entrant and row.
        probe: side of the matrices that show the device's limits.
        rows: of `inputs.ROWS`.
        modes: of MODES.
        compiled: whether vgg16 is.
    """

    seeds: int = 10
    together: tuple[int, ...] = (1, 2, 5, 10)
    small: int = 2**13
    large: int = 2**15
    script: int = 2**13
    batch: int = 512
    rounds: int = 5
    probe: int = 8192
    rows: tuple[str, ...] = ("bn", "dropout", "both")
    modes: tuple[str, ...] = ("float32", "bf16", "bf16, compiled")
    compiled: bool = True


TINY = Sizes(2, (1, 2), 32, 32, 32, 32, 1, 128, ("both",), ("bf16",), compiled=False)
MODES = {
    "float32": {},
    "bf16": {"precision": "bf16-mixed", "arithmetic": "native"},
    "bf16, compiled": {"precision": "bf16-mixed", "compile": True, "arithmetic": "native"},
}
"""How the row's trainer is set."""


def small_network(sizes: Sizes, device: dict[str, Any]) -> list[str]:
    """`vgg2` at batch 32: many runs on one device against one Lightning script."""
    entrants = [Entrant("Lightning script", Team("typical.py", 1, sizes.script, changes=device), 1)]
    for mode in sizes.modes:
        changes = device | MODES[mode]
        team = Team("ours.py", sizes.seeds, sizes.small, environment=forkserver.ENVIRONMENT, changes=changes)
        entrants += [Entrant(f"{count} × {mode}", team, count) for count in sizes.together]
    rows = {f"{name}, 32": inputs.row(name, 32) for name in sizes.rows}
    heats, failures = speed.measure(entrants, rows, sizes.rounds)
    names = [entrant.name for entrant in entrants]
    best = [max(heat.slices, key=lambda name, heat=heat: median(heat.slices[name])) for heat in heats]
    pairs = [(name, "Lightning script", "≥ 20") for name in dict.fromkeys(best) if name != "Lightning script"]
    return [
        f"## vgg2, {sizes.seeds} seeds on one device",
        "",
        "Images per second of all processes together; the script trains one run at a time in float32.",
        "",
        *speed.table(heats, names),
        *(f"- {name}: failed ({reason})" for name, reason in failures.items()),
        "",
        *speed.ratios(heats, pairs),
        "",
        *_shares(rows, {heat.name: median(heat.slices[name]) for heat, name in zip(heats, best, strict=True)}, sizes),
    ]


def _shares(rows: dict[str, Row], rates: dict[str, float], sizes: Sizes) -> list[str]:
    """The best rates as shares of the device's limits."""
    device = limits.probe(sizes.probe)
    lines = [
        f"The device copies {device.bytes / 1e9:,.0f} GB/s and multiplies bf16 matrices at"
        f" {device.operations / 1e12:,.1f} TFLOP/s, both measured. What a training image needs at least, no kernel"
        " spanning two layers, activations in bf16:",
        "",
        "| row, batch | KB | MFLOP | limit by memory, images/s | limit by arithmetic | best | of the lower limit |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in rows.items():
        need = limits.need(row)
        memory, arithmetic = device.bytes / need.bytes, device.operations / need.operations
        lines.append(
            f"| {name} | {need.bytes / 1e3:,.0f} | {need.operations / 1e6:,.0f} | {memory:,.0f} | {arithmetic:,.0f}"
            f" | {rates[name]:,.0f} | {100 * rates[name] / min(memory, arithmetic):.1f} % |"
        )
    return lines


def large_network(sizes: Sizes, device: dict[str, Any]) -> list[str]:
    """`vgg16` in bf16: a run against the bare compiled loop."""
    changes = device | MODES["bf16"] | {"compile": sizes.compiled}
    environment = forkserver.ENVIRONMENT
    ours = Team("ours.py", 1, sizes.large, environment=environment, changes=changes)
    bare = Team("bare.py", 1, sizes.large, environment=environment, changes=changes)
    row = read_params().rows["vgg16-both"].model_copy(update={"batch": sizes.batch, "augment": "none"})
    entrants = [Entrant("ours", ours, 1), Entrant("bare", bare, 1)]
    heats, failures = speed.measure(entrants, {f"vgg16, {sizes.batch}": row}, sizes.rounds)
    return [
        f"## vgg16, bf16{', compiled' if sizes.compiled else ''}",
        "",
        *speed.table(heats, ["ours", "bare"]),
        *(f"- {name}: failed ({reason})" for name, reason in failures.items()),
        "",
        *speed.ratios(heats, [("ours", "bare", "≥ 0.9")]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Figures of one GPU")
    parser.add_argument("--cpu", action="store_true", help="small sizes on the CPU; printed and not written")
    tiny = parser.parse_args().cpu
    if not tiny and not torch.cuda.is_available():
        raise SystemExit("error: no GPU here; --cpu goes through the benchmark in small")
    sizes, device = (TINY, {"accelerator": "cpu"}) if tiny else (Sizes(), {"accelerator": "gpu"})
    text = ["# Benchmark of the GPU, by `make bench-gpu`", "", *hardware.header(), ""]
    text += [*small_network(sizes, device), "", *large_network(sizes, device)]
    page = "\n".join(text) + "\n"
    if not tiny:
        output: Path = ROOT / "reports" / "benchmarks" / f"{hardware.slug()}.md"
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
