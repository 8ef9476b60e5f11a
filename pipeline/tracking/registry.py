"""Networks as MLflow keeps them: loadable, servable, and the best of a study under the study's name.

A logged model has two faces. `mlflow.pytorch.load_model` gives the network, whose output are logits;
`mlflow models serve` answers pixels with the probability of every class by its name.
"""

import contextlib
import io
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

PREDICTOR = Path(__file__).with_name("class_probabilities.py")
"""What answers for a served model; it travels inside."""

CHAMPION = "champion"
"""The alias of the version that stands for a study now."""


def log_model(run_id: str, network: "nn.Module", example: "Tensor", classes: list[str]) -> ModelInfo:
    """Logs a network to an MLflow run.

    Args:
        run_id: of the MLflow run; it is left FINISHED.
        network: in test mode; takes pixels 0..255, N×C×H×W float32, and gives N×K logits.
        example: images for it, more than one: for one the exported graph would fix the batch size.
        classes: K names.
    """
    # MLflow files a model under the experiment of the active run.
    with warnings.catch_warnings(), mlflow.start_run(run_id=run_id):
        warnings.simplefilter("ignore")
        return Model.log(
            artifact_path=None,
            flavor=sys.modules[__name__],
            name="model",
            network=network,
            example=example,
            classes=classes,
            validate_serving_input=False,  # it would load each model again
        )


def save_model(
    path: str, mlflow_model: Model, network: "nn.Module", example: "Tensor", classes: list[str], **_: Any
) -> None:
    """Writes a model's folder; called by `Model.log`, which takes this file for a flavor of models."""
    import torch
    from mlflow import pytorch  # imports Lightning

    images = TensorSpec(
        example.numpy().dtype, (-1, *example.shape[1:])
    )  # without a name, so that a request is plain lists
    outputs = Schema([ColSpec(DataType.float, name) for name in classes])
    pytorch.save_model(
        network,
        path,
        mlflow_model=mlflow_model,
        signature=ModelSignature(Schema([images]), outputs),
        input_example=example.numpy(),
        code_paths=[str(PREDICTOR)],
        pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", f"mlflow=={mlflow.__version__}"],
    )
    mlflow_model.flavors["python_function"]["loader_module"] = PREDICTOR.stem
    mlflow_model.save(str(Path(path) / "MLmodel"))


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
