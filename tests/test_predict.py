"""Pictures of any kind are classified by the networks that a user names, and whatever is wrong gets one line."""

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pipeline import fold, paths, predict
from pipeline.images import folders, prepared
from pipeline.params.datasets import Folder
from pipeline.params.rows import Row
from pipeline.storage import read_json, write_atomically, write_json, write_sealed
from pipeline.tracking import trained
from pipeline.training import results, run

SEEDS = [0, 1, 2]  # of which the last one failed


@pytest.fixture(scope="module")
def made(data: Path, make_row: Callable[..., Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the outputs of two rows: `good`, and `batchwise`, which has no running statistics."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(data, root / "data" / "stripes")
    for name, changes in (("good", {}), ("batchwise", {"norm": {"running_stats": False}})):
        row = make_row(seeds=SEEDS, epochs=3, head="dense bn act drop", **changes)
        planned = {"row": row.model_dump(exclude={"published"}), "code": ""}
        write_json(root / "plan" / "rows" / f"{name}.json", planned)
        runs = {seed: root / "store" / f"{name}-{seed}" for seed in SEEDS}
        for seed, folder in runs.items():
            folder.mkdir(parents=True)
            if seed != SEEDS[-1]:
                run.train(row, seed, data, folder, lambda _: None)
        failed = {"status": "failed", "reason": "it diverged", "epochs": 0, "best_epoch": 0, "parameters": 0}
        write_atomically(runs[SEEDS[-1]] / "curves.csv", b"epoch\n")
        write_sealed(runs[SEEDS[-1]] / "result.json", failed, ["curves.csv"])
        spec = {"data": prepared.digest(data), "code": "", "row": row.model_dump(exclude={"published"})}
        results.write(spec, runs, data, root / "runs" / "s" / name, root / "draft")
    return root


@pytest.fixture
def project(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That project as the present one."""
    for name in ("PLAN", "DATA", "RUNS"):
        monkeypatch.setattr(paths, name, made / name.lower())
    monkeypatch.setattr(paths, "ROOT", made)
    return made


Said = tuple[str, list[str], int]
"""What a command prints, its lines on stderr, and its exit status."""


@pytest.fixture
def call(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs `pipeline.predict` or another command."""

    def called(*words: object, main: Callable[[], None] = predict.main) -> Said:
        monkeypatch.setattr(sys, "argv", ["command", *map(str, words)])
        status: Any = 0
        try:
            main()
        except SystemExit as end:
            status = end.code
        printed = capsys.readouterr()
        if isinstance(status, str):
            return printed.out, [*printed.err.splitlines(), status], 1
        return printed.out, printed.err.splitlines(), status

    return called


@pytest.fixture
def images(project: Path, tmp_path: Path) -> Path:
    """A folder with the test images as files, in their order."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, image in enumerate(prepared.test_arrays(project / "data" / "stripes")[0]):
        Image.fromarray(image[0]).save(folder / f"{number:02}.png")
    return folder


def test_all_seeds_speak_together(project: Path, images: Path, call: Callable[..., Said]) -> None:
    """Broken: a picture would get another class or confidence than the same image got in the test."""
    out, err, status = call("good", images, "--json")
    found = json.loads(out)
    assert (len(found), err, status) == (33, [], 0)
    logits = load_file(project / "runs" / "s" / "good" / "logits.safetensors")
    each = torch.stack([logits["seed-0"], logits["seed-1"]]).double().softmax(2)
    mean = each.mean(0)
    classes = ["top", "middle", "bottom"]
    for number, entry in enumerate(found):
        order = mean[number].argsort(descending=True).tolist()
        assert entry["file"] == str(images / f"{number:02}.png")
        assert list(entry["probabilities"].values()) == pytest.approx(mean[number].tolist(), abs=1e-6)
        assert [entry["predicted"], entry["runner_up"]] == [classes[order[0]], classes[order[1]]]
        assert entry["probability"] == entry["probabilities"][entry["predicted"]]
        assert entry["votes"] == (each[:, number].argmax(1) == order[0]).sum()
        assert entry["networks"] == 2


def test_the_table_names_one_seed_or_counts_votes(images: Path, call: Callable[..., Said]) -> None:
    """Broken: a single network would pass for several, or the table would say something else than JSON."""
    out, _, _ = call("good", images / "00.png")
    assert out.splitlines()[0] == "good: mean of 2 networks, seeds 0 1, trained on stripes"
    (entry,) = json.loads(call("good", images / "00.png", "--json")[0])
    first, second = (f"{100 * entry[key]:.1f}" for key in ("probability", "runner_up_probability"))
    cells = [entry["file"], entry["predicted"], first, entry["runner_up"], second, str(entry["votes"]), "of", "2"]
    assert out.splitlines()[-1].split() == cells
    alone, _, _ = call("good/seed-1", images / "00.png")
    assert alone.splitlines()[0] == "good: seed 1, trained on stripes"
    assert "votes" not in alone


GREY = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(image: Image.Image) -> bytes:
    """An image that lies on its side, with the note that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image.transpose(Image.Transpose.ROTATE_90), exif=exif)


KINDS = {
    "grey": encoded(GREY),
    "colour": encoded(GREY.convert("RGB")),
    "transparent": encoded(GREY.convert("RGBA")),
    "grey and transparent": encoded(GREY.convert("LA")),
    "palette": encoded(GREY.convert("P")),
    "16 bits": encoded(Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)),
    "turned": turned(GREY),
    "TIFF": encoded(GREY, "TIFF"),
    "BMP": encoded(GREY, "BMP"),
    "GIF": encoded(GREY, "GIF"),
    "WEBP": encoded(GREY, "WEBP", lossless=True),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_one_picture_in_any_file_is_one_picture(kind: str, channels: int, tmp_path: Path) -> None:
    """Broken: what a network sees would depend on how the picture was saved."""
    (tmp_path / "picture").write_bytes(KINDS[kind])
    pictures, problems = predict.gather([str(tmp_path / "picture")], (channels, 8, 8))
    assert problems == {}
    (pixels,) = pictures.values()
    assert np.array_equal(pixels, np.broadcast_to(np.asarray(GREY), (channels, 8, 8)))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pictures_are_resized_as_data_sets_are(mode: str, tmp_path: Path) -> None:
    """Broken: a network would be asked about pictures that look unlike those that it was trained on."""
    noise = np.random.default_rng(0).integers(0, 256, (2, 21, 30, 3), dtype=np.uint8)
    for name, pixels in zip(("a/0.png", "b/0.png"), noise, strict=True):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(pixels).convert(mode).save(tmp_path / name)
    dataset = Folder.model_validate({"source": "folder", "path": str(tmp_path), "size": 8})
    expected, *_ = folders.read("d", tmp_path, dataset, lambda _: None)
    pictures, _ = predict.gather([str(tmp_path)], (len(mode), 8, 8))
    assert np.array_equal(np.stack(list(pictures.values())), expected.numpy())


def test_folders_and_patterns_name_their_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: pictures in folders would be missed, or files beside them be taken for broken ones."""
    names = ("b.png", "a/deep/2.JPG", "a/1.webp", "[1].png", "a/notes.txt", "a/._1.png", "empty/x.txt")
    names += (".hidden/1.png", "__MACOSX/a/1.png")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)

    def found(name: str) -> list[str] | str:
        files = predict.files(name)
        return files if isinstance(files, str) else list(map(str, files))

    assert found(".") == ["[1].png", "a/1.webp", "a/deep/2.JPG", "b.png"]
    assert found("*.png") == ["[1].png", "b.png"]
    assert found("**/*.webp") == ["a/1.webp"]
    assert found("[1].png") == ["[1].png"]
    assert found("a/notes.txt") == ["a/notes.txt"]
    assert found("a" * 300) == "File name too long"
    assert found("empty") == "no image in it"
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "c").symlink_to(tmp_path / "a")
    (tmp_path / "linked" / "circle").symlink_to(tmp_path / "linked")
    assert found("linked") == ["linked/c/1.webp", "linked/c/deep/2.JPG"]
    assert found("*.bmp") == found("c.png") == found("***c") == "no such file"


def test_a_picture_may_be_as_large_as_those_of_its_data_set(tmp_path: Path) -> None:
    """Broken: pictures on which a network was trained could not be classified by it."""
    Image.new("L", (9, 8)).save(tmp_path / "a.png")
    for most, read in ((71, {}), (72, {str(tmp_path / "a.png"): None})):
        pictures, _ = predict.gather([str(tmp_path)], (1, 8, 8), most)
        assert pictures.keys() == read.keys()


def test_broken_pictures_cost_a_line_each_and_no_other_picture(
    images: Path, tmp_path: Path, call: Callable[..., Said]
) -> None:
    """Broken: one broken file among a thousand would end in a traceback, or be passed over in silence."""
    cut = tmp_path / "cut.png"
    cut.write_bytes((images / "00.png").read_bytes()[:60])
    (tmp_path / "text.jpg").write_text("no image")
    out, err, status = call("good", images / "00.png", cut, tmp_path / "text.jpg", "absent.png", "--json")
    entries = {Path(entry["file"]).name: entry for entry in json.loads(out)}
    assert status == 1
    assert "predicted" in entries["00.png"]
    assert entries["absent.png"]["error"] == "no such file"
    assert entries["text.jpg"]["error"].startswith("corrupt or no image; JPEG, PNG")
    assert [line.split(": ")[1].rsplit("/")[-1] for line in err] == ["absent.png", "cut.png", "text.jpg"]
    out, err, status = call("good", "absent.png")
    assert (out, err, status) == ("", ["error: absent.png: no such file"], 1)


def test_a_network_that_normalizes_with_the_batch_says_so(images: Path, call: Callable[..., Said]) -> None:
    """Broken: a prediction that depends on the other pictures would pass for one that does not."""
    _, err, status = call("batchwise", images / "00.png")
    assert status == 1
    assert "norm.running_stats: false" in err[0] and "name two or more" in err[0]
    _, err, status = call("batchwise", images / "00.png", images / "01.png")
    assert status == 0
    assert err[0].startswith("note: batchwise: ")


def spoil(content: bytes | None, *parts: str) -> Callable[[Path], None]:
    """Changes or removes a file of a project."""

    def change(root: Path) -> None:
        path = root.joinpath(*parts)
        path.unlink() if content is None else path.write_bytes(content)

    return change


def other_row(root: Path) -> None:
    path = root / "runs" / "s" / "good" / "spec.json"
    spec = read_json(path)
    spec["row"]["backbone"]["widths"] = [4, 16]
    write_json(path, spec)


def other_images(root: Path) -> None:
    path = root / "data" / "stripes"
    (images, labels), test = prepared.pool(path), prepared.test(path)
    prepared.write(path, (images.flip(3), labels), test, prepared.info(path).classes, train=96, select=30)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("god", None, "rows: no 'god' in the plan; did you mean 'good'?"),
        ("good/seed-2", None, "runs/s/good: no run of seed 2 has finished; its seeds are 0, 1, 2"),
        ("runs/s", None, "runs/s: neither the name of a row nor a folder with a row's spec.json"),
        (
            "good",
            spoil(None, "runs", "s", "good", "spec.json"),
            "spec.json: missing; run '.venv/bin/dvc repro train@good'",
        ),
        (
            "good",
            spoil(b"{", "runs", "s", "good", "spec.json"),
            "spec.json: damaged; run '.venv/bin/dvc checkout --force",
        ),
        ("good", spoil(b"x", "runs", "s", "good", "weights", "seed-0.safetensors"), "seed-0.safetensors: not the weig"),
        ("good", other_row, "seed-0.safetensors: not the weights of this row"),
        ("good", other_images, "data/stripes: not the images that good was trained on; run '.venv/bin/dvc repro'"),
        ("good", spoil(b"x", "data", "stripes", "test.safetensors"), "data/stripes/test.safetensors: damaged"),
        ("good", spoil(None, "data", "stripes", "fit.safetensors"), "data/stripes/fit.safetensors: not there; run"),
    ],
)
def test_wrong_names_and_damaged_files_are_one_line(
    name: str, change: Callable[[Path], None] | None, message: str, project: Path, images: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, call: Callable[..., Said],
) -> None:  # fmt: skip
    """Broken: a typo would give a traceback, or networks would be asked that were trained on something else."""
    if change:
        copy = shutil.copytree(project, tmp_path / "copy")
        for key in ("PLAN", "DATA", "RUNS"):
            monkeypatch.setattr(paths, key, copy / key.lower())
        monkeypatch.setattr(paths, "ROOT", copy)
        change(copy)
    out, err, status = call(name, images / "00.png")
    assert (out, status, len(err)) == ("", 1, 1)
    assert err[0].startswith("error: ") and message in err[0]


def test_a_row_may_be_named_by_its_folder(project: Path) -> None:
    """Broken: outputs of a row that has left params.yaml could not be used."""
    folder = project / "runs" / "s" / "good"
    assert trained.find(str(folder)).weights == trained.find("good").weights
    assert list(trained.find(f"{folder}/seed-1").weights) == [1]


def test_fold_prints_what_it_brings(call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: the command would claim that norms are gone which are not, or measure nothing."""
    monkeypatch.setattr(fold, "ROUNDS", 1)
    monkeypatch.setattr(fold, "BATCHES", (1, 2))
    lines = call("good", main=fold.main)[0].splitlines()
    assert lines[0] == "good, seed 0: 3 of 3 norms folded"
    assert lines[1].startswith("33 test images") and lines[1].endswith("and 0 predictions differ")
    assert [line.split(":")[0] for line in lines[2:]] == ["batch 1", "batch 2"]
    lines = call("batchwise", main=fold.main)[0].splitlines()
    assert lines[0] == "batchwise, seed 0: 0 of 3 norms folded"
    assert lines[1].strip().startswith("block1_bn1 stays: it has no running statistics")
    assert [line.split(":")[0] for line in lines[5:]] == ["batch 2"]  # it cannot take a single image


def test_fold_refuses_a_gpu_that_is_not_there(call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a wish for a GPU would end in a traceback."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert call("good", "--device", "cuda", main=fold.main)[1][0].startswith("error: --device cuda: there is no GPU")
