"""What each study cost to train, from the runs that MLflow holds, written to reports/benchmarks/studies.md.

    pipeline/python tests/benchmarks/studies.py

Runs that were trained on several machines get a line each. Seconds of a run that was interrupted are not known: the
mean of the others of its row stands in for them.
"""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from contest import ROOT
from mlflow.entities import Run

from pipeline.findings.wording import NONE, number, table
from pipeline.params.reading import read_params
from pipeline.storage import write_atomically
from pipeline.tracking import cost_table
from pipeline.tracking.mlflow_log import connect

HEAD = ["study", "machine", "runs", "side by side", "images a second of one run", "hours, all together"]
NOTE = (
    "Images a second are those of training alone, means over runs. Hours are the seconds of all epochs with their"
    " evaluation, over all runs, by the number of runs side by side; diagnosis and report come on top. Other work that"
    " the machine did meanwhile is in them. `pipeline/python tests/benchmarks/studies.py` writes this from the runs in"
    " MLflow."
)


def line(study: str, machine: str, runs: Sequence[Run]) -> list[str]:
    """Of the runs of a study that one machine trained."""
    by_row: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        by_row[run.data.tags["row"]] += [run.data.metrics["seconds"]] if "seconds" in run.data.metrics else []
    known = [fmean(seconds) for seconds in by_row.values() if seconds]
    seconds = sum(fmean(by_row[run.data.tags["row"]] or known) for run in runs) if known else None
    jobs = fmean(int(run.data.tags.get("jobs", 1)) for run in runs)
    speeds = [run.data.metrics["images_per_second"] for run in runs if "images_per_second" in run.data.metrics]
    hours = seconds / jobs / 3600 if seconds is not None else None
    speed = number(fmean(speeds), 0) if speeds else NONE
    return [f"`{study}`", machine, str(len(runs)), number(jobs, 1), speed, number(hours, 2)]


def main() -> None:
    client, lines = connect(), []
    for study in read_params().studies:
        experiment = client.get_experiment_by_name(study)
        if experiment is None:
            continue
        wanted = "tags.stage = 'train' and tags.current = 'yes'"
        by_machine: dict[str, list[Run]] = defaultdict(list)
        for run in client.search_runs([experiment.experiment_id], wanted, max_results=10_000):
            by_machine[cost_table.machine(run)].append(run)
        lines += [line(study, machine, runs) for machine, runs in by_machine.items()]
    page = f"# What training cost, by study\n\n{table(HEAD, lines, numbers_from=2)}\n\n{NOTE}\n"
    write_atomically(ROOT / "reports" / "benchmarks" / "studies.md", page.encode())
    print(page)


if __name__ == "__main__":
    main()
