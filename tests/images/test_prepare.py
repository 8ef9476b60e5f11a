"""Prepared data: splits that are what they say, the same bytes every time, and test images that nobody meets."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline import prepare
from pipeline.errors import UserError
from pipeline.images import draws, prepared
from pipeline.images.sources import Images
from pipeline.params.datasets import Digits, Folder


def digits(**options: Any) -> Digits:
    return Digits.model_validate({"source": "digits", **options})


def source(*counts: int, test: Tensor | None = None) -> Images:
    """Images of 2×2 pixels, so many of each class in turn; channel 0 is the class, the others count the images."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    number = torch.arange(len(labels))
    pixels = torch.stack([labels, number // 256, number % 256], 1).to(torch.uint8)
    images = pixels[:, :, None, None].expand(-1, -1, 2, 2).contiguous()
    return Images(images, labels, test, [f"class {label}" for label in range(len(counts))])


def split(images: Images, **options: Any) -> tuple[list[int], list[int]]:
    """Which rows of the source became the pool and test images."""
    pool, test = prepare.split(images, digits(**{"test": 0.2} | options), "d")
    return pool.tolist(), test.tolist()


def drawn(images: Images, **options: Any) -> tuple[int, int]:
    """How many images of the pool train and how many select."""
    dataset = digits(**{"test": 0.2} | options)
    pool, _ = prepare.split(images, dataset, "d")
    return prepare.drawn(images, pool, dataset, "d")


def per_class(images: Images, rows: list[int]) -> list[int]:
    return torch.bincount(images.labels[torch.tensor(rows)], minlength=len(images.classes)).tolist()


def write_images(target: Path, names: list[str]) -> None:
    for seed, name in enumerate(names):
        target.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(noise).save(target / name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A prepared data set of 20 images in two classes; only test images hold the pixel 255."""
    images = torch.arange(16 * 4, dtype=torch.uint8).reshape(16, 1, 2, 2)
    labels = torch.arange(16) % 2
    test = torch.full((4, 1, 2, 2), 255, dtype=torch.uint8), labels[:4]
    prepared.write(tmp_path / "d", (images, labels), test, ["a", "b"], train=12, select=4)
    return tmp_path / "d"


def test_every_image_once() -> None:
    """Else an image that trains also tests, or images are lost."""
    pool, test = split(source(50, 30, 20))
    assert (len(pool), len(test)) == (80, 20)
    assert sorted(pool + test) == list(range(100))
    assert (pool, test) == (sorted(pool), sorted(test))


def test_test_images_are_stratified() -> None:
    """Else a rare class has no image to test."""
    images = source(500, 300, 200)
    assert per_class(images, split(images)[1]) == [100, 60, 40]


def test_split_of_today() -> None:
    """Else a new version of a library, or of this code, splits otherwise than before, and results no longer compare."""
    assert split(source(8, 8), test=0.25)[1] == [1, 5, 13, 14]


def test_seed() -> None:
    """Else `split_seed` does nothing."""
    assert split(source(50, 50))[1] != split(source(50, 50), split_seed=1)[1]


def test_test_images_of_the_source() -> None:
    """Else published test sets are mixed with training images."""
    mask = torch.arange(40) % 4 == 1
    assert split(source(20, 20, test=mask))[1] == mask.nonzero().flatten().tolist()


def test_how_many_images_a_seed_draws() -> None:
    """Else shares are of other images than they say, or protocols without held-out images cannot be run."""
    images = source(50, 30, 20)
    assert drawn(images, validation=0.1) == (72, 8)
    assert drawn(images, validation=0.1, train_size=10) == (10, 8)
    assert drawn(images, validation=0.0) == (80, 0)


BAD_SPLITS: list[tuple[tuple[int, ...], dict[str, Any], str]] = [
    ((10, 10), {"train_size": 1}, "datasets.d.train_size: 1, but there are 14 training images in 2 classes"),
    ((10, 10), {"train_size": 15}, "datasets.d.train_size: 15, but there are 14 training images in 2 classes"),
    ((100, 3), {"train_size": 3}, "datasets.d.train_size: class class 1 has no training image"),
    ((100, 1), {"test": 0.9}, "datasets.d: class class 1 has no training image"),
    ((10, 10), {"validation": 0.01}, "datasets.d.validation: 0.01 of 16 images is no image"),
    ((10, 10), {"test": 0.01}, "datasets.d.test: 0.01 of 20 images is no image"),
]


@pytest.mark.parametrize(("counts", "options", "message"), BAD_SPLITS)
def test_impossible_splits(counts: tuple[int, ...], options: dict[str, Any], message: str) -> None:
    """Else an empty split or class fails later, where nobody sees why."""
    with pytest.raises(UserError) as caught:
        drawn(source(*counts), **options)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_test_images_that_also_train_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an accuracy that comes of memorizing passes for one of recognizing."""
    images = source(20, 20, test=torch.arange(40) % 4 == 1)
    told: list[str] = []
    for copies in (0, 3):
        images.images[[1, 5, 9][:copies]] = images.images[[2, 2, 6][:copies]].clone()
        monkeypatch.setattr(prepare, "load", lambda name, dataset: images)
        told.append(prepare.prepare("d", digits(), tmp_path / str(copies)))
    assert told[0].endswith(" in 2 classes")
    assert told[1].endswith("; 3 test images are also among the others, pixel by pixel")


def test_the_order_of_a_source_does_not_matter() -> None:
    """Else the same images from another place are another data set, to which no result belongs."""
    images = source(40, 30, test=torch.arange(70) % 5 == 0)
    twins = torch.tensor([3, 50])  # the same pixels in both classes, and once more in one of them
    images.images[twins] = images.images[3].clone()
    images.images[4] = images.images[3].clone()
    order = torch.randperm(70)
    assert images.test is not None
    renamed = Images(images.images[order], 1 - images.labels[order], images.test[order], images.classes[::-1])
    first, second = prepare.canonical(images), prepare.canonical(renamed)
    assert first.test is not None and second.test is not None
    for part in (torch.tensor(0), torch.tensor(1)):
        for one, other in ((first.images, second.images), (first.labels, second.labels)):
            assert torch.equal(one[first.test == part], other[second.test == part])
    assert first.classes == second.classes == sorted(images.classes)


def test_same_bytes(tmp_path: Path) -> None:
    """Else DVC runs everything again although nothing has changed, or results on the same images are not found."""
    names = [f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(10)]
    write_images(tmp_path / "a", names)
    for number, name in enumerate(names):  # the same images in another order
        target = tmp_path / "b" / name.split("/")[0] / f"{99 - number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "a" / name, target)
    said = []
    for place in ("a", "b"):
        dataset = Folder.model_validate({"source": "folder", "path": str(tmp_path / place)})
        said.append(prepare.prepare("d", dataset, tmp_path / f"out/{place}"))
    first, second = ([path.read_bytes() for path in sorted(tmp_path.glob(f"out/{place}/*"))] for place in ("a", "b"))
    assert len(first) == 2 and first == second
    assert said == ["d: 14 train, 2 validation, 4 test images of 3×4×4 in 2 classes"] * 2
    assert sorted(path.name for path in tmp_path.joinpath("out").iterdir()) == ["a", "b"]
    assert all(str(tmp_path).encode() not in content for content in first)


def test_the_digest_is_of_all_that_can_change_a_number_and_of_nothing_else(folder: Path) -> None:
    """Else a run is taken for another one's, or trained again for words that change nothing."""
    (images, labels), test = prepared.pool(folder), prepared.test(folder)
    brighter, turned = images.clone(), labels.clone()
    brighter[0, 0, 0, 0] += 1
    turned[0] = 1 - turned[0]
    same: Any = {"fit": (images, labels), "test": test, "classes": ["a", "b"], "train": 12, "select": 4}
    changes = (
        {"fit": (brighter, labels)},
        {"fit": (images, turned)},
        {"test": (test[0] - 1, test[1])},
        {"classes": ["a", "c"]},
        {"train": 11},
        {"select": 3},
    )
    digests = {prepared.digest(folder)}
    for number, change in enumerate(changes):
        prepared.write(folder.with_name(str(number)), **same | change)
        digests.add(prepared.digest(folder.with_name(str(number))))
    assert len(digests) == 1 + len(changes)
    prepared.write(folder.with_name("again"), **same)
    with safe_open(folder / prepared.FIT_FILE, "pt") as file:
        metadata = file.metadata()
    save_file(
        load_file(folder / prepared.FIT_FILE), folder.with_name("again") / prepared.FIT_FILE, metadata | {"by": "me"}
    )
    assert prepared.digest(folder.with_name("again")) == prepared.digest(folder)


def test_files_of_the_digits(tmp_path: Path) -> None:
    """Else the files are not what later stages read."""
    path = tmp_path / "d"
    prepare.prepare("d", digits(train_size=300, validation=0.2), path)
    info = prepared.info(path)
    assert (info.classes, info.shape) == (list("0123456789"), (1, 8, 8))
    assert info.counts == {"pool": 899, "train": 300, "validation": 180, "test": 898}
    images, labels = prepared.pool(path)
    assert (images.dtype, labels.dtype, len(images), len(labels)) == (torch.uint8, torch.int64, 899, 899)
    assert all(file.stat().st_mode & 0o777 == 0o644 for file in path.iterdir())


def test_an_evaluation_batch_holds_all_classes(tmp_path: Path) -> None:
    """Else norms that take the statistics of the batch at hand see one class at a time."""
    prepare.prepare("d", digits(), tmp_path / "d")
    for batch in prepared.test(tmp_path / "d")[1].split(128)[:-1]:
        assert len(batch.unique()) == 10


def test_readers_meet_no_test_image(folder: Path) -> None:
    """Else what trains or selects sees test images, also where these have been taken away."""
    assert prepared.test(folder)[0].min() == 255
    (folder / prepared.TEST_FILE).unlink()
    prepared.info(folder)
    images, labels = prepared.pool(folder)
    assert len(images) == len(labels) == 16 and images.max() < 255


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="tells mappings apart on Linux only")
def test_reading_does_not_copy(folder: Path) -> None:
    """Else every run of a machine has a data set of its own in memory."""
    drawn = draws.read(folder, 0)
    for images, file in ((drawn.train.images, prepared.FIT_FILE), (draws.test(folder).images, prepared.TEST_FILE)):
        maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
        ranges = [line[0].split("-") for line in maps if line[-1] == str(folder / file)]
        assert any(int(low, 16) <= images.data_ptr() < int(high, 16) for low, high in ranges)


def test_absent_files(tmp_path: Path) -> None:
    """Else a stage that runs too early gives a traceback."""
    with pytest.raises(UserError, match=r"d/fit\.safetensors: not there; run '.venv/bin/dvc repro prepare@d'"):
        prepared.info(tmp_path / "d")


@pytest.mark.parametrize("kind", ["cut", "empty", "no metadata", "other metadata", "no counts", "other counts"])
@pytest.mark.parametrize("file", [prepared.FIT_FILE, prepared.TEST_FILE])
def test_damaged_file(folder: Path, file: str, kind: str) -> None:
    """Else a damaged file gives a traceback, or validation images in place of training images."""
    path = folder / file
    tensors = load_file(path)
    about: dict[str, Any] = {"classes": ["a", "b"], "counts": {"pool": 16, "train": 12, "validation": 4, "test": 4}}
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "no metadata":
        save_file(tensors, path)
    elif kind == "other metadata":
        save_file(tensors, path, {"dataset": "{"})
    elif kind == "no counts":
        save_file(tensors, path, {"dataset": json.dumps(about | {"counts": {"train": 12}})})
    else:
        counts = about["counts"] | {"pool": 15, "test": 5}
        save_file(tensors, path, {"dataset": json.dumps(about | {"counts": counts})})
    with pytest.raises(UserError, match=rf"d/{file}: damaged .*; run '.venv/bin/dvc repro -f prepare@d'") as caught:
        (prepared.test if file == prepared.TEST_FILE else prepared.pool)(folder)
    assert "\n" not in str(caught.value)


def test_failing_write(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a full disk leaves half a data set, or takes the old one away."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(UserError, match=r"d: cannot be written \(.*No space left"):
        prepare.prepare("d", digits(), folder)
    assert list(folder.parent.iterdir()) == [folder]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Else the stage writes elsewhere, or what is wrong gives a traceback."""
    monkeypatch.setattr("sys.argv", ["prepare", "d"])
    monkeypatch.setattr(prepare.paths, "DATA", tmp_path)
    monkeypatch.setattr(prepare, "read_dataset", lambda name: digits())
    prepare.main()
    assert capsys.readouterr() == ("d: 809 train, 90 validation, 898 test images of 1×8×8 in 10 classes\n", "")
    assert tmp_path.joinpath("d", prepared.FIT_FILE).exists()
    monkeypatch.setattr(prepare, "read_dataset", lambda name: digits(train_size=5))
    with pytest.raises(SystemExit, match=r"^error: datasets\.d\.train_size: 5, but"):
        prepare.main()
