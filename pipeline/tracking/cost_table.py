"""What the rows of a study cost, from the runs that MLflow holds: also of those that other machines trained."""

from collections.abc import Sequence

from mlflow.entities import Run

from pipeline.findings.measured import Groups
from pipeline.findings.wording import NONE, number, table


def cost_table(groups: Groups, runs: Sequence[Run]) -> str:
    """What training cost, as Markdown: a line per row and machine, in the order of the ranking.

    Args:
        groups: the ranked rows.
        runs: of these rows, as MLflow has them.
    """
    head = ["row", "machine", "runs side by side", "runs", "seconds a run", "images a second"]
    lines = []
    for result in (result for group in groups for result in group):
        machines: dict[tuple[str, str], list[Run]] = {}
        for run in runs:
            if run.data.tags["row"] == result.name:
                machines.setdefault((machine(run), run.data.tags.get("jobs", NONE)), []).append(run)
        for place, some in machines.items():
            numbers = [number(_mean(some, "seconds"), 3), number(_mean(some, "images_per_second"), 0)]
            lines.append([f"`{result.name}`", *place, str(len(some)), *numbers])
    note = (
        "Means over runs. Seconds are those of all epochs with their evaluation, of runs that were not interrupted;"
        " images a second are those of training alone. Runs side by side share the machine."
    )
    return f"# What training cost\n\n{table(head, lines, numbers_from=2)}\n\n{note}\n"


def machine(run: Run) -> str:
    tags = run.data.tags
    if "cpu" not in tags:
        return "not recorded"
    place = tags["gpu"] if tags["gpu"] != "none" else f"{tags['threads']} of {tags['cores']} cores, {tags['cpu']}"
    return f"{place}; torch {tags['torch']}"


def _mean(runs: Sequence[Run], metric: str) -> float | None:
    values = [run.data.metrics[metric] for run in runs if metric in run.data.metrics]
    return sum(values) / len(values) if values else None
