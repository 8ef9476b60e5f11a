"""`make bench`: all figures of this machine's CPU, written to reports/benchmarks/<machine>.md.

pipeline/python tests/benchmarks/bench.py [--rounds N] [--images N] [--only speed|costs|footprint|many] [--output FILE]
"""

import argparse
import sys
from pathlib import Path

import costs
import footprint
import hardware
import inputs
import many
import speed
from contest import ROOT

from pipeline import arithmetic
from pipeline.running import forkserver, slots
from pipeline.storage import write_atomically

BATCHES = (32, 128)
PAIRS = [
    ("ours", "bare", "≥ 0.95"),
    ("ours, one run", "bare, one run", "≥ 0.95"),
    ("ours", "Lightning script", ""),
    ("ours", "Keras", "≥ 1.2"),
    ("ours", "Keras, side by side", ""),
    ("ours, bf16", "Keras", "≥ 2"),
    ("ours, bf16", "ours", ""),
]
EXPLAINED = """\
Images per second of training, all processes of an entrant together; medians of {rounds} slices of {images} images
per process, the entrants in turn. *ours*: runs of one thread side by side on all {cores} cores, as a stage trains them.
*bare*: a PyTorch loop over the same tensors, network and number of processes, with the same settings of malloc.
*Lightning script*: one run on all cores, loader workers, torchvision transforms. *Keras*: one run of `fit` on all
cores; *side by side*: as many as cores, of one thread. All in float32 but *bf16*. *load*: processes that wanted a
core, the benchmark's own among them."""


def speed_section(rounds: int, images: int, rows: dict[str, str], batches: tuple[int, ...]) -> list[str]:
    """Tables of images per second and of ratios."""
    cores = slots.cores()
    entrants = speed.cpu_entrants(cores, images)
    contests = {f"{name}, {batch}": inputs.row(name, batch) for name in rows for batch in batches}
    heats, failures = speed.measure(entrants, contests, rounds)
    names = [entrant.name for entrant in entrants]
    missing = [f"- {name}: skipped ({reason})" for name, reason in failures.items()]
    if "Keras" not in names:
        missing.append(f"- Keras: skipped ({keras_reason()})")
    pairs = [pair for pair in PAIRS if pair[0] in names and pair[1] in names]
    return [
        "## Training",
        "",
        EXPLAINED.format(rounds=rounds, images=images, cores=cores),
        "",
        *speed.table(heats, names),
        *(["", *missing] if missing else []),
        "",
        "Ratios, medians of those within a round:",
        "",
        *speed.ratios(heats, pairs),
        "",
        "The same per second of CPU time, which neighbours on the machine disturb less; a process that waits for other"
        " threads in a loop is charged for it:",
        "",
        *speed.table(heats, names, "cpu_rate"),
        "",
        *speed.ratios(heats, pairs, "cpu_rate"),
    ]


def keras_reason() -> str:
    """Why there is no environment with Keras."""
    log = speed.KERAS / "log"
    lines = log.read_text().strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "no environment; `make bench` builds it"


def costs_section() -> list[str]:
    """Shares of a run that are not training."""
    with forkserver.start().Pool(1, maxtasksperchild=1) as pool:  # one worker a run, as in a stage
        measured = {name: pool.apply(costs.measure, (name, 128)) for name in ("bn", "both")}
    return [
        "## What a run costs besides training",
        "",
        "CPU seconds of `vgg2` at batch 128 on CIFAR-10: measured on a fifth of its images and multiplied by five, but"
        " for curves, checkpoint and logging, which do not grow with them; shares of a run of so many epochs.",
        "",
        *costs.table(measured, (50, 20)),
    ]


def footprint_section() -> list[str]:
    """Start-up and memory."""
    held = footprint.memory(2) if Path("/proc").exists() else None
    return ["## Start-up and memory", "", *footprint.lines(footprint.start_up(), held)]


def many_section() -> list[str]:
    """Rows side by side."""
    return ["## Many runs", "", *many.lines(many.launch(slots.cores()))]


def main() -> None:
    parser = argparse.ArgumentParser(description="Figures of this machine's CPU")
    parser.add_argument("--rounds", type=int, default=7, help="slices of each entrant and row")
    parser.add_argument("--images", type=int, default=1024, help="of a slice; a multiple of 128")
    parser.add_argument(
        "--only", choices=["speed", "costs", "footprint", "many"], help="one section, printed and not written"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "reports" / "benchmarks" / f"{hardware.slug()}.md")
    arguments = parser.parse_args()
    head = hardware.header(speed.KERAS / "bin" / "python")
    forkserver.start()
    arithmetic.choose("native")  # what contestants, started from here, compute with
    sections = {
        "speed": lambda: speed_section(arguments.rounds, arguments.images, inputs.ROWS, BATCHES),
        "costs": costs_section,
        "footprint": footprint_section,
        "many": many_section,
    }
    wanted = [arguments.only] if arguments.only else list(sections)
    text = ["# Benchmark of the CPU, by `make bench`", "", *head]
    for name in wanted:
        print(f"measuring {name}", file=sys.stderr)
        text += ["", *sections[name]()]
        if not arguments.only:  # after each section, so that a failure of the next loses nothing
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(arguments.output, ("\n".join(text) + "\n").encode())
    print("\n".join(text))


if __name__ == "__main__":
    main()
