"""Networks as MLflow keeps them: loadable, servable, and the best of a study under the study's name.

A logged model has two faces. `mlflow.pytorch.load_model` gives the network, whose output are logits;
`mlflow models serve` answers pixels with the probability of every class by its name.
"""

import contextlib
import io
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.tracking.context.registry import resolve_tags
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

from pipeline.tracking import batches

if TYPE_CHECKING:
    from torch import Tensor, nn

PREDICTOR = Path(__file__).with_name("class_probabilities.py")
"""What answers for a served model; it travels inside."""

CHAMPION = "champion"
"""The alias of the version that stands for a study now."""


def make_model(client: MlflowClient, experiment: str, run_id: str, params: dict[str, str] | None = None) -> LoggedModel:
    """The logged model of an MLflow run, still without its files: metrics can be logged for both at once."""
    model = client.create_logged_model(experiment, "model", run_id, resolve_tags(), params)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return model


def write_model(
    client: MlflowClient, model: LoggedModel, network: "nn.Module", example: "Tensor", classes: list[str]
) -> None:
    """Uploads the files of a logged model, which is ready then.

    `Model.log` of MLflow would do this and more: it asks for the whole history of each metric of the run.

    Args:
        client: of the tracking store.
        model: that `make_model` made.
        network: in test mode; takes pixels 0..255, N×C×H×W float32, and gives N×K logits.
        example: images for it, more than one: for one the exported graph would fix the batch size.
        classes: K names.
    """
    about = Model(model.artifact_location, model.source_run_id, model_uuid=model.model_id, model_id=model.model_id)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _save(Path(folder) / "model", about, network, example, classes)
        batches.upload(model.artifact_location, Path(folder) / "model")
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def _save(path: Path, about: Model, network: "nn.Module", example: "Tensor", classes: list[str]) -> None:
    """Writes a model's folder."""
    import torch
    from mlflow import pytorch  # imports Lightning

    images = TensorSpec(
        example.numpy().dtype, (-1, *example.shape[1:])
    )  # without a name, so that a request is plain lists
    outputs = Schema([ColSpec(DataType.float, name) for name in classes])
    pytorch.save_model(
        network,
        str(path),
        mlflow_model=about,
        signature=ModelSignature(Schema([images]), outputs),
        input_example=example.numpy(),
        code_paths=[str(PREDICTOR)],
        pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", f"mlflow=={mlflow.__version__}"],
    )
    about.flavors["python_function"]["loader_module"] = PREDICTOR.stem
    about.save(str(path / "MLmodel"))


def version_of(client: MlflowClient, name: str, weights: str) -> str | None:
    """The version of a registered model that has these weights; None where no version has.

    Args:
        client: of the tracking store.
        name: of the registered model.
        weights: digest of the file of weights.
    """
    found = client.search_model_versions(f"name = '{name}' and tags.weights = '{weights}'")
    return str(found[0].version) if found else None


def register(client: MlflowClient, name: str, model_id: str, description: str, tags: dict[str, str]) -> str:
    """Makes a logged model the next version of a registered model; the version."""
    with contextlib.suppress(MlflowException):  # it exists
        client.create_registered_model(name)
    with contextlib.redirect_stderr(io.StringIO()):  # it says so
        version = mlflow.register_model(f"models:/{model_id}", name, await_registration_for=30, tags=tags).version
    client.update_model_version(name, str(version), description)
    return str(version)
