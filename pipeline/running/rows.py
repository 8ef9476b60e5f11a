"""One row in training: its runs, whether they can be trained, and its outputs when they are over."""

import functools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import UserError
from pipeline.images import prepared
from pipeline.params import planned, vocabulary
from pipeline.params.rows import Row
from pipeline.running import store
from pipeline.running.logbook import LoggedRun
from pipeline.running.slots import gpus
from pipeline.storage import put_in_place, write_json
from pipeline.training import results
from pipeline.training.devices import uses_gpu


class Training:
    """A row, from what the run store holds of it to its outputs. Whoever makes one holds the row's lock.

    Args:
        name: of the row.
        row: what to train.
        code: digest of the code.
        data_digest: gives the digest of a prepared data set.
        check: refuses a row that cannot be trained where its runs would be; not asked where none is missing.

    Attributes:
        runs: of the row, one per seed.
        missing: those of them that the run store does not hold.

    Raises:
        UserError: the row does not fit its data.
    """

    def __init__(
        self,
        name: str,
        row: Row,
        code: str,
        data_digest: Callable[[Path], str],
        check: Callable[[str, Row], None],
    ) -> None:
        self.name, self.row = name, row
        self._data = paths.prepared(row.dataset)
        self._digests = {"data": data_digest(self._data), "code": code}
        self.runs = describe(name, row, **self._digests)
        self._attempt = store.Attempt("rows", row.study, name)
        forced = store.is_forced(os.environ.get("DVC_STAGE"), self._attempt)
        self.missing = [run for run in self.runs if forced or store.sound(run.folder) is None]
        if self.missing:
            check(name, row)
            check_fit(planned.key(name), row, prepared.info(self._data))
        if forced:
            for run in self.runs:
                store.clear(run.folder)
        self._attempt.begin()
        for run in self.missing:
            write_json(run.folder / store.SPEC, store.run_spec(row, run.seed, **self._digests))

    def write(self) -> None:
        """Writes the row's outputs, but where they stand there already: somebody may be reading or recording them. The
        run store holds all of its runs."""
        folders = {run.seed: run.folder for run in self.runs}
        spec = self._digests | {"row": self.row.model_dump(exclude={"published"})}
        target, made = paths.RUNS / self.row.study / self.name, paths.RUNS / f".made-{self.name}"
        written = results.write(spec, folders, self._data, made, paths.RUNS / f".draft-{self.name}")
        if planned.is_tuned(self.name):
            shutil.copytree(paths.TUNED / self.name, made / "tuning")
        put_in_place(made, target)
        self._attempt.complete()
        print(f"{self.name}: {summary(written)}", file=sys.stderr)


def describe(name: str, row: Row, data: str, code: str) -> list[LoggedRun]:
    """The runs of a row, one per seed."""
    keys = {seed: store.run_key(store.run_spec(row, seed, data, code)) for seed in row.seeds}
    return [LoggedRun(row.study, name, row, seed, key, data, code) for seed, key in keys.items()]


def of_studies(studies: list[str]) -> list[LoggedRun]:
    """The runs of the planned rows of some studies, or of all; rows whose images or tuning are still to come are passed
    over."""
    runs = []
    digest = functools.cache(prepared.digest)
    for study in studies or sorted(path.stem for path in (paths.PLAN / "studies").glob("*.json")):
        for name in planned.read_study(study).rows:
            try:
                plan = planned.read_row(name)
                data = digest(paths.prepared(plan.row.dataset))
            except UserError:
                continue
            runs += describe(name, plan.row, data, plan.code)
    return runs


def check_fit(key: str, row: Row, info: prepared.Info) -> None:
    """Whether a row, of which the key in params.yaml is given, fits its data.

    Raises:
        UserError: images too small for the backbone, or a batch over the training images.
    """
    import torch  # seconds, which a row whose runs are stored does not wait for

    from models import SentenceError, build

    try:
        with vocabulary.of_words(), torch.device("meta"):
            build(*row.network(), info.shape, len(info.classes))
    except SentenceError as error:
        raise UserError(f"{key}.{error.part}: {error}") from None
    images = info.counts["train"]
    if row.batch > images:
        raise UserError(f"{key}.batch: {row.batch}, but {row.dataset} has {images} training images")


def check_machine(key: str, row: Row) -> None:
    """Whether this machine has what a row, of which the key in params.yaml is given, computes on.

    Raises:
        UserError: no GPU for what needs one, or too few.
    """
    if row.trainer.precision == "16-mixed" and not uses_gpu(row):
        raise UserError(f"{key}.trainer.precision: 16-mixed needs a GPU; a CPU knows 32-true and bf16-mixed")
    if row.trainer.sync_batchnorm and not uses_gpu(row):
        raise UserError(f"{key}.trainer.sync_batchnorm: needs GPUs; on a CPU each process normalizes its own share")
    if uses_gpu(row) and (found := len(gpus())) < row.trainer.devices:
        raise UserError(f"{key}.trainer: {row.trainer.devices} GPUs wanted, {found} found; accelerator: cpu needs none")


def outcome(result: dict[str, Any]) -> str:
    """A run's result in a few words."""
    if result["status"] == "failed":
        return f"failed: {result['reason']}"
    return f"test accuracy {result['test_accuracy']:.4f}, best epoch {result['best_epoch']} of {result['epochs']}"


def summary(written: list[dict[str, Any]]) -> str:
    """A row's results in a few words."""
    finished = [result["test_accuracy"] for result in written if result["status"] == "finished"]
    failed = [f"seed {result['seed']} {outcome(result)}" for result in written if result["status"] == "failed"]
    mean = f", mean test accuracy {sum(finished) / len(finished):.4f}" if finished else ""
    return "; ".join([f"{len(finished)} of {len(written)} runs finished{mean}", *failed])
