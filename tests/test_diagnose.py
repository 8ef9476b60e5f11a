"""The measures of a trained run beside the variance shift, and the stage that takes them."""

import csv
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models import build
from pipeline import diagnose, paths
from pipeline.errors import UserError
from pipeline.images import prepared
from pipeline.images.draws import Subset
from pipeline.measures import diagnosis, modes, recalibrate, shift
from pipeline.params.planned import PlannedStudy
from pipeline.params.rows import Row
from pipeline.params.studies import Study
from pipeline.running.workers import Event, Task
from pipeline.training import results, run

MakeRow = Callable[..., Row]
IMAGE = (1, 8, 8)


def network(row: Row) -> nn.Sequential:
    """A network of that row with random weights, decided in its predictions, in test mode."""
    torch.manual_seed(3)
    layers = build(*row.network(), IMAGE, 3).eval()
    classifier = layers[-1]
    assert isinstance(classifier, nn.Linear)
    nn.init.normal_(classifier.weight)
    return layers


def batches(number: int = 70, size: int = 256) -> Iterator[Tensor]:
    """The same batches at every call."""
    draws = torch.Generator().manual_seed(4)
    return (torch.randn(size, *IMAGE, generator=draws) for _ in range(number))


def spoiled(layers: nn.Sequential) -> nn.Sequential:
    """The network with running statistics that are far from any truth."""
    for norm in shift.running_norms(layers).values():
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.add_(5)
        norm.running_var.mul_(torch.linspace(0.01, 50, len(norm.running_var)))
    return layers


def test_statistics_run_again_repair_a_spoiled_network(make_row: MakeRow) -> None:
    """Broken: recalibration would depend on the statistics that it replaces, or leave a shift."""
    row = make_row(each="conv bn act drop", head="dense bn act")
    images = next(batches(1))
    for again in (
        lambda layers: recalibrate.moving(layers, batches()),
        lambda layers: recalibrate.exact(layers, batches),
    ):
        sound, repaired = again(network(row)), again(spoiled(network(row)))
        with torch.inference_mode():
            torch.testing.assert_close(repaired(images), sound(images))
            assert (repaired(images) - spoiled(network(row))(images)).abs().max() > 1
        for line in shift.shifts(sound, sound, batches):
            assert line["ratio"] == pytest.approx(1, abs=0.03)
            assert 0.9 < line["q05"] < line["q95"] < 1.1


def test_exact_statistics_are_those_of_all_values(make_row: MakeRow) -> None:
    """Broken: population variance would be a mean of batch variances, or taken behind the wrong layer."""
    layers = network(make_row())
    with torch.inference_mode():
        mean, variance = recalibrate.population(map(layers[0], batches(5)))
    with torch.no_grad():
        values = torch.cat([layers[0](x) for x in batches(5)]).transpose(0, 1).flatten(1).double().numpy()
    np.testing.assert_allclose(mean.numpy(), values.mean(1), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(variance.numpy(), values.var(1), rtol=1e-5)


def test_what_is_kept_changes_no_statistic(make_row: MakeRow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a large data set, whose activations are not kept, would be measured otherwise than a small one."""
    layers, found = network(make_row(each="conv bn act drop", head="dense bn act")), []
    for room in (recalibrate.KEPT, 20_000, 0):
        monkeypatch.setattr(recalibrate, "KEPT", room)
        found.append(recalibrate.exact(layers, lambda: batches(5, 8)).state_dict())
    for key, value in found[0].items():
        assert torch.equal(value, found[1][key]) and torch.equal(value, found[2][key])


def test_training_mode_is_that_of_training_and_changes_nothing(make_row: MakeRow) -> None:
    """Broken: dropout or batch statistics would be missing, or a measure would spoil those after it."""
    images = next(batches(1, 32))
    subset = Subset.of(images, torch.zeros(32))
    for words, noisy in (({"each": "conv act", "end": "pool", "head": "dense act"}, False), ({}, True)):
        layers = network(make_row(**words))
        before = {key: value.clone() for key, value in layers.state_dict().items()}
        logits, which = modes.noisy_logits(layers, subset, 12, seed=0)
        again, _ = modes.noisy_logits(layers, subset, 12, seed=0)
        assert len(which) == len(set(which.tolist())) == 24
        assert torch.equal(logits, again)
        with torch.inference_mode():
            assert torch.allclose(logits, layers(images)[which], atol=1e-5) != noisy
        assert not layers.training
        for key, value in layers.state_dict().items():
            assert torch.equal(value, before[key])


@pytest.mark.parametrize(
    ("words", "varies"),
    [
        ({"each": "conv bn act", "head": "dense act"}, True),
        ({"each": "conv ln act drop", "head": "dense act drop"}, False),
    ],
)
def test_only_batch_statistics_make_company_matter(words: dict[str, str], varies: bool, make_row: MakeRow) -> None:
    """Broken: images would be mixed up between deals, or dropout would pass for the effect of company."""
    images, labels = next(batches(1, 48)), torch.arange(48) % 3
    found = modes.company(network(make_row(**words)), images[:20], labels[:20], images[20:], 4, 0)
    assert (found["company_sd"] > 1e-3) == varies
    assert (found["company_changed"] > 0) == varies
    if not varies:
        assert found["company_sd"] < 1e-6


def test_a_company_that_never_changes_is_not_measured(make_row: MakeRow) -> None:
    """Broken: large batches would look as if the images beside an image did not matter."""
    images, labels = next(batches(1, 48)), torch.arange(48) % 3
    layers = network(make_row(each="conv bn act", head="dense act"))
    assert modes.company(layers, images[:20], labels[:20], images[20:], 25, 0) == {}
    assert modes.company(layers, images[:20], labels[:20], images[20:], 24, 0)["company_sd"] > 1e-3
    assert [modes.others(batch) for batch in (32, 128, 512)] == [256, 512, 2048]


class Project:
    """A project in a temporary folder: trained rows, and the stage on them.

    Args:
        folder: of the project.
        data: prepared images.
    """

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder, self.data = folder, data
        self.rows: dict[str, Row] = {}
        self.study = Study(title="S", question="?")

    def train(self, name: str, row: Row) -> None:
        """Trains a row and writes its outputs."""
        folders = {seed: self.folder / "trained" / f"{name}-{seed}" for seed in row.seeds}
        for seed, folder in folders.items():
            if not folder.exists():
                folder.mkdir(parents=True)
                run.train(row, seed, self.data, folder, lambda _: None)
        spec = {"row": row.model_dump(exclude={"published"}), "data": prepared.digest(self.data), "code": "c"}
        results.write(spec, folders, self.data, paths.RUNS / "s" / name, self.folder / "draft")
        self.rows[name] = row

    def diagnose(self) -> None:
        """What the stage does."""
        diagnose.diagnose_study(
            PlannedStudy(name="s", study=self.study, rows=self.rows, code=dict.fromkeys(self.rows, "c"))
        )

    def table(self, name: str) -> list[dict[str, str]]:
        """The lines of an output."""
        with (paths.DIAGNOSIS / "s" / name).open(newline="") as file:
            return list(csv.DictReader(file))

    def digests(self) -> dict[str, str]:
        """Of the outputs."""
        files = sorted((paths.DIAGNOSIS / "s").iterdir())
        return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in files}

    def kept(self) -> dict[Path, int]:
        """When each measure that the run store holds was taken."""
        return {path: path.stat().st_mtime_ns for path in (paths.STORE / "diagnoses").glob("*/result.json")}


@pytest.fixture
def project(
    worker_server: None, data: Path, make_row: MakeRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """A study of a row with batch norm, two seeds, and one that diverged."""
    for name in ("RUNS", "DIAGNOSIS", "STORE"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    monkeypatch.setattr(paths, "prepared", lambda dataset: data)
    project = Project(tmp_path, data)
    project.train("sound", make_row(each="conv drop bn act", epochs=2, seeds=[0, 1]))
    project.train("dead", make_row(each="conv act", optimizer={"name": "sgd", "lr": 1e12}))
    return project


def test_the_stage_measures_every_run_once(project: Project, make_row: MakeRow) -> None:
    """Broken: a run would be left out, its measures be another's, or a new row would measure all again."""
    project.diagnose()
    runs, layers = project.table("runs.csv"), project.table("layers.csv")
    assert [name for name in diagnose.LAYERS if name[0] == "q"] == [f"q{round(100 * q):02}" for q in shift.QUANTILES]
    assert list(runs[0]) == list(diagnose.RUNS) and list(layers[0]) == list(diagnose.LAYERS)
    assert [(line["row"], line["seed"], line["status"]) for line in runs] == [
        ("sound", "0", "finished"),
        ("sound", "1", "finished"),
        ("dead", "0", "failed"),
    ]
    assert "not finite" in runs[2]["reason"]
    assert not any(runs[2][column] for column in diagnose.RUNS[4:])
    assert all(runs[0][column] for column in diagnose.RUNS if column != "reason")
    with (paths.RUNS / "s" / "sound" / "seeds.csv").open(newline="") as file:
        trained = list(csv.DictReader(file))
    for line, expected in zip(runs, trained, strict=False):
        assert line["test_accuracy_before"] == expected["test_accuracy"]
        assert float(line["test_loss_before"]) == pytest.approx(float(expected["test_loss"]), rel=1e-5)
        assert line["train_accuracy_eval"] == expected["final_train_accuracy"]
    assert [(line["seed"], line["layer"], line["case"]) for line in layers] == [
        (seed, f"block{block}_bn1", "a") for seed in "01" for block in (1, 2)
    ]
    outputs, kept = project.digests(), project.kept()
    project.train("other", make_row(each="conv act", end="pool", head="dense act", epochs=1))
    project.diagnose()
    assert {path: stamp for path, stamp in project.kept().items() if path in kept} == kept
    assert len(project.kept()) == len(kept) + 1
    assert project.table("runs.csv")[:3] == runs
    del project.rows["other"]
    for path in kept:
        path.unlink()
    project.diagnose()
    assert project.digests() == outputs


def test_a_killed_stage_goes_on_to_the_same_bytes(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a kill would lose measures, leave half of a table behind, or change what comes out."""

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setenv("DISHARMONY_JOBS", "1")
        patch.setattr(diagnose.StageProgress, "end", kill)
        with pytest.raises(KeyboardInterrupt):
            project.diagnose()
    kept = project.kept()
    assert len(kept) == 1
    assert not (paths.DIAGNOSIS / "s").exists()
    project.diagnose()
    resumed = project.digests()
    assert {path: stamp for path, stamp in project.kept().items() if path in kept} == kept
    for path in project.kept():
        path.unlink()
    project.diagnose()
    assert project.digests() == resumed


def test_a_broken_run_is_named_and_the_others_are_kept(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a damaged file would take the measures of sound ones with it, or be a traceback without a name."""
    weights = paths.RUNS / "s" / "sound" / "weights" / "seed-0.safetensors"
    save_file({key: value[:1] for key, value in load_file(weights).items() if value.ndim}, weights)
    with pytest.raises(UserError, match=r"s: 1 of 2 runs not diagnosed; the first: .*seed-0.safetensors: "):
        project.diagnose()
    assert len(project.kept()) == 1
    weights.unlink()
    with pytest.raises(
        UserError, match=r"seed-0.safetensors: missing; run '.venv/bin/dvc checkout --force train@sound'"
    ):
        project.diagnose()
    assert not (paths.DIAGNOSIS / "s").exists()


def test_a_run_whose_worker_is_killed_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: where memory is short, the stage would end in a traceback about something else."""

    def kill(tasks: list[Task]) -> Iterator[Event]:
        yield from (
            Event(task, "killed", "a worker ended with exit code -9 (killed; out of memory?)") for task in tasks
        )

    monkeypatch.setattr(diagnose.workers, "do_all", kill)
    with pytest.raises(
        UserError, match=r"s: 2 of 2 runs not diagnosed; the first: .*seed-0.safetensors: a worker ended"
    ):
        project.diagnose()
    assert not (paths.DIAGNOSIS / "s").exists()


def test_other_data_are_refused(project: Project, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: weights would be measured on images that they were not trained on."""
    other = shutil.copytree(data, tmp_path / "other")
    content = (other / "test.safetensors").read_bytes()
    (other / "test.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    monkeypatch.setattr(paths, "prepared", lambda dataset: other)
    with pytest.raises(UserError, match=r"not the images that sound was trained on; run '\.venv/bin/dvc repro'"):
        project.diagnose()


def test_a_diagnosis_alone_gives_the_numbers_of_one_beside_others(project: Project) -> None:
    """Broken: measures would depend on the process that takes them."""
    project.diagnose()
    row = project.rows["sound"]
    weights = paths.RUNS / "s" / "sound" / "weights" / "seed-1.safetensors"
    reports: list[dict[str, Any]] = []
    alone = diagnosis.diagnose(row, 1, project.data, weights, reports.append)
    line = project.table("runs.csv")[1]
    assert {key: float(line[key]) for key in alone["numbers"]} == alone["numbers"]
    assert [content["done"] for content in reports] == list(range(1, diagnosis.STEPS + 1))
