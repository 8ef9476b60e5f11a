"""The report as Markdown, a function per section."""

from collections.abc import Sequence
from typing import Any

from pipeline.findings import answers
from pipeline.findings.answers import answer
from pipeline.findings.comparisons import comparisons
from pipeline.findings.gallery import Gallery
from pipeline.findings.measured import Groups, Result
from pipeline.findings.stats import paired_difference
from pipeline.findings.verdicts import Verdict
from pipeline.findings.wording import (
    MOST_PANELS,
    NONE,
    cell,
    contenders,
    coverage,
    interval,
    marked,
    mean,
    number,
    outcome,
    percent,
    place,
    sentence,
    signed,
    table,
)
from pipeline.params.planned import PlannedStudy
from pipeline.params.quantities import ACCURACY
from pipeline.params.rows import PARTS, Row
from pipeline.params.studies import Source
from pipeline.reporting import convergence_sections, diagnosis_sections, tuning_sections
from pipeline.reporting.claims_section import claims_section, lead
from pipeline.reporting.gallery_section import gallery_section

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

PUBLISHED = (
    ("accuracy", "test_accuracy", "accuracy, %", 2, 100),
    ("loss", "test_loss", "loss, nats", 4, 1),
    ("auc", "test_auc", "AUC", 4, 1),
    ("auc", "test_auc_keras", "AUC as Keras estimates it", 4, 1),
)
"""What is published and what is measured beside it: key, column, heading, decimals and factor."""

DETAILS_NOTE = (
    "Paired difference: the mean over common seeds. AUC is the area under the ROC curve, one-vs-rest: of all decisions"
    " in one pool (micro), or the mean over classes (macro). ECE is the expected calibration error over 15 bins of"
    " equal width. Training and validation accuracy are taken in test mode."
)


def markdown(
    study: PlannedStudy, groups: Groups, galleries: Sequence[Gallery] = (), verdicts: Sequence[Verdict] = ()
) -> str:
    """The report.

    Args:
        study: as planned.
        groups: what `load` gives.
        galleries: of these groups; without any the section is left out.
        verdicts: on the study's claims.
    """
    results = [result for group in groups for result in group]
    planned = sorted(results, key=lambda result: list(study.rows).index(result.name))
    alt = "Test accuracy of each run, with the mean and its 95 % interval for each row"
    parts = [
        f"# {' '.join(study.study.title.split())}",
        study.study.question.strip(),
        f"**Answer.** {answer(study.study, groups)}",
        answers.NOTE,
        f"**Note.** {study.study.note.strip()}" if study.study.note else "",
        f"**Claims.** {lead(verdicts)}" if verdicts else "",
        f"![{alt}]({study.name}/runs.svg)",
        "Every dot is a run. A bar that reaches the edge of the figure goes on beyond it.",
        *(_ranking(groups, group) for group in groups),
        ranking_notes(results),
        claims_section(study.name, verdicts, study.study.looks),
        _published(results, study.sources),
        *(_details(groups, group) for group in groups if contenders(group)),
        DETAILS_NOTE if any(map(contenders, groups)) else "",
        comparisons(groups),
        _curves(study.name, results),
        *tuning_sections.sections(study.name, planned),
        *convergence_sections.sections(study.study.targets, planned),
        *diagnosis_sections.sections(study.name, planned),
        *(_by_class(groups, group) for group in groups if contenders(group)),
        gallery_section(study.name, galleries),
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
            cell(outcome(result)),
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


def ranking_notes(results: list[Result]) -> str:
    """How to read the ranking, and what its intervals leave out."""
    text = (
        "Means over seeds; ± is half the 95 % interval of the mean (Student's t). A run that failed counts as a guess,"
        " here, in every difference and in the answer: accuracy 1/K and loss log K of K classes, AUC ½; means of other"
        f" numbers leave it out. {coverage(results)} That the best of several rows was picked afterwards is not"
        " covered. The gap compares accuracy on training and validation images, both in test mode, for the weights that"
        " were tested."
    )
    if any(result.leaking for result in results):
        text += (
            "\n\n† Selected on test images (`select_on: test`): the test images leak into the choice of the epoch, so"
            " these test results are optimistic."
        )
    return text


def _published(results: list[Result], sources: Sequence[Source]) -> str:
    lines = [line for result in results for line in _published_lines(result)]
    heading, about = "## Published beside measured", "\n".join(_about(source) for source in sources)
    if not lines:
        return f"{heading}\n\n{about}" if about else ""
    head = ["row", "measured over", "source", "metric", "published", "measured", "difference"]
    note = (
        "Difference = measured − published, in points for accuracy. The published values come without intervals, so"
        " chance on their side is not in ±. AUC is the micro-average, of all one-vs-rest decisions in one pool. Keras's"
        " `AUC()`, which publications may have used, estimates it with 200 thresholds: low for confident networks."
    )
    return f"{heading}\n\n{table(head, lines, numbers_from=4)}\n\n{note}\n\n{about}".rstrip()


def _about(source: Source) -> str:
    """What rows take from a publication, what it leaves open, and what they take for that."""
    parts = (("copied", source.copied), ("left open", source.left_open), ("taken", source.taken))
    known = "; ".join(f"{word}: {cell(text)}" for word, text in parts if text)
    return f"- {cell(source.cite)}{f'; {known}' if known else ': nobody has written down what was copied'}."


def _published_lines(result: Result) -> list[list[str]]:
    published = result.row.published
    if published is None:
        return []
    lines = []
    for key, name, label, digits, scale in PUBLISHED:
        value, measured = getattr(published, key), result.estimate(name)
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
    best = contenders(group)[0]
    head = ["row", f"test accuracy, paired difference to `{best.name}`, points", "validation accuracy, %"]
    head += ["training accuracy, %", "test loss, nats", "test AUC, micro", "test AUC, macro", "test ECE, %"]
    lines = []
    for result in group:
        difference = paired_difference(result.measure(ACCURACY), best.measure(ACCURACY))
        line = [marked(result), interval(difference, 2, 100, sign=True) if result is not best else NONE]
        line += [percent(result.estimate(f"final_{split}_accuracy")) for split in ("val", "train")]
        line += [interval(result.estimate(f"test_{key}"), 4) for key in ("loss", "auc", "auc_macro")]
        lines.append([*line, percent(result.estimate("test_ece"))])
    return f"## Differences, AUC and calibration{_on(groups, group)}\n\n{table(head, lines)}"


def _curves(study: str, results: list[Result]) -> str:
    leaking = ", which are the test images in rows marked †" if any(result.leaking for result in results) else ""
    many = f" of the first {MOST_PANELS}; `{study}.html` shows all" if len(results) > MOST_PANELS else ""
    caption = (
        f"One panel per row, in the order of the ranking{many}. Dotted: training images, in training mode while the"
        f" weights change. Solid: the images that select, after the epoch{leaking}. Lines are means and bands the range"
        " from minimum to maximum over the seeds that finished; a run that stops before others of its row keeps its"
        " last value. Grey: the other rows' means. So that late epochs can be told apart, the axes of accuracy and AUC"
        " may leave out up to a tenth of the means, the lowest. Rates are those in force during the epoch."
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
    values = row.model_dump(exclude={"study", "published", *PARTS})
    return {key: _shown(value) for key, value in values.items()}


def _shown(value: Any) -> str:
    """A value of params.yaml as a reader would write it; what has a name begins with it."""
    if isinstance(value, dict):
        named = [value["name"]] if "name" in value else []
        return ", ".join(named + [f"{key} {_shown(part)}" for key, part in value.items() if key != "name"])
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return "none" if value is None else str(value).lower()


def _reproduction(study: str, groups: Groups) -> str:
    lines = [
        f"- Commit: the one that holds this file, `git log -1 --format=%H -- reports/{study}.md`.",
        f"- The same bytes: `dvc repro -f report@{study} && git diff --exit-code dvc.lock` trains everything afresh; no"
        " difference means that every result is the same to the byte.",
    ]
    for group in groups:
        spec, dataset = group[0].spec, group[0].row.dataset
        train, validation, pool, test = (f"{spec['images'][key]:,}" for key in ("train", "validation", "pool", "test"))
        images = f"each seed draws {train} that train and {validation} that select from {pool}; {test} test"
        content = f"as `datasets.{dataset}` of params.yaml says; {len(spec['classes'])} classes; {images}"
        lines.append(f"- Data `{dataset}`: {content}; MD5 {_digests(group, 'data')}.")
    results = [result for group in groups for result in group]
    lines.append(f"- Arithmetic: {_arithmetic(results)}")
    lines.append(f"- Code that can change a number: MD5 {_digests(results, 'code')}.")
    return "\n\n".join(["## How to reproduce", f"```sh\ndvc repro report@{study}\n```", "\n".join(lines)])


def _arithmetic(results: Sequence[Result]) -> str:
    """On which processors the bytes are the same."""
    native = [f"`{result.name}`" for result in results if result.row.trainer.arithmetic == "native"]
    everywhere = "portable; the CPU of any x86-64 Linux machine with AVX2 gives the same bytes"
    if not native:
        return f"{everywhere}."
    if len(native) == len(results):
        return "native; another kind of processor rounds otherwise."
    return f"{everywhere}, but for {', '.join(native)}: native, which another kind of processor rounds otherwise."


def _digests(results: Sequence[Result], key: str) -> str:
    """The digest of all rows, or each with its rows where outputs of several versions lie beside each other."""
    rows: dict[str, list[str]] = {}
    for result in results:
        rows.setdefault(result.spec[key], []).append(f"`{result.name}`")
    if len(rows) == 1:
        return f"`{next(iter(rows))}`"
    return "; ".join(f"`{digest}` ({', '.join(names)})" for digest, names in rows.items())
