"""The summary of a study in MLflow: description, views, its report attached to one run, and its best network.

The experiment of a study is introduced when it is made. Whenever its report is written, one run, tagged
`stage: report`, is brought up to date: a second report of the same results changes nothing.
"""

import contextlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelStatus, Run, RunTag
from mlflow.exceptions import MlflowException

from pipeline import paths
from pipeline.errors import UserError
from pipeline.findings.answers import answer
from pipeline.findings.measured import Groups, Result, load
from pipeline.findings.wording import number, percent
from pipeline.images import prepared
from pipeline.params.planned import PlannedStudy, read_study
from pipeline.running import store
from pipeline.tracking import batches, group_colours, labels, registry, views
from pipeline.tracking.champion import Champion, champion
from pipeline.tracking.cost_table import cost_table

FIRST_EPOCHS = 0.1
"""Share of the lowest values that an axis leaves out; they would press all later epochs together."""

TRAINED = "tags.stage = 'train'"

DISTINCT = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#666666",
    "#8a63bf",
    "#93320b",
    "#3b7d23",
)
PALETTE = tuple(dict.fromkeys([*DISTINCT, *group_colours.COLOURS]))
"""Colours of rows, in the order of their names; the first six can be told apart without seeing red or green."""

LONGEST_NOTE = 8000
"""Characters that MLflow keeps of a tag of a run, and so of a description."""


def introduce(client: MlflowClient, experiment: str, study: str) -> None:
    """Describes a new experiment from the plan."""
    with contextlib.suppress(UserError):  # runs of a study that is planned no more are still logged
        _present(client, experiment, read_study(study), "")


def log(client: MlflowClient, experiment: str, study: str) -> None:
    """Brings the summary of a study up to date with its outputs and its report.

    Raises:
        UserError: outputs are missing or of another version of a row.
    """
    planned = read_study(study)
    groups = load(planned, paths.RUNS / study)
    run_id = _summary_run(client, experiment, study)
    report = paths.REPORTS / f"{study}.md"
    _attach(client, run_id, study)
    current = _current(client, experiment, groups)
    client.log_text(run_id, cost_table(groups, current), "cost.md")
    notes = []
    for group in groups:
        if best := champion(group):
            name = f"{study}-{best.result.row.dataset}" if len(groups) > 1 else study
            notes.append(_register(client, name, best, current, experiment, run_id))
    text = "\n\n".join([*notes, first_layer(report.read_text(encoding="utf-8"))])
    client.set_tag(run_id, "mlflow.note.content", clipped(text, LONGEST_NOTE))
    client.set_terminated(run_id, "FINISHED")
    found = "\n\n".join([f"**Answer.** {answer(planned.study, groups)}", *notes])
    found += f"\n\n[The report and what it cost](#/experiments/{experiment}/runs/{run_id})"
    _present(client, experiment, planned, found, _floors(groups))


def _floors(groups: Groups) -> dict[str, float]:
    """Where the axes of accuracies and AUCs by epoch begin: under every run's last value, and few others."""
    floors = {}
    for metric in (f"{split}_{name}" for split in ("val", "train") for name in ("accuracy", "auc")):
        lines = [line for group in groups for result in group for line in result.curves[metric]]
        known = [[value for value in line if math.isfinite(value)] for line in lines]
        if values := sorted(value for line in known for value in line):
            lowest = min(values[int(FIRST_EPOCHS * len(values))], *(line[-1] for line in known if line))
            floors[metric] = math.floor(100 * lowest) / 100
    return floors


def _present(
    client: MlflowClient,
    experiment: str,
    planned: PlannedStudy,
    found: str,
    floors: Mapping[str, float] | None = None,
) -> None:
    """Sets the tags of an experiment that differ: its kind, description and views."""
    parameters = {name: labels.params(row) for name, row in planned.rows.items()}
    runs = sum(len(row.seeds) for row in planned.rows.values())
    study = planned.study
    looks = f"[Rows side by side]({views.link(experiment)}) · [every run]({views.link(experiment, views.RUNS)})"
    wanted = {
        "mlflow.experimentKind": "custom_model_development",  # and not an application of language models
        "mlflow.note.content": "\n\n".join(filter(None, [f"**{study.title}**", looks, study.question.strip(), found])),
        **views.views(parameters, runs, floors),
    }
    present = client.get_experiment(experiment).tags
    for key, value in wanted.items():
        if present.get(key) != value:
            client.set_experiment_tag(experiment, key, value)


def _current(client: MlflowClient, experiment: str, groups: Groups) -> list[Run]:
    """The MLflow runs that a study stands on; they are tagged as such and coloured by row, and no others. Of those that
    several checkouts logged of one run, the newest."""
    results = {result.name: result for group in groups for result in group}
    colours = {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(sorted(results))}
    tag = group_colours.tag(results)
    keys = {(name, _key(result, run.seed)) for name, result in results.items() for run in result.runs}
    current = []
    for run in batches.search(client, experiment, TRAINED):
        row, known = run.data.tags["row"], run.data.tags
        wanted = {"current": labels.NO}
        if (row, known["key"]) in keys:
            keys.remove((row, known["key"]))
            current.append(run)
            wanted = {"current": labels.YES, "mlflow.runColor": colours[row], tag: row}
        changed = [RunTag(key, value) for key, value in wanted.items() if known.get(key) != value]
        batches.log(client, run.info.run_id, tags=changed)
    return current


def _key(result: Result, seed: int) -> str:
    """The key of a row's run in the run store."""
    return store.run_key(store.run_spec(result.row, seed, result.spec["data"], result.spec["code"]))


def _summary_run(client: MlflowClient, experiment: str, study: str) -> str:
    """The run that holds the summary, which is made if it is not there."""
    found = client.search_runs([experiment], "tags.stage = 'report'", max_results=1)
    if found:
        return found[0].info.run_id
    tags = {"study": study, "stage": "report", "mlflow.source.name": f"report@{study}"} | labels.commit()
    return client.create_run(experiment, tags=tags, run_name=f"summary of {study}").info.run_id


def _attach(client: MlflowClient, run_id: str, study: str) -> None:
    for name in (f"{study}.md", f"{study}.html"):
        if (paths.REPORTS / name).exists():
            client.log_artifact(run_id, str(paths.REPORTS / name), "report")
    client.log_artifacts(run_id, str(paths.REPORTS / study), f"report/{study}")


def _register(
    client: MlflowClient, name: str, best: Champion, current: Sequence[Run], experiment: str, run_id: str
) -> str:
    """Registers the best network of a data set, unless it is registered; a sentence on it."""
    weights = best.result.folder / "weights" / f"seed-{best.run.seed}.safetensors"
    digest = store.digest(weights)
    about = _reason(best)
    version = registry.version_of(client, name, digest)
    if version is None:
        model = registry.make_model(client, experiment, run_id)
        if source := _logged(client, best, digest, current):
            registry.copy(client, source, model)
        else:
            _write(client, model, name, best, weights)
        tags: dict[str, Any] = {"row": best.result.name, "seed": str(best.run.seed), "weights": digest}
        version = registry.register(client, name, model.model_id, about, tags)
    elif client.get_model_version(name, version).description != about:  # other rows came or went
        client.update_model_version(name, version, about)
    client.set_registered_model_alias(name, registry.CHAMPION, version)
    return f"**Champion.** `models:/{name}@{registry.CHAMPION}` is version {version}: {about}"


def _logged(client: MlflowClient, best: Champion, digest: str, current: Sequence[Run]) -> str | None:
    """The logged model of the run that trained a network; None where it was trained elsewhere."""
    key = _key(best.result, best.run.seed)
    runs = [run for run in current if (run.data.tags["row"], run.data.tags["key"]) == (best.result.name, key)]
    models = [output.model_id for run in runs if run.outputs for output in run.outputs.model_outputs]
    with contextlib.suppress(MlflowException, FileNotFoundError):  # the model or the run was deleted
        for model in models:
            ready = client.get_logged_model(model).status == LoggedModelStatus.READY
            if ready and store.digest(store.run_folder(key) / "weights.safetensors") == digest:
                return model
    return None


def _write(client: MlflowClient, model: LoggedModel, kind: str, best: Champion, weights: Path) -> None:
    """Uploads a network to its logged model, whose trained run MLflow does not know."""
    from pipeline.measures import inference  # torch

    data = paths.prepared(best.result.row.dataset)
    images, _ = prepared.test(data)
    network = inference.load(best.result.row, data, best.run.seed, weights)
    registry.Writer().write(client, model, kind, network, images[:2].float(), prepared.info(data).classes)


def _reason(best: Champion) -> str:
    row = percent(best.result.estimate("final_val_accuracy"))
    run = number(best.run.numbers["final_val_accuracy"], 2, 100)
    return (
        f"row `{best.result.name}`, seed {best.run.seed}. Of {best.rivals} rows it has the highest mean accuracy on"
        f" validation images, {row} %, and of its seeds this one, {run} %. No test image had a say."
    )


def first_layer(markdown: str) -> str:
    """What everyone reads of a report, without its pictures, which a description cannot show."""
    first, folds, _ = markdown.partition("\n\n<details>")
    words = "\n".join(line for line in first.splitlines() if not line.startswith("!["))
    return f"{words}\n\nThe rest is in the artifact `report`." if folds else words


def clipped(markdown: str, most: int) -> str:
    """As many whole sections of a Markdown text as fit into `most` characters, and a note if there were more."""
    note = "\n\nThe rest is in the artifact `report`."
    if len(markdown) <= most:
        return markdown
    sections = markdown.split("\n## ")
    while len(sections) > 1 and len("\n## ".join(sections)) + len(note) > most:
        sections.pop()
    return "\n## ".join(sections)[: most - len(note)].rstrip() + note
