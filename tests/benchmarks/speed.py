"""Images per second of training: a run of this project beside the same network trained in other ways."""

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import inputs
from contest import ROOT, Contest, Entrant, Slice, Team, median, needed_images, ratio
from rich.console import Console
from rich.progress import Progress

from pipeline.params.rows import Row
from pipeline.running import forkserver

KERAS = ROOT / ".bench-keras"
"""The environment of Keras, built by `make bench`; `log` in it says why where it could not be."""


@dataclass(frozen=True)
class Heat:
    """What was measured of one row: its name, the slices of each entrant, and the machine's load meanwhile."""

    name: str
    slices: dict[str, list[Slice]]
    load: float


def cpu_entrants(cores: int, images: int) -> list[Entrant]:
    """Who competes on a CPU: runs of one thread side by side on all cores, or one run at a time."""
    ours = Team("ours.py", cores, images, environment=forkserver.ENVIRONMENT)
    bare = Team("bare.py", cores, images, environment=forkserver.ENVIRONMENT)
    typical = Team("typical.py", 1, images)
    entrants = [
        Entrant("ours", ours, cores),
        Entrant("ours, one run", ours, 1),
        Entrant("bare", bare, cores),
        Entrant("bare, one run", bare, 1),
        Entrant("Lightning script", typical, 1),
    ]
    if has_bf16():
        changes = {"precision": "bf16-mixed", "arithmetic": "native"}
        half = Team("ours.py", cores, images, environment=forkserver.ENVIRONMENT, changes=changes)
        entrants.append(Entrant("ours, bf16", half, cores))
    python = KERAS / "bin" / "python"
    if python.exists():
        whole = Team("keras_fit.py", 1, images, str(python))
        single = Team("keras_fit.py", cores, images, str(python), {"BENCH_THREADS": "1"})
        entrants += [Entrant("Keras", whole, 1), Entrant("Keras, side by side", single, cores)]
    return entrants


def has_bf16() -> bool:
    """Whether the CPU computes in bfloat16."""
    path = Path("/proc/cpuinfo")
    flags = path.read_text() if path.exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def measure(entrants: list[Entrant], rows: dict[str, Row], rounds: int) -> tuple[list[Heat], dict[str, str]]:
    """Lets all entrants train all rows.

    Returns:
        What was measured, and who failed, with the reason.
    """
    with TemporaryDirectory() as folder, Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("images/s", total=len(rows) * (rounds + 1) * len(entrants))
        data = inputs.random_images(Path(folder), needed_images(entrants, rounds))
        heats = []
        with Contest(entrants, list(rows.values()), data) as contest:
            for name in rows:
                progress.update(task, description=name)
                slices = contest.next_row(rounds, lambda: progress.advance(task))
                heats.append(Heat(name, slices, os.getloadavg()[0]))
                progress.console.print(f"{name}: " + ", ".join(f"{who} {median(s):.0f}" for who, s in slices.items()))
    return heats, contest.failures


def table(heats: list[Heat], names: list[str], figure: str = "rate") -> list[str]:
    """Medians as Markdown; a dash where an entrant failed."""
    lines = ["| row, batch | " + " | ".join(names) + " | load |", "|---|" + "---:|" * (len(names) + 1)]
    for heat in heats:
        cells = [f"{median(heat.slices[name], figure):,.0f}" if name in heat.slices else "–" for name in names]
        lines.append(f"| {heat.name} | {' | '.join(cells)} | {heat.load:.1f} |")
    return lines


def ratios(heats: list[Heat], pairs: list[tuple[str, str, str]], figure: str = "rate") -> list[str]:
    """Ratios as Markdown.

    Args:
        heats: what was measured.
        pairs: two entrants, and what is wanted of the first over the second.
        figure: of which the ratio is.
    """
    lines = [
        "| row, batch | " + " | ".join(f"{one} / {other}" for one, other, _ in pairs) + " |",
        "|---|" + "---:|" * len(pairs),
        "| *target* | " + " | ".join(target for _, _, target in pairs) + " |",
    ]
    for heat in heats:
        cells = [
            f"{ratio(heat.slices[one], heat.slices[other], figure):.2f}"
            if one in heat.slices and other in heat.slices
            else "–"
            for one, other, _ in pairs
        ]
        lines.append(f"| {heat.name} | {' | '.join(cells)} |")
    return lines
