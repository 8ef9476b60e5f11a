"""What hangs on an MLflow run of training: its data set, tables, confusion matrix and network."""

import json
import shutil
import tempfile
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModel

from pipeline import paths
from pipeline.images import prepared
from pipeline.running import store
from pipeline.running.logbook import LoggedRun
from pipeline.tracking import batches, registry


def dataset(run: LoggedRun) -> DatasetInput:
    """The data set that a run is trained on, without its images."""
    info = prepared.info(run.prepared)
    profile = json.dumps({"shape": list(info.shape), "classes": len(info.classes), "images": info.counts})
    source = json.dumps({"uri": paths.shown(run.prepared)})
    made_of = Dataset(run.row.dataset, run.data, "local", source, profile=profile)
    return DatasetInput(made_of, [InputTag("mlflow.data.context", "training")])


def has_network(run: LoggedRun) -> bool:
    """Whether a run has a network to show; one that failed has none."""
    return (run.folder / "weights.safetensors").exists()


def attach(place: str | None, run: LoggedRun) -> None:
    """Uploads a run's tables and its confusion matrix to where its MLflow run keeps its files."""
    from safetensors.torch import load_file

    from pipeline.tracking.confusion_page import confusion_page
    from pipeline.training import metrics

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for table in ("curves.csv", "result.json"):
            shutil.copy(run.folder / table, folder)
        if has_network(run):
            _, labels = prepared.test(run.prepared)
            counts = metrics.confusion(load_file(run.folder / "logits.safetensors")["logits"], labels)
            page = confusion_page(counts, prepared.info(run.prepared).classes)
            (folder / "confusion.html").write_text(page, encoding="utf-8")
        batches.upload(place, folder)


def attach_network(client: MlflowClient, writer: registry.Writer, model: LoggedModel, run: LoggedRun) -> None:
    """Uploads a run's network to its logged model."""
    from pipeline.measures import inference

    images, _ = prepared.test(run.prepared)
    network = inference.load(run.row, run.prepared, run.seed, run.folder / "weights.safetensors")
    kind = store.run_key(store.run_spec(run.row, 0, run.data, run.code))  # a seed decides tensors alone
    writer.write(client, model, kind, network, images[:2].float(), prepared.info(run.prepared).classes)
