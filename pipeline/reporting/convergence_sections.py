"""The sections on how fast rows learn and which learning rates they bear."""

from collections.abc import Iterator

from pipeline.findings.convergence import LEARNS, USABLE, Rates, learning_rates
from pipeline.findings.findings import Findings
from pipeline.findings.measured import Result
from pipeline.findings.stats import mean_interval
from pipeline.findings.wording import NONE, interval, marked, number, sentence, table
from pipeline.params.quantities import epochs_to
from pipeline.reporting.section import Section, Words


def epochs(found: Findings) -> Iterator[Section]:
    """Epochs to each of the study's targets; nothing where it has none."""
    targets = found.study.study.targets
    if not targets:
        return
    head = ["row", *(f"epochs to {number(target, 1, 100)} %" for target in targets)]
    lines = [[marked(result), *(_reached(result, target) for target in targets)] for result in found.planned]
    note = (
        "The first epoch after which a run's validation accuracy is at least that high: mean over the runs that get"
        " there, and how many of all do. The mean leaves out those that do not, so compare it only where all do."
        " Seconds are in MLflow, as `epoch_seconds`."
    )
    yield Section("Epochs to an accuracy", [Words(table(head, lines)), Words(note)])


def _reached(result: Result, target: float) -> str:
    found = [epochs_to(curve, target) for curve in result.curves["val_accuracy"]]
    epochs = [float(epoch) for epoch in found if epoch is not None]
    count = f"{len(epochs)} of {len(result.runs)}"
    return f"{interval(mean_interval(epochs), 1)} ({count})" if epochs else f"{NONE} ({count})"


def rates(found: Findings) -> Iterator[Section]:
    """What rates each arrangement was trained at, and the highest usable one; nothing where each has but one."""
    arrangements = learning_rates(found.planned)
    if not arrangements:
        return
    head = ["each · end · head", "`activation`", "rates: mean validation accuracy, %", "highest usable rate"]
    note = (
        "Rows that differ in nothing but `optimizer.lr`. A rate is usable if every seed finished and the mean"
        f" validation accuracy lies at least {number(USABLE, 0, 100)} % of the way from guessing to the best that the"
        " arrangement reaches at any of its rates; none is where that best gets less than"
        f" {number(LEARNS, 0, 100)} % of the way from guessing to 100 %."
    )
    lines = map(_rates_line, arrangements)
    yield Section("Usable learning rates", [Words(table(head, lines, numbers_from=3)), Words(note)])


def _rates_line(rates: Rates) -> list[str]:
    shown = []
    for rate, result in rates.results.items():
        failed = f" ({len(result.failures)} failed)" if result.failures else ""
        shown.append(f"{rate:g}: {number(rates.accuracy(rate), 2, 100)}{failed}")
    usable, row = rates.usable(), next(iter(rates.results.values())).row
    return [f"`{sentence(row)}`", row.activation, "; ".join(shown), NONE if usable is None else f"{usable:g}"]
