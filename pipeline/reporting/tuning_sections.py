"""The section on rows whose values were tuned; none where a study has none."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from matplotlib.figure import Figure

from pipeline.findings.findings import Findings
from pipeline.findings.measured import Result
from pipeline.findings.wording import NONE, cell, marked, number, percent, table
from pipeline.reporting import charts, tuning_pairs
from pipeline.reporting.section import Part, Picture, Section, Words
from pipeline.reporting.tuning_charts import Search, budget_figure, trials_figure
from pipeline.tuning.budget import best_of, counted
from pipeline.tuning.tuned import Trial, Tuned

BUDGETS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Numbers of trials for which the expected best score is shown."""


def tuning(found: Findings) -> Iterator[Section]:
    """How values were chosen, what they are, and what the choice cost."""
    results = found.planned
    tuned = tunings(results)
    if tuned:
        yield Section("What was searched", [Words(_protocol(tuned))])
        yield from tuning_pairs.sections(results)
        yield Section("Chosen values", [Words(_chosen(tuned))])
        yield Section("Trials", _trials(found, results))
        yield Section("Expected best score by budget", _budget(found, tuned))
        yield Section("Cost, tuning included", [Words(_cost(results))])


def tunings(results: Sequence[Result]) -> list[tuple[Result, Tuned]]:
    """The tuned rows among all."""
    return [(result, result.tuning) for result in results if result.tuning]


def score(result: Result, trial: Trial) -> float:
    """A trial's score; of one that failed, that of guessing."""
    assert result.tuning
    from pipeline.tuning import search  # torch, which a study without tuned rows does not need

    chance = search.chance(result.tuning.planned.tuning, len(result.spec["classes"]))
    return chance if trial.score is None else trial.score


def searches(results: Sequence[Result]) -> dict[str, Search]:
    """What the figures show, by row."""
    found = {}
    for result, tuning in tunings(results):
        spec, trials = tuning.planned.tuning, tuning.trials
        values = {path: [trial.values[path] for trial in trials] for path in tuning.best.values}
        label = {"val_loss": "validation loss, nats", "val_accuracy": "validation accuracy"}[spec.objective]
        scores, states = [score(result, trial) for trial in trials], [trial.state for trial in trials]
        found[result.label] = Search(scores, states, values, spec.space, spec.objective == "val_loss", label)
    return found


def _protocol(tuned: Sequence[tuple[Result, Tuned]]) -> str:
    kinds = {_kind(tuning) for _, tuning in tuned}
    described = kinds.pop() if len(kinds) == 1 else "as params.yaml says for each row"
    budgets = {tuning.planned.tuning.trials for _, tuning in tuned}
    equal = " Rows have the same number of trials also where their space is smaller." if len(budgets) == 1 else ""
    return (
        f"Values of {len(tuned)} of the rows were chosen on validation images before these trained: {described}."
        f"{equal} They trained with seeds that the tuning never used, and the tuning opens no file of test images."
    )


def _kind(tuning: Tuned) -> str:
    spec = tuning.planned.tuning
    seeds = f"{len(spec.seeds)} seeds" if len(spec.seeds) > 1 else "one seed"
    return (
        f"{spec.trials} trials of at most {spec.epochs} epochs and {seeds} each, scored by `{spec.objective}`, sampler"
        f" {spec.sampler}, pruner {spec.pruner}"
    )


def _chosen(tuned: Sequence[tuple[Result, Tuned]]) -> str:
    head = [
        "row",
        "values",
        "importance",
        "not in the row",
        "complete, pruned, failed trials",
        "best trial",
        "its score",
    ]
    note = (
        "The best score is the luckiest of many on the same images; what the values are worth, the seeds above show."
        " Importance: the share of the scores' variance over the complete trials that a parameter explains (functional"
        " analysis of variance over a random forest). With so few trials it is a hint, and it tells of the range that"
        " was searched: a wide one makes its parameter important."
    )
    failures = "; ".join(
        f"{marked(result)} trial {trial.place}: {cell(trial.reason)}"
        for result, tuning in tuned
        for trial in tuning.trials
        if trial.reason
    )
    told = f"\n\nFailed trials: {failures}." if failures else ""
    lines = [_choice(result, tuning) for result, tuning in tuned]
    return f"{table(head, lines, numbers_from=4)}\n\n{note}{told}"


def _choice(result: Result, tuning: Tuned) -> list[str]:
    from pipeline.tuning.importance import importances

    states = [sum(trial.state == state for trial in tuning.trials) for state in ("complete", "pruned", "failed")]
    values = ", ".join(f"`{key}` {_shown(value)}" for key, value in tuning.best.values.items())
    shares = ", ".join(f"`{key}` {number(share, 0, 100)} %" for key, share in importances(tuning).items())
    absent = ", ".join(f"`{key}`" for key in tuning.left_out)
    line = [marked(result), values, shares or NONE, absent or NONE, ", ".join(map(str, states))]
    return [*line, str(tuning.best.place), number(tuning.best.score, 4)]


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _trials(found: Findings, results: Sequence[Result]) -> list[Part]:
    alt = "Scores of all trials, by trial and by the value of each parameter"
    note = (
        "Left: scores in the order of the trials, with the best so far. Right: the same scores by the value of each"
        " parameter. Pruned trials stand where they had come to, failed ones where guessing is."
    )
    picture = Picture(found.path("tuning"), alt, partial(_draw, results, trials_figure))
    return [picture, Words(note)]


def _draw(results: Sequence[Result], figure: Callable[[dict[str, Search]], Figure]) -> str:
    return charts.svg(lambda: figure(searches(results)))


def _budget(found: Findings, tuned: Sequence[tuple[Result, Tuned]]) -> list[Part]:
    most = max(len(tuning.trials) for _, tuning in tuned)
    budgets = sorted({*(n for n in BUDGETS if n < most), most})
    head = ["row", *(f"{n} trial{'s' if n > 1 else ''}" for n in budgets)]
    lines = [[marked(result), *(_expected(result, tuning, n) for n in budgets)] for result, tuning in tuned]
    note = (
        "Expected best score, and the range that holds the best with 95 %, if so many trials were drawn from those"
        " that were made (Dodge et al. 2019, arXiv 1909.03004). A pruned trial cannot win: it counts as the worst of"
        " the complete ones. The range is the luck of a budget, not the error of the expectation, which has the luck of"
        " these trials in it. Trials of a sampler that learns (tpe, gp) are not"
        " exchangeable: the first of them are worse than the draws here."
    )
    alt = "Expected best score by the number of trials, a panel per row"
    picture = Picture(found.path("budget"), alt, partial(_draw, found.planned, budget_figure))
    return [Words(f"{table(head, lines)}\n\n{note}"), picture]


def _expected(result: Result, tuning: Tuned, n: int) -> str:
    if n > len(tuning.trials):
        return NONE
    scores = [score(result, trial) for trial in tuning.trials]
    from pipeline.tuning import search  # as above

    lowest = search.direction(tuning.planned.tuning) == "minimize"
    best = best_of(counted(scores, [trial.state for trial in tuning.trials], lowest), n, lowest)
    return f"{number(best.expected, 3)} ({number(best.low, 3)} to {number(best.high, 3)})"


def _cost(results: Sequence[Result]) -> str:
    head = ["row", "test accuracy, %", "epochs of tuning", "epochs of training", "images of tuning"]
    head += ["images of training", "images in all"]
    lines = []
    for result in results:
        trials = result.tuning.trials if result.tuning else []
        tuning = sum(trial.epochs for trial in trials), sum(trial.images for trial in trials)
        training = _training(result)
        counts = [tuning[0], training[0], tuning[1], training[1], tuning[1] + training[1]]
        lines.append([marked(result), percent(result.estimate("test_accuracy")), *(f"{count:,}" for count in counts)])
    note = (
        "All seeds together. An image counts each time that it is trained on. Seconds depend on the machine and are in"
        " MLflow."
    )
    return f"{table(head, lines)}\n\n{note}"


def _training(result: Result) -> tuple[int, int]:
    """Epochs and images of all runs of a row."""
    epochs = sum(int(run.numbers.get("epochs", 0)) for run in result.runs)
    batch = result.row.batch
    return epochs, epochs * (result.spec["images"]["train"] // batch) * batch
