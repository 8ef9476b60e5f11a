"""Stage `report@<study>`: what a study found, as Markdown with figures for whoever opens the repository.

    pipeline/python -m pipeline.report STUDY          writes reports/<study>.md and reports/<study>/*.svg
    pipeline/python -m pipeline.report --show STUDY   prints the ranking again and writes nothing

Only the rows that the plan lists are read: outputs of rows that were removed stay on disk. The same
outputs give the same bytes, so the report can be checked like every other output.
"""

import csv
import html
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline import paths
from pipeline.config import Row
from pipeline.errors import UserError, command
from pipeline.plan import PlannedStudy, read_study
from pipeline.stats import Estimate, mean_interval, paired_difference
from pipeline.storage import write_atomically

if TYPE_CHECKING:
    from rich.table import Table

    from pipeline.charts import Dots, Panel

T = TypeVar("T")

NONE = "–"
"""What a table shows where there is no number."""

MOST_CLASSES = 20
"""Accuracy by class is shown for at most so many classes."""

FIGURES = {
    "accuracy": ("accuracy", "Accuracy (%)"),
    "loss": ("loss", "Cross-entropy loss (nats)"),
    "auc": ("auc", "AUC, micro-averaged one-vs-rest"),
    "learning-rate": ("lr", "Learning rate"),
}
"""Files of curves: column of curves.csv without the split, and what the vertical axis is."""


RISING = ("accuracy", "auc")
"""Columns that rise towards 1."""


@dataclass(frozen=True)
class Run:
    """One line of seeds.csv: the numbers that it holds, and why the run failed, None if it finished."""

    seed: int
    failure: str | None
    numbers: dict[str, float]


@dataclass(frozen=True)
class Result:
    """What was measured for a row.

    Args:
        name, row: as planned.
        spec: content of spec.json.
        runs: in the order of seeds.
        curves: column of curves.csv to a line of values per run that finished.
    """

    name: str
    row: Row
    spec: dict[str, Any]
    runs: list[Run]
    curves: dict[str, list[list[float]]]

    def values(self, column: str) -> dict[int, float]:
        """A column of seeds.csv by seed, of the runs that finished and have it."""
        return {run.seed: run.numbers[column] for run in self.runs if run.failure is None and column in run.numbers}

    def estimate(self, column: str) -> Estimate | None:
        """Mean and interval of a column over the runs that finished; None if there is none."""
        values = self.values(column)
        return mean_interval(list(values.values())) if values else None

    @property
    def failures(self) -> list[Run]:
        """The runs that failed."""
        return [run for run in self.runs if run.failure is not None]

    @property
    def leaking(self) -> bool:
        """Whether test images chose what was tested on them."""
        return self.row.select_on == "test"


Groups = list[list[Result]]
"""Ranked rows, one list per data set: accuracies on different images do not compare."""


# Reading -------------------------------------------------------------------------------------------


def load(study: PlannedStudy, runs: Path) -> Groups:
    """The planned rows' results, ranked, best first.

    Args:
        study: as planned.
        runs: the folder with a folder of outputs per row.

    Raises:
        UserError: outputs are missing, damaged or of another version of the row.
    """
    groups: dict[str, list[Result]] = {}
    for name, row in study.rows.items():
        groups.setdefault(row.dataset, []).append(_load_row(study.name, name, row, runs / name))
    return [sorted(group, key=standing) for group in groups.values()]


def standing(result: Result) -> float:
    """What results are sorted by; rows in which no run finished come last."""
    accuracy = result.estimate("test_accuracy")
    return -accuracy.mean if accuracy else 1.0


def _load_row(study: str, name: str, row: Row, folder: Path) -> Result:
    def parse(file: str, reader: Callable[[Path], T]) -> T:
        path = folder / file
        try:
            return reader(path)
        except FileNotFoundError:
            raise UserError(f"{paths.shown(path)}: missing; run 'dvc repro report@{study}'") from None
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{paths.shown(path)}: damaged; run 'dvc checkout --force train@{name}'") from None

    spec = parse("spec.json", _read_spec)
    runs = parse("seeds.csv", _read_runs)
    finished = [run.seed for run in runs if run.failure is None]
    curves = parse("curves.csv", lambda path: _read_curves(path, finished))
    planned = row.model_dump(mode="json", exclude={"published"})
    if spec["row"] != planned or [run.seed for run in runs] != row.seeds:
        raise UserError(f"{paths.shown(folder)}: of an older version of the row; run 'dvc repro report@{study}'")
    return Result(name, row, spec, runs, curves)


def _read_spec(path: Path) -> dict[str, Any]:
    spec = json.loads(path.read_bytes())
    return {key: spec[key] for key in ("data", "code", "row", "classes", "images", "source")}


def _read_runs(path: Path) -> list[Run]:
    runs = []
    for line in _lines(path):
        words = {key: line.pop(key) for key in ("seed", "status", "reason")}
        numbers = {key: float(value) for key, value in line.items() if value}
        failure = words["reason"] if words["status"] == "failed" else None
        if failure is None and "test_accuracy" not in numbers:
            raise ValueError("a finished run without test accuracy")
        runs.append(Run(int(words["seed"]), failure, numbers))
    return runs


def _read_curves(path: Path, seeds: list[int]) -> dict[str, list[list[float]]]:
    by_seed: dict[int, list[dict[str, str]]] = {seed: [] for seed in seeds}
    for line in _lines(path):
        by_seed.get(int(line["seed"]), []).append(line)
    columns = ["lr", *(f"{split}_{name}" for split in ("train", "val") for name in ("accuracy", "loss", "auc"))]
    return {
        column: [[float(line[column] or "nan") for line in lines] for lines in by_seed.values()] for column in columns
    }


def _lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


# Words ---------------------------------------------------------------------------------------------


def answer(ranked: Sequence[Result]) -> str:
    """One sentence: which row is ahead, and whether the seeds tell it apart from the runner-up.

    Rows that were selected on test images do not compete with rows that were not.

    Args:
        ranked: rows of one data set, best first.
    """
    finished = [result for result in ranked if result.estimate("test_accuracy")]
    if not finished:
        return "No run finished, so there is no answer."
    fair = [result for result in finished if not result.leaking]
    best, *others = fair or finished
    scope = ""
    if not fair:
        scope = "by accuracies that are optimistic, since all rows were selected on test images, "
    elif len(fair) < len(finished):
        scope = "among the rows selected on validation images, "
    count = f"{len(best.runs) - len(best.failures)} of {len(best.runs)} runs"
    failed = f" over the {count} that finished" if best.failures else ""
    accuracy = f"{percent(best.estimate('test_accuracy'))} %{failed}"
    margin = _margin(best, others[0]) if others else "but there is no other row to compare it with."
    text = f"{scope}`{best.name}` has the highest mean test accuracy, {accuracy}, {margin}"
    return text[0].upper() + text[1:]


def _margin(best: Result, second: Result) -> str:
    runner_up = f"the runner-up `{second.name}`"
    difference = paired_difference(best.values("test_accuracy"), second.values("test_accuracy"))
    if difference is None:
        return f"but it has no seed in common with {runner_up}, so nothing tells them apart."
    points, n = signed(100 * difference.mean), difference.n
    if difference.low is None or difference.high is None:
        return f"but one common seed, {points} points to {runner_up}, cannot tell them apart."
    if difference.half_width == 0:
        same = f"but its difference to {runner_up} is {points} points in each of {n} common seeds"
        return f"{same}, which leaves no spread to estimate an interval from."
    ends = f"{signed(100 * difference.low)} to {signed(100 * difference.high)}"
    measured = f"its paired difference to {runner_up}, {points} points (95 % interval {ends})"
    if difference.low > 0:
        return f"and {measured}, excludes zero over {n} common seeds."
    if difference.high < 0:
        return f"but {measured}, is negative over the {n} common seeds, so the order is not settled."
    return f"but {measured}, includes zero: {n} seeds cannot tell them apart."


def sentence(row: Row) -> str:
    """The row's network, short."""
    return " · ".join(part for part in (row.each, row.end, row.head) if part)


def number(value: float | None, digits: int, scale: float = 1.0) -> str:
    """A number with a fixed count of decimals, or NONE."""
    return NONE if value is None else f"{scale * value:,.{digits}f}".replace("-", "−")


def signed(value: float, digits: int = 2) -> str:
    """A difference with its sign."""
    return f"{value:+,.{digits}f}".replace("-", "−")


def interval(estimate: Estimate | None, digits: int, scale: float = 1.0, sign: bool = False) -> str:
    """Mean ± half width of the interval; the mean alone where there is no interval."""
    if estimate is None:
        return NONE
    middle = signed(scale * estimate.mean, digits) if sign else number(estimate.mean, digits, scale)
    return middle + ("" if estimate.half_width is None else f" ± {number(estimate.half_width, digits, scale)}")


def percent(estimate: Estimate | None) -> str:
    """A fraction's mean and interval in percent."""
    return interval(estimate, 2, 100)


def mean(result: Result, column: str, digits: int, scale: float = 1.0) -> str:
    """The mean of a column over the runs that finished."""
    estimate = result.estimate(column)
    return number(estimate.mean if estimate else None, digits, scale)


def cell(text: str) -> str:
    """Text of any origin as it shall appear in a table of Markdown."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{char}" if char in "|*`[]" else char for char in escaped)


def table(head: Sequence[str], lines: Iterable[Sequence[str]], numbers_from: int = 1) -> str:
    """A Markdown table; columns from `numbers_from` on are aligned right."""
    rule = ["---" if place < numbers_from else "---:" for place in range(len(head))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def marked(result: Result) -> str:
    """The row's name, and whether it leaks."""
    return f"`{result.name}`{' †' if result.leaking else ''}"


def runs(result: Result) -> str:
    """How many runs; of failed ones also why the first failed."""
    if not result.failures:
        return str(len(result.runs))
    first = result.failures[0]
    return f"{len(result.failures)} of {len(result.runs)} failed; the first, seed {first.seed}: {first.failure}"


def place(result: Result, group: Sequence[Result]) -> str:
    """The rank among the rows of one data set; NONE where no run finished."""
    better = sum(standing(other) < standing(result) for other in group)
    return str(1 + better) if result.estimate("test_accuracy") else NONE


# Sections ------------------------------------------------------------------------------------------


def markdown(study: PlannedStudy, groups: Groups) -> str:
    """The report.

    Args:
        study: as planned.
        groups: what `load` gives.
    """
    results = [result for group in groups for result in group]
    alt = "Test accuracy of each run, with the mean and its 95 % interval for each row"
    parts = [
        f"# {' '.join(study.study.title.split())}",
        study.study.question.strip(),
        *(f"**Answer{_on(groups, group)}.** {answer(group)}" for group in groups),
        f"![{alt}]({study.name}/runs.svg)",
        *(_ranking(groups, group) for group in groups),
        _ranking_notes(results),
        _published(results),
        *(_details(groups, group) for group in groups),
        _curves(study.name, results),
        *(_by_class(groups, group) for group in groups),
        _settings(results),
        _reproduction(study.name, groups),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _on(groups: Groups, group: list[Result]) -> str:
    return f" on `{group[0].row.dataset}`" if len(groups) > 1 else ""


def _ranking(groups: Groups, group: list[Result]) -> str:
    head = ["#", "row", "each · end · head", "runs", "test accuracy, %", "test loss, nats", "test AUC"]
    head += ["gap train − validation, points", "epochs to best", "parameters"]
    lines = [
        [
            place(result, group),
            marked(result),
            f"`{sentence(result.row)}`",
            cell(runs(result)),
            percent(result.estimate("test_accuracy")),
            mean(result, "test_loss", 4),
            mean(result, "test_auc", 4),
            mean(result, "gap_accuracy", 2, 100),
            mean(result, "best_epoch", 1),
            number(result.runs[0].numbers.get("parameters"), 0),
        ]
        for result in group
    ]
    return f"## Ranking{_on(groups, group)}\n\n{table(head, lines, numbers_from=4)}"


def _ranking_notes(results: list[Result]) -> str:
    text = (
        "Means over the runs that finished, one per seed; ± is half the 95 % interval of the mean (Student's t)."
        " It covers what the seed decides: initial weights, order of images, augmentation and dropout masks. It covers"
        " neither the choice of test images nor that the best of several rows was picked afterwards. The gap compares"
        " accuracy on training and validation images, both in test mode, for the weights that were tested."
    )
    if any(result.leaking for result in results):
        text += (
            "\n\n† Selected on test images (`select_on: test`): the test images leak into the choice of the epoch, so"
            " these test results are optimistic."
        )
    return text


def _published(results: list[Result]) -> str:
    lines = [line for result in results for line in _published_lines(result)]
    if not lines:
        return ""
    head = ["row", "measured over", "source", "metric", "published", "measured", "difference"]
    note = (
        "Difference = measured − published, in points for accuracy. The published values come without intervals, so"
        " chance on their side is not in ±. The measured AUC is the exact micro-average; Keras's `AUC()` estimates it"
        " with 200 thresholds."
    )
    return f"## Published beside measured\n\n{table(head, lines, numbers_from=4)}\n\n{note}"


def _published_lines(result: Result) -> list[list[str]]:
    published = result.row.published
    if published is None:
        return []
    lines = []
    metrics = (("accuracy", "accuracy, %", 2, 100), ("loss", "loss, nats", 4, 1), ("auc", "AUC", 4, 1))
    for key, label, digits, scale in metrics:
        value, measured = getattr(published, key), result.estimate(f"test_{key}")
        if value is not None:
            difference = signed(scale * (measured.mean - value), digits) if measured else NONE
            source = cell(published.source or "not named")
            numbers = [number(value, digits, scale), interval(measured, digits, scale), difference]
            lines.append([marked(result), _protocol(result), source, label, *numbers])
    return lines


def _protocol(result: Result) -> str:
    finished = len(result.runs) - len(result.failures)
    images = f"{result.spec['images']['train']:,} training images"
    return f"{finished} runs on {images}, selected on {result.row.select_on} images"


def _details(groups: Groups, group: list[Result]) -> str:
    best = group[0].values("test_accuracy")
    head = ["row", "test accuracy, paired difference to the first row, points", "validation accuracy, %"]
    head += ["training accuracy, %", "test loss, nats", "test AUC, micro", "test AUC, macro", "test ECE, %"]
    lines = []
    for result in group:
        behind = paired_difference(result.values("test_accuracy"), best) if result is not group[0] else None
        line = [marked(result), interval(behind, 2, 100, sign=True)]
        line += [percent(result.estimate(f"final_{split}_accuracy")) for split in ("val", "train")]
        line += [interval(result.estimate(f"test_{key}"), 4) for key in ("loss", "auc", "auc_macro")]
        lines.append([*line, percent(result.estimate("test_ece"))])
    note = (
        "Paired difference: the mean over common seeds. AUC is the area under the ROC curve, one-vs-rest: of all"
        " decisions in one pool (micro), or the mean over classes (macro). ECE is the expected calibration error over"
        " 15 bins of equal width. Training and validation accuracy are taken in test mode."
    )
    return f"## Differences, AUC and calibration{_on(groups, group)}\n\n{table(head, lines)}\n\n{note}"


def _curves(study: str, results: list[Result]) -> str:
    leaking = ", which are the test images in rows marked †" if any(result.leaking for result in results) else ""
    caption = (
        "One panel per row, in the order of the ranking. Dotted: training images, in training mode while the weights"
        f" change. Solid: the images that select, after the epoch{leaking}. Lines are means and bands the range from"
        " minimum to maximum over the seeds that finished; a run that stops before others of its row keeps its last"
        " value. Grey: the other rows' means. Where a curve of accuracy or AUC enters from below the axis, only first"
        " epochs lie there. Rates are those in force during the epoch."
    )
    pictures = [f"![{title} by epoch, a panel per row]({study}/{file}.svg)" for file, (_, title) in FIGURES.items()]
    return "\n\n".join(["## Curves", caption, *pictures])


def _by_class(groups: Groups, group: list[Result]) -> str:
    classes: list[str] = group[0].spec["classes"]
    if len(classes) > MOST_CLASSES:
        return ""
    columns = [f"class_accuracy_{name}" for name in classes]
    lines = [[marked(result), *(mean(result, column, 1, 100) for column in columns)] for result in group]
    note = "Share of each class's test images that is recognized, mean over seeds."
    return f"## Test accuracy by class, %{_on(groups, group)}\n\n{table(['row', *map(cell, classes)], lines)}\n\n{note}"


def _settings(results: list[Result]) -> str:
    """What the rows share and where they differ, beside the sentence that the ranking shows."""
    settings = [_setting(result.row) for result in results]
    differing = [key for key in settings[0] if len({setting[key] for setting in settings}) > 1]
    shared = "; ".join(f"`{key}` {value}" for key, value in settings[0].items() if key not in differing)
    text = f"## Settings\n\nCommon to all rows: {shared}."
    if differing:
        head = ["row", *(f"`{key}`" for key in differing)]
        pairs = zip(results, settings, strict=True)
        lines = [[marked(result), *(setting[key] for key in differing)] for result, setting in pairs]
        text += f"\n\n{table(head, lines, numbers_from=len(head))}"
    return text


def _setting(row: Row) -> dict[str, str]:
    values = row.model_dump(exclude={"study", "published", "each", "end", "head"})
    return {key: _shown(value) for key, value in values.items()}


def _shown(value: Any) -> str:
    """A value of params.yaml as a reader would write it; what has a name begins with it."""
    if isinstance(value, dict):
        named = [value["name"]] if "name" in value else []
        return ", ".join(named + [f"{key} {_shown(part)}" for key, part in value.items() if key != "name"])
    if isinstance(value, list):
        return "/".join(map(_shown, value)) or "none"
    return "none" if value is None else str(value).lower()


def _reproduction(study: str, groups: Groups) -> str:
    lines = [
        f"- Commit: the one that holds this file, `git log -1 --format=%H -- reports/{study}.md`.",
        f"- The same bytes: `dvc repro -f report@{study} && git diff --exit-code dvc.lock` trains everything afresh; no"
        " difference means that every result is the same to the byte.",
    ]
    for group in groups:
        spec, dataset = group[0].spec, group[0].row.dataset
        images = ", ".join(f"{spec['images'][split]:,} {split}" for split in ("train", "validation", "test"))
        content = f"{cell(spec['source'])}; {len(spec['classes'])} classes; images: {images}"
        lines.append(f"- Data `{dataset}`: {content}; MD5 of the prepared file {_digests(group, 'data')}.")
    results = [result for group in groups for result in group]
    lines.append(f"- Code that can change a number: MD5 {_digests(results, 'code')}.")
    return "\n\n".join(["## How to reproduce", f"```sh\ndvc repro report@{study}\n```", "\n".join(lines)])


def _digests(results: Sequence[Result], key: str) -> str:
    """The digest of all rows, or each with its rows where outputs of several versions lie beside each other."""
    rows: dict[str, list[str]] = {}
    for result in results:
        rows.setdefault(result.spec[key], []).append(f"`{result.name}`")
    if len(rows) == 1:
        return f"`{next(iter(rows))}`"
    return "; ".join(f"`{digest}` ({', '.join(names)})" for digest, names in rows.items())


# Files ---------------------------------------------------------------------------------------------


def write(study: PlannedStudy, groups: Groups, reports: Path) -> None:
    """Writes reports/<study>.md and its figures; what was there is replaced when all of it is made."""
    draft, target = reports / f".draft-{study.name}", reports / study.name
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    text = markdown(study, groups)
    _draw(groups, draft)
    shutil.rmtree(target, ignore_errors=True)
    draft.replace(target)
    write_atomically(reports / f"{study.name}.md", text.encode())


def _draw(groups: Groups, folder: Path) -> None:
    from pipeline import charts

    results = [result for group in groups for result in group]
    with charts.style():
        titles = {f"data set {group[0].row.dataset}": [_dots(result) for result in group] for group in groups}
        charts.save_svg(charts.dots_figure(titles), folder / "runs.svg")
        for file, (column, label) in FIGURES.items():
            panels = _panels(results, column)
            charts.save_svg(charts.curves_figure(panels, label, column in RISING), folder / f"{file}.svg")


def _dots(result: Result) -> "Dots":
    from pipeline.charts import Dots

    published = result.row.published.accuracy if result.row.published else None
    values = list(result.values("test_accuracy").values())
    return Dots(result.name, values, result.estimate("test_accuracy"), published, result.leaking)


def _panels(results: Sequence[Result], column: str) -> "list[Panel]":
    from pipeline.charts import Panel, aligned

    if column == "lr" and (common := _common_rates(results)):
        return [Panel("all rows", "", {"learning rate": aligned([common])})]
    kinds = {"training": f"train_{column}", "validation": f"val_{column}"}
    if column == "lr":
        kinds = {"learning rate": "lr"}
    scale = 100 if column == "accuracy" else 1
    return [
        Panel(
            result.name + (" †" if result.leaking else ""),
            result.row.dataset,
            {kind: scale * aligned(result.curves[source]) for kind, source in kinds.items()},
        )
        for result in results
    ]


def _common_rates(results: Sequence[Result]) -> list[float]:
    """The learning rate by epoch where all runs follow the same, for as long as they train; else nothing."""
    lines = [line for result in results for line in result.curves["lr"]]
    longest = max(lines, key=len, default=[])
    return longest if all(line == longest[: len(line)] for line in lines) else []


# Terminal ------------------------------------------------------------------------------------------


def show(study: PlannedStudy, groups: Groups, report: Path) -> None:
    """Prints the ranking and where the report lies; without colours and frames where nobody watches."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 10_000
    for group in groups:
        console.print(_ranking_table(group, console.is_terminal))
        console.print(f"{answer(group).replace('`', '')}\n", markup=False)
    console.print(f"Report: {paths.shown(report)}", markup=False, soft_wrap=True)


def _ranking_table(group: Sequence[Result], framed: bool) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    ranking = Table(box=SIMPLE_HEAD if framed else None, pad_edge=False)
    for name in ("#", "accuracy, %", "loss", "gap"):
        ranking.add_column(name, justify="right", no_wrap=True)
    for name in ("row", "each · end · head", "runs"):
        ranking.add_column(name, overflow="fold")
    for result in group:
        numbers = [percent(result.estimate("test_accuracy")), mean(result, "test_loss", 3)]
        numbers.append(mean(result, "gap_accuracy", 2, 100))
        words = [result.name + (" †" if result.leaking else ""), sentence(result.row), runs(result)]
        ranking.add_row(*map(Text, [place(result, group), *numbers, *words]))
    return ranking


@command
def main() -> None:
    words = sys.argv[1:]
    only_show = words[:1] == ["--show"]
    if len(words) != 1 + only_show:
        raise UserError("usage: pipeline/python -m pipeline.report [--show] STUDY")
    study = read_study(words[-1])
    report = paths.REPORTS / f"{study.name}.md"
    groups = load(study, paths.RUNS / study.name)
    if not only_show:
        write(study, groups, paths.REPORTS)
    elif not report.exists():
        raise UserError(f"{paths.shown(report)}: missing; run 'dvc repro report@{study.name}'")
    show(study, groups, report)


if __name__ == "__main__":
    main()
