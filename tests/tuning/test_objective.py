"""One trial: scored on validation images, resumed to the same result, pruned when told to, and blind to test images."""

import gc
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.images import prepared
from pipeline.params.rows import Row
from pipeline.params.tuning import Tuning
from pipeline.storage import read_json
from pipeline.training import run
from pipeline.tuning import objective

VALUES = {"optimizer.lr": 0.02, "batch": 16}
MakeRow = Callable[..., Row]


class Killed(Exception):
    """Stands for a kill between two epochs."""


def tuning(**changes: Any) -> Tuning:
    space = {"optimizer.lr": {"low": 1e-4, "high": 0.1, "log": True}, "batch": {"choices": [16, 32]}}
    return Tuning.model_validate({"trials": 9, "epochs": 3, "seeds": [100, 101], "space": space} | changes)


class Trial:
    """Trains a trial and keeps what it says; `ends` says at which steps the pruner ends it, and `kill` when it dies."""

    def __init__(
        self, row: Row, spec: Tuning, data: Path, folder: Path, ends: tuple[int, ...] = (), **how: Any
    ) -> None:
        self.steps: list[tuple[int, float]] = []
        self.kill: tuple[int, int] | None = how.get("kill")
        folder.mkdir(exist_ok=True)

        def ask(step: int, value: float) -> bool:
            self.steps.append((step, value))
            return step in ends

        self.outcome = objective.train(row, spec, how.get("values", VALUES), data, folder, self._report, ask)

    def _report(self, content: dict[str, Any]) -> None:
        if (content["place"], content["epoch"]["epoch"]) == self.kill:
            raise Killed


@pytest.fixture
def blind(data: Path, tmp_path: Path) -> Path:
    """The prepared data as the stage `tune` has them: without the file of test images."""
    folder = tmp_path / "stripes"
    folder.mkdir()
    shutil.copy(data / prepared.FIT_FILE, folder)
    return folder


def test_a_trial_is_scored_on_validation_images(blind: Path, make_row: MakeRow, tmp_path: Path) -> None:
    """Broken: what wins would not be what is best on validation images."""
    trial = Trial(make_row(), tuning(), blind, tmp_path / "t")
    losses = [line["val_loss"] for line in trial.outcome["curves"]]
    assert trial.outcome["score"] == pytest.approx((min(losses[:3]) + min(losses[3:])) / 2, abs=1e-15)
    assert [line["seed"] for line in trial.outcome["curves"]] == [100] * 3 + [101] * 3
    assert trial.steps == list(enumerate(losses, start=1))
    assert (trial.outcome["epochs"], trial.outcome["images"]) == (6, 6 * 96)
    # The row that wins is this one: the same numbers come from training it with the values written out.
    row = make_row(epochs=3, batch=16, optimizer={"name": "adam", "lr": 0.02})
    _, _, recorder = run.fit(row, 101, blind, tmp_path / "state", lambda _: None)
    assert [line["val_loss"] for line in recorder.curves] == losses[3:]


def test_no_test_image_is_reachable_from_the_objective(data: Path, make_row: MakeRow, tmp_path: Path) -> None:
    """Broken: tuning could choose by the images that it is tested on, here where they lie beside the others."""
    pool, test = ({image.numpy().tobytes() for image in read(data)[0]} for read in (prepared.pool, prepared.test))
    seen: set[bytes] = set()

    def look(content: dict[str, Any]) -> None:
        """While the trial runs: every image in every tensor that Python can reach, and every file in memory."""
        for thing in gc.get_objects():
            if type(thing) is torch.Tensor and thing.dtype == torch.uint8 and thing.dim() == 4:
                seen.update(image.numpy().tobytes() for image in thing)
        maps = Path("/proc/self/maps")
        assert not maps.exists() or str(data / prepared.TEST_FILE) not in maps.read_text()

    gc.collect()
    objective.train(make_row(), tuning(), VALUES, data, tmp_path, look, lambda step, value: False)
    assert pool <= seen
    assert not seen & test


def test_a_trial_needs_no_test_image(blind: Path, make_row: MakeRow, tmp_path: Path) -> None:
    """Broken: the stage would need a file that it is not given."""
    assert Trial(make_row(), tuning(seeds=[100], epochs=1), blind, tmp_path / "t").outcome["state"] == "complete"


@pytest.mark.parametrize("kill", [(0, 2), (1, 1), (1, 3)])
def test_a_killed_trial_ends_with_the_same_result(
    kill: tuple[int, int], blind: Path, make_row: MakeRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a kill would change a score, or what the pruner hears."""
    monkeypatch.setattr(run, "SAVE_SECONDS", 0.0)
    whole = Trial(make_row(), tuning(), blind, tmp_path / "whole")
    with pytest.raises(Killed):
        Trial(make_row(), tuning(), blind, tmp_path / "killed", kill=kill)
    again = Trial(make_row(), tuning(), blind, tmp_path / "killed")
    assert again.outcome == whole.outcome and again.steps == whole.steps
    assert not list((tmp_path / "killed").glob("*.ckpt"))
    assert read_json(tmp_path / "killed" / "seed-0.json") == read_json(tmp_path / "whole" / "seed-0.json")


def test_a_pruned_trial_ends_at_once(blind: Path, make_row: MakeRow, tmp_path: Path) -> None:
    """Broken: pruning would save nothing, or a pruned trial would look complete."""
    trial = Trial(make_row(), tuning(), blind, tmp_path / "t", ends=(5,))
    assert (trial.outcome["state"], trial.outcome["epochs"]) == ("pruned", 5)
    losses = [line["val_loss"] for line in trial.outcome["curves"]]
    assert trial.outcome["score"] == pytest.approx((min(losses[:3]) + min(losses[3:])) / 2, abs=1e-15)


def test_the_last_epoch_is_not_pruned(blind: Path, make_row: MakeRow, tmp_path: Path) -> None:
    """Broken: a trial that has paid for all of its epochs would not count."""
    assert Trial(make_row(), tuning(), blind, tmp_path / "t", ends=(6,)).outcome["state"] == "complete"


def test_wilcoxon_is_asked_by_epoch_of_the_first_seed_and_by_seed(
    blind: Path, make_row: MakeRow, tmp_path: Path
) -> None:
    """Broken: a bad trial would train whole seeds, or seeds would be compared by their epochs."""
    spec = tuning(pruner="wilcoxon", seeds=[1, 2, 3], epochs=2)
    whole = Trial(make_row(), spec, blind, tmp_path / "a")
    losses = [line["val_loss"] for line in whole.outcome["curves"]]
    scores = [min(losses[start : start + 2]) for start in (0, 2, 4)]
    assert whole.steps == list(enumerate([*losses[:2], *scores], 1))
    for step, epochs in ((1, 1), (3, 2), (4, 4)):
        trial = Trial(make_row(), spec, blind, tmp_path / str(step), ends=(step,))
        assert (trial.outcome["state"], trial.outcome["epochs"]) == ("pruned", epochs)
        ended = {1: losses[0], 3: scores[0], 4: (scores[0] + scores[1]) / 2}
        assert trial.outcome["score"] == pytest.approx(ended[step], abs=1e-15)
    assert Trial(make_row(), spec, blind, tmp_path / "last", ends=(5,)).outcome["state"] == "complete"


def test_accuracy_can_be_the_score(blind: Path, make_row: MakeRow, tmp_path: Path) -> None:
    """Broken: the objective would be the loss whatever params.yaml says."""
    spec = tuning(objective="val_accuracy", seeds=[100])
    trial = Trial(make_row(select_by="accuracy"), spec, blind, tmp_path / "t")
    assert trial.outcome["score"] == max(line["val_accuracy"] for line in trial.outcome["curves"])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"optimizer.lr": 1e12, "each": "conv act"}, "training loss not finite in epoch 1"),
        ({"norm.groups": 3, "each": "conv gn act"}, "3 groups do not divide the 4 features of block1_gn1"),
        ({"optimizer.beta1": 2.0}, "optimizer.beta1: found 2.0"),
    ],
)
def test_a_trial_that_cannot_be_trained_is_a_failed_one(
    values: dict[str, Any], reason: str, blind: Path, make_row: MakeRow, tmp_path: Path
) -> None:
    """Broken: values that diverge, or that do not go together, would end the whole tuning."""
    row = make_row(optimizer={"name": "sgd", "lr": 0.1}) if "optimizer.lr" in values else make_row()
    outcome = Trial(row, tuning(), blind, tmp_path / "t", values=values).outcome
    assert outcome["state"] == "failed" and reason in outcome["reason"] and outcome["score"] is None
    assert outcome["epochs"] == ("training" in reason)
