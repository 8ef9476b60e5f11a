"""A small study in one process, from plan to report: what test_emulated runs on processors of several makers.

    python tests/emulated_study.py        in a folder with pipeline/, models/, words/ and a params.yaml

An emulated process starts others natively, so there are no workers: their tasks are done here, one after another.
"""

if __name__ == "__main__":
    from pipeline import arithmetic

    arithmetic.settle()  # first, as in a stage
    from pipeline.running import light  # noqa: F401  # before all that imports Lightning, as in a worker

from collections.abc import Iterable
from typing import Any

import torch
from helping import Unlogged

from pipeline import diagnose, paths, plan, report
from pipeline.findings.measured import load
from pipeline.findings.verdicts import judge
from pipeline.images import prepared
from pipeline.params import planned
from pipeline.params.reading import read_params
from pipeline.running import forkserver, workers
from pipeline.running.pool import ThisMachine, train_rows
from pipeline.tuning import tuner


class Said(workers.Line):
    """Keeps what a task says; whether to end is asked in vain."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []

    def __call__(self, content: dict[str, Any]) -> None:
        self.reports.append(content)

    def ask(self, content: dict[str, Any]) -> bool:
        return False


def do_all(tasks: Iterable[workers.Task | None], jobs: int | None = None) -> workers.Events:
    """In place of `workers.do_all`."""
    for task in filter(None, tasks):
        yield workers.Event(task, "start")
        said = Said()
        task.work(said)
        for content in said.reports:
            yield workers.Event(task, "report", content)
        yield workers.Event(task, "end")


def write_images(name: str) -> None:
    """Grey images of three classes that differ in brightness by place: 60 to draw from, 30 for the test."""
    draws = torch.Generator().manual_seed(1)
    labels = torch.arange(90) % 3
    images = torch.randint(0, 120, (90, 1, 8, 8), generator=draws)
    for label in range(3):
        images[labels == label, :, 2 * label : 2 * label + 3] += 90
    pixels = images.to(torch.uint8)
    pool, test = (pixels[:60], labels[:60]), (pixels[60:], labels[60:])
    prepared.write(paths.prepared(name), pool, test, ["top", "middle", "bottom"], train=40, select=20)


def main() -> None:
    workers.do_all = do_all
    forkserver.start = lambda *_: None  # pyright: ignore[reportAttributeAccessIssue]
    params = read_params()
    plan.write_plan(params)
    for name in params.datasets:
        write_images(name)
    for name in params.tuned:
        tuner.tune_row(name, planned.read_tuned(name), Unlogged())
    rows = {name: planned.read_row(name) for name in params.rows | params.tuned}
    problems = train_rows(rows, ThisMachine(), Unlogged())
    assert not problems, problems
    for name in params.studies:
        study = planned.read_study(name)
        diagnose.diagnose_study(study)
        groups = load(study, paths.RUNS / name, paths.DIAGNOSIS / name)
        if claims := planned.read_claims(name):
            verdicts = judge(claims, {result.name: result for group in groups for result in group})
            report.write(study, groups, paths.REPORTS, verdicts)


if __name__ == "__main__":
    main()
