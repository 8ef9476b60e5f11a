"""Networks as MLflow keeps them: loadable, servable, and the best of a study under the study's name.

A logged model has two faces. `mlflow.pytorch.load_model` gives the network, whose output are logits;
`mlflow models serve` answers pixels with the probability of every class by its name.
"""

import contextlib
import io
import tempfile
import warnings
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow import MlflowClient, artifacts
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.tracking.context.registry import resolve_tags
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

from pipeline.tracking import batches

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.export import ExportedProgram

PREDICTOR = Path(__file__).with_name("class_probabilities.py")
"""What answers for a served model; it travels inside."""

GRAPH = Path("data", "model.pt2")
"""In the folder of a logged model: the network, its tensors included."""

OWN = {"artifact_path", "run_id", "model_uuid", "model_id", "utc_time_created"}
"""What the description of a logged model does not share with others of its kind."""

CHAMPION = "champion"
"""The alias of the version that stands for a study now."""


def make_model(client: MlflowClient, experiment: str, run_id: str, params: dict[str, str] | None = None) -> LoggedModel:
    """The logged model of an MLflow run, still without its files: metrics can be logged for both at once."""
    model = client.create_logged_model(experiment, "model", run_id, resolve_tags(), params)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return model


def copy(client: MlflowClient, source: str, model: LoggedModel) -> None:
    """Uploads the files of another logged model, which needs no torch.

    Args:
        client: of the tracking store.
        source: id of the other one.
        model: that `make_model` made.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(artifacts.download_artifacts(f"models:/{source}", dst_path=folder))
        shared = _shared(Model.load(str(path)))
        Model.from_dict(_description(model).to_dict() | shared).save(str(path / "MLmodel"))
        batches.upload(model.artifact_location, path)
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def _description(model: LoggedModel) -> Model:
    """What the files of a logged model say of it, as long as they say nothing of a network."""
    return Model(model.artifact_location, model.source_run_id, model_uuid=model.model_id, model_id=model.model_id)


def _shared(about: Model) -> dict[str, Any]:
    return {name: value for name, value in about.to_dict().items() if name not in OWN}


class _Kind:
    """What a saved network shares with all others of its kind.

    Args:
        folder: of the saved network.
        about: its description.
    """

    def __init__(self, folder: Path, about: Model) -> None:
        paths = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
        self._files = {name: path.read_bytes() for name, path in paths.items()}
        self._about = _shared(about)

    @cached_property
    def _graph(self) -> "ExportedProgram":
        """Loaded when a second network comes."""
        from torch import export

        return export.load(io.BytesIO(self._files[GRAPH]))

    def save(self, folder: Path, about: Model, network: "nn.Module") -> None:
        """Writes the folder of another network."""
        import torch

        for name, content in self._files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        tensors: dict[str, Any] = self._graph.state_dict | self._graph.constants
        with torch.no_grad():
            for name, tensor in (*network.named_parameters(), *network.named_buffers()):
                tensors[name].copy_(tensor)
        torch.export.save(self._graph, folder / GRAPH)
        Model.from_dict(about.to_dict() | self._about).save(str(folder / "MLmodel"))


class Writer:
    """Writes the files of logged models. Networks of one kind share all but their tensors: the second one takes the
    graph of the first, whose export takes most of the time that logging a run does."""

    def __init__(self) -> None:
        self._last: tuple[str, _Kind] | None = None

    def write(
        self,
        client: MlflowClient,
        model: LoggedModel,
        kind: str,
        network: "nn.Module",
        example: "Tensor",
        classes: list[str],
    ) -> None:
        """Uploads the files of a logged model, which is ready then.

        `Model.log` of MLflow would do this and more: it asks for the whole history of each metric of the run.

        Args:
            client: of the tracking store.
            model: that `make_model` made.
            kind: the same of networks that differ in nothing but their parameters and buffers.
            network: in test mode; takes pixels 0..255, N×C×H×W float32, and gives N×K logits.
            example: images for it, more than one: for one the exported graph would fix the batch size.
            classes: K names.
        """
        about = _description(model)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = Path(folder) / "model"
            if self._last and self._last[0] == kind:
                self._last[1].save(path, about, network)
            else:
                _save(path, about, network, example, classes)
                self._last = kind, _Kind(path, about)
            batches.upload(model.artifact_location, path)
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def _save(path: Path, about: Model, network: "nn.Module", example: "Tensor", classes: list[str]) -> None:
    """Writes a model's folder."""
    import torch

    from pipeline.running import light  # noqa: F401

    # Without a name, so that a request is plain lists.
    images = TensorSpec(example.numpy().dtype, (-1, *example.shape[1:]))
    outputs = Schema([ColSpec(DataType.float, name) for name in classes])

    from mlflow import pytorch  # imports Lightning

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
