"""What hangs on an MLflow run of training: its data set, tables, figures and network."""

import json

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag

from pipeline import paths
from pipeline.images import prepared
from pipeline.running.logbook import LoggedRun
from pipeline.tracking import registry


def dataset(run: LoggedRun) -> DatasetInput:
    """The data set that a run is trained on, without its images."""
    info = prepared.info(run.prepared)
    profile = json.dumps({"shape": list(info.shape), "classes": len(info.classes), "images": info.counts})
    source = json.dumps({"uri": paths.shown(run.prepared)})
    made_of = Dataset(run.row.dataset, run.data, "local", source, profile=profile)
    return DatasetInput(made_of, [InputTag("mlflow.data.context", "training")])


def attach(client: MlflowClient, run_id: str, run: LoggedRun) -> None:
    """Logs a run's tables and figures, and its network unless the run failed."""
    from safetensors.torch import load_file

    from pipeline.measures import inference
    from pipeline.tracking import figures
    from pipeline.training import metrics

    client.log_figure(run_id, figures.curves_figure(run.folder / "curves.csv"), "curves.png")
    for name in ("curves.csv", "result.json"):
        client.log_artifact(run_id, str(run.folder / name))
    if not (run.folder / "weights.safetensors").exists():
        return
    images, labels = prepared.test(run.prepared)
    counts = metrics.confusion(load_file(run.folder / "logits.safetensors")["logits"], labels)
    classes = prepared.info(run.prepared).classes
    client.log_figure(run_id, figures.confusion_figure(counts, classes), "confusion.png")
    outputs = client.get_run(run_id).outputs
    for half in outputs.model_outputs if outputs else []:  # of an attempt that was cut
        client.delete_logged_model(half.model_id)
    network = inference.load(run.row, run.prepared, run.seed, run.folder / "weights.safetensors")
    registry.log_model(run_id, network, images[:2].float(), classes)
