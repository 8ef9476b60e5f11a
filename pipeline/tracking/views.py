"""What the MLflow UI shows of a study without set-up: saved views with columns, groups and charts.

A view is a tag of the experiment, in the form in which the UI itself saves one: it is in the list `Views`
of the experiment, and a link opens it. MLflow does not document the form; a UI that does not know it
shows its own default.
"""

import json
from collections.abc import Mapping
from typing import Any

from pipeline.tracking import group_colours
from pipeline.training.columns import EPOCH

TAG = "mlflow.sharedViewState."
ROWS, RUNS = "rows", "runs"
"""Names of the views: seeds averaged, and every run."""

SECTIONS = {
    "Validation images, by epoch": ("LINE", [f"val_{name}" for name in EPOCH]),
    "Training images, by epoch": ("LINE", [f"train_{name}" for name in EPOCH]),
    "Test images": ("BAR", [f"test_{name}" for name in EPOCH]),
    "Both in test mode, tested weights": ("BAR", ["final_val_accuracy", "final_train_accuracy", "gap_accuracy"]),
}
"""Charts of a view from top to bottom: kind, and the metrics of a line of three."""

METRICS = [*(f"test_{name}" for name in EPOCH), "final_val_accuracy", "gap_accuracy", "best_epoch"]
"""Columns of metrics."""

RUN_NAME = "attributes.`Run Name`"

PAGE = 100
"""Runs that the UI loads at once."""


def views(
    params: Mapping[str, Mapping[str, str]], runs: int, floors: Mapping[str, float] | None = None
) -> dict[str, str]:
    """Tags of an experiment that hold its views.

    Args:
        params: row to its parameters in MLflow; columns are those in which rows differ.
        runs: how many runs the study has.
        floors: where the axes begin of metrics that rise to 1, so that late epochs can be told apart.
    """
    names = list(next(iter(params.values())))
    differing = [name for name in names if len({row.get(name) for row in params.values()}) > 1]
    columns = [f"metrics.`{name}`" for name in METRICS] + [f"params.`{name}`" for name in differing]
    widths = {RUN_NAME: 260} | dict.fromkeys(columns, 140)
    state = {
        "searchFilter": "tags.stage = 'train' and tags.current = 'yes'",
        "selectedColumns": columns,
        "columnOrder": list(widths),
        "columnWidths": widths,
        "isAccordionReordered": True,  # sections stay in this order
        "compareRunSections": [_section(title) for title in SECTIONS],
        "compareRunCharts": [
            _chart(title, kind, name, (floors or {}).get(name))
            for title, (kind, names) in SECTIONS.items()
            for name in names
        ],
    }
    if runs <= PAGE:  # the best of a longer list would be averages of the best runs
        state |= {"orderByKey": "metrics.`final_val_accuracy`", "orderByAsc": False}
    tag = group_colours.tag(params)
    grouped = {
        "runsHiddenMode": "SHOW_ALL",  # all rows in the charts, and not the first ten
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": tag}]},
        "groupsExpanded": {f"tag.{tag}.{row}": False for row in params},
    }
    return {
        TAG + ROWS: _saved("Rows: means over seeds", 2, state | grouped),
        TAG + RUNS: _saved("Runs", 1, state),
    }


def link(experiment: str, view: str = ROWS) -> str:
    """The address of a view's charts, relative to that of the server."""
    return (
        f"#/experiments/{experiment}/runs?viewStateShareKey={view}&compareRunsMode=CHART&workflowType=machine_learning"
    )


def _saved(name: str, order: int, state: Mapping[str, Any]) -> str:
    """A view as the UI saves it; the list shows the latest first, and no clock decides."""
    compact = (",", ":")
    return json.dumps(
        {"name": name, "createdAt": order, "updatedAt": order, "state": json.dumps(state, separators=compact)},
        separators=compact,
    )


def _section(title: str) -> dict[str, Any]:
    return {"uuid": title, "name": title, "display": True, "isReordered": False, "deleted": False, "isGenerated": False}


def _chart(section: str, kind: str, metric: str, floor: float | None) -> dict[str, Any]:
    chart: dict[str, Any] = {"uuid": metric, "type": kind, "metricSectionId": section, "metricKey": metric}
    chart |= {"deleted": False, "isGenerated": False, "runsCountToCompare": 100}
    if kind == "LINE":
        chart |= {"selectedMetricKeys": [metric], "xAxisKey": "step", "xAxisScaleType": "linear", "scaleType": "linear"}
        chart |= {
            "range": {} if floor is None else {"yMin": floor, "yMax": 1.0},
            "lineSmoothness": 0,
            "useGlobalXaxisKey": True,
            "useGlobalLineSmoothing": True,
        }
    return chart
