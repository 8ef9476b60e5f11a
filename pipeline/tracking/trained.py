"""The trained networks that a user names: a row, one of its seeds, a folder of its outputs, or an MLflow run."""

import re
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from torch import nn

from pipeline import paths
from pipeline.errors import UserError
from pipeline.images import prepared
from pipeline.images.prepared import Info
from pipeline.measures import inference
from pipeline.params import planned
from pipeline.params.rows import Row
from pipeline.params.schema import NAME
from pipeline.running import logbook, store
from pipeline.storage import read_json
from pipeline.text import one_line, printable

HELP = "a row, as both; one of its seeds, as both/seed-3; a folder, as runs/quickstart/both; or the id of an MLflow run"


@dataclass(frozen=True)
class Trained:
    """The networks of a row.

    Args:
        name: of the row, or its folder.
        row: what was trained.
        data: folder of the images that it was trained on.
        info: of these images.
        weights: file of each run that finished, by seed; one or more.
    """

    name: str
    row: Row
    data: Path
    info: Info
    weights: dict[int, Path]

    def network(self, seed: int) -> nn.Sequential:
        """The network of a seed, as `inference.load` gives it.

        Raises:
            UserError: the file is damaged, or of another version of the code.
        """
        path = self.weights[seed]
        try:
            return inference.load(self.row, self.data, seed, path)
        except (SafetensorError, OSError, RuntimeError) as error:
            raise UserError(f"{paths.shown(path)}: not the weights of this row ({one_line(error)[:200]})") from None

    @property
    def needs_company(self) -> bool:
        """Whether it normalizes with the batch at hand, so that a prediction depends on the images beside it."""
        return not self.row.norm.running_stats and self.row.reads("running_stats")


def find(name: str) -> Trained:
    """The networks that a user means.

    Args:
        name: as `HELP` describes it.

    Raises:
        UserError: no such row, seed, folder or run; none that finished; or other data than it was trained on.
    """
    if re.fullmatch(r"[0-9a-f]{32}", name):
        return _of_run(name)
    named = re.fullmatch(r"(.+)/seed-(\d+)", name)
    place, seed = (named[1], int(named[2])) if named else (name.rstrip("/"), None)
    folder = Path(place)
    if not (folder / "spec.json").exists():
        if not re.fullmatch(NAME, place):
            raise UserError(f"{printable(name)}: neither the name of a row nor a folder with a row's spec.json")
        folder = paths.RUNS / planned.read_row(place).row.study / place
    row, data = _spec(folder)
    weights = {each: folder / "weights" / f"seed-{each}.safetensors" for each in row.seeds if seed in (None, each)}
    weights = {each: path for each, path in weights.items() if path.exists()}
    if not weights:
        wanted = "no run" if seed is None else f"no run of seed {seed}"
        raise UserError(f"{paths.shown(folder)}: {wanted} has finished; its seeds are {', '.join(map(str, row.seeds))}")
    return _checked(place, row, data, weights)


def _spec(folder: Path) -> tuple[Row, str]:
    """What was trained, and the digest of the data, as a row's outputs say."""
    path = folder / "spec.json"
    try:
        spec = read_json(path)
        if spec is None:
            stage = planned.train_stage(folder.name)
            raise UserError(f"{paths.shown(path)}: missing; run '.venv/bin/dvc repro {stage}'")
        return Row.model_validate(spec["row"]), spec["data"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{paths.shown(path)}: damaged; run '.venv/bin/dvc checkout --force {planned.train_stage(folder.name)}'"
        ) from None


def _of_run(run_id: str) -> Trained:
    """The network of an MLflow run, from the run store."""
    from pipeline.tracking import mlflow_log  # imports MLflow

    tags = mlflow_log.run_tags(run_id)
    run = logbook.recorded(tags["study"], tags["row"], tags["key"])
    weights = run.folder / "weights.safetensors" if run else None
    if run is None or weights is None or not weights.exists():
        known = paths.shown(paths.STORE / "runs" / tags["key"])
        raise UserError(
            f"run {run_id}: {known} holds no weights, so it failed or was trained in another checkout; there,"
            f" or by mlflow.pytorch.load_model('runs:/{run_id}/model'), it can be used"
        )
    return _checked(run.name, run.row, run.data, {run.seed: weights})


def _checked(name: str, row: Row, digest: str, weights: dict[int, Path]) -> Trained:
    data = store.checked_data(row.dataset, {name: digest})
    return Trained(name, row, data, prepared.info(data), weights)
