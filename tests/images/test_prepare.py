"""Prepared data: splits that are what they say, the same bytes every time, and test images that nobody meets."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline import prepare
from pipeline.errors import UserError
from pipeline.images import prepared
from pipeline.images.prepared import TEST, TRAIN, VALIDATION
from pipeline.images.sources import Images
from pipeline.params.config import Digits, Folder


def digits(**options: Any) -> Digits:
    return Digits.model_validate({"source": "digits", **options})


def source(*counts: int, test: Tensor | None = None) -> Images:
    """Images of 2×2 pixels, so many of each class in turn; channel 0 is the class, the others count the images."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    number = torch.arange(len(labels))
    pixels = torch.stack([labels, number // 256, number % 256], 1).to(torch.uint8)
    images = pixels[:, :, None, None].expand(-1, -1, 2, 2).contiguous()
    return Images(images, labels, test, [f"class {label}" for label in range(len(counts))])


def split(images: Images, **options: Any) -> list[list[int]]:
    """Which rows of the source became training, validation and test images."""
    return [part.tolist() for part in prepare.split(images, digits(**options), "d")]


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
    images = torch.cat([images, torch.full((4, 1, 2, 2), 255, dtype=torch.uint8)])
    about = {"classes": ["a", "b"], "source": "toy", "counts": {"train": 12, "validation": 4, "test": 4}}
    prepared.write(tmp_path / "d", images, torch.arange(20) % 2, about, mean=torch.zeros(1), std=torch.ones(1))
    return tmp_path / "d"


def test_every_image_once() -> None:
    """Else an image that trains also tests, or images are lost."""
    parts = split(source(50, 30, 20), validation=0.1, test=0.2)
    assert [len(part) for part in parts] == [72, 8, 20]
    assert sorted(row for part in parts for row in part) == list(range(100))


def test_source_order() -> None:
    """Else images and labels of a split lie in no order that anybody can check."""
    assert all(part == sorted(part) for part in split(source(30, 30), validation=0.2))


def test_splits_are_stratified() -> None:
    """Else a rare class has no image to test."""
    images = source(500, 300, 200)
    parts = split(images, validation=0.1, test=0.2)
    assert per_class(images, parts[TEST]) == [100, 60, 40]
    assert per_class(images, parts[VALIDATION]) == [40, 24, 16]


def test_split_of_today() -> None:
    """Else a new version of a library, or of this code, splits otherwise than before, and results no longer compare."""
    parts = split(source(8, 8), validation=0.25, test=0.25, train_size=6)
    assert parts == [[0, 4, 7, 8, 10, 14], [1, 6, 15], [2, 3, 11, 13]]


def test_seed() -> None:
    """Else `split_seed` does nothing."""
    assert split(source(50, 50))[TEST] != split(source(50, 50), split_seed=1)[TEST]


def test_test_images_of_the_source() -> None:
    """Else published test sets are mixed with training images."""
    mask = torch.arange(40) % 4 == 1
    assert split(source(20, 20, test=mask))[TEST] == mask.nonzero().flatten().tolist()


def test_no_validation() -> None:
    """Else protocols without held-out images cannot be run."""
    parts = split(source(10, 10), validation=0.0)
    assert parts[VALIDATION] == [] and len(parts[TRAIN]) == 16


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30), st.floats(0, 1))
def test_quotas(counts: list[int], share: float) -> None:
    """Else quotas do not add up, exceed a class, or are not in proportion."""
    total = round(share * sum(counts))
    quotas = prepare.quotas(np.array(counts), total)
    exact = np.array(counts) * (total / max(1, sum(counts)))
    assert quotas.sum() == total
    assert (quotas >= 0).all() and (quotas <= counts).all()
    assert (abs(quotas - exact) < 1 + 1e-6).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(10, 60), min_size=2, max_size=6), st.integers(0, 2**40), st.data())
def test_train_size(counts: list[int], seed: int, data: st.DataObject) -> None:
    """Else a subset has another size than it says, other proportions, or images that validate or test."""
    images = source(*counts)
    everything = split(images, split_seed=seed)
    available = per_class(images, everything[TRAIN])
    size = data.draw(st.integers(sum(available) // min(available) + 1, sum(available)))
    parts = split(images, split_seed=seed, train_size=size)
    assert per_class(images, parts[TRAIN]) == prepare.quotas(np.array(available), size).tolist()
    assert set(parts[TRAIN]) <= set(everything[TRAIN])
    assert parts[1:] == everything[1:]


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
        split(source(*counts), **options)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_statistics() -> None:
    """Else images are normalized by wrong numbers."""
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5000, 3, 3, 2), dtype=np.uint8))
    mean, std = prepare.statistics(images)
    channels = images.double().transpose(0, 1).flatten(1) / 255
    torch.testing.assert_close(mean, channels.mean(1).float())
    torch.testing.assert_close(std, channels.std(1, correction=0).float())


def test_statistics_of_training_images_only(tmp_path: Path) -> None:
    """Else validation and test images leak into the normalization."""
    prepare.prepare("d", digits(validation=0.2), tmp_path / "d")
    info = prepared.info(tmp_path / "d")
    mean, std = prepare.statistics(prepared.read(tmp_path / "d", TRAIN)[0])
    assert torch.equal(info.mean, mean) and torch.equal(info.std, std)


def test_constant_channel() -> None:
    """Else normalization divides by zero."""
    mean, std = prepare.statistics(torch.full((4, 1, 2, 2), 51, dtype=torch.uint8))
    assert (mean.tolist(), std.tolist()) == ([pytest.approx(0.2)], [1.0])


def test_same_bytes(tmp_path: Path) -> None:
    """Else DVC runs everything again although nothing has changed."""
    write_images(tmp_path / "a", [f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(10)])
    dataset = Folder.model_validate({"source": "folder", "path": str(tmp_path / "a")})
    said = [prepare.prepare("d", dataset, tmp_path / f"out/{number}") for number in (1, 2)]
    first, second = ([path.read_bytes() for path in sorted(tmp_path.glob(f"out/{number}/*"))] for number in (1, 2))
    assert len(first) == 2 and first == second
    assert said == ["d: 14 train, 2 validation, 4 test images of 3×4×4 in 2 classes"] * 2
    assert sorted(path.name for path in tmp_path.joinpath("out").iterdir()) == ["1", "2"]
    assert all(str(tmp_path).encode() not in content for content in first)


def test_files_of_the_digits(tmp_path: Path) -> None:
    """Else the files are not what later stages read."""
    path = tmp_path / "d"
    prepare.prepare("d", digits(train_size=300, validation=0.2), path)
    info = prepared.info(path)
    assert (info.classes, info.source, info.shape) == (list("0123456789"), "digits (scikit-learn)", (1, 8, 8))
    assert info.counts == {"train": 300, "validation": 288, "test": 359}
    images, labels = prepared.read(path, TRAIN)
    assert (images.dtype, labels.dtype, len(images), len(labels)) == (torch.uint8, torch.int64, 300, 300)
    assert info.mean.dtype == info.std.dtype == torch.float32
    torch.testing.assert_close(info.mean, (images.double().mean((0, 2, 3)) / 255).float())
    assert all(file.stat().st_mode & 0o777 == 0o644 for file in path.iterdir())


def test_readers_meet_no_test_image(folder: Path) -> None:
    """Else what trains or selects sees test images, also where these have been taken away."""
    assert prepared.read(folder, TEST)[0].min() == 255
    (folder / prepared.TEST_FILE).unlink()
    prepared.info(folder)
    for part, count in ((TRAIN, 12), (VALIDATION, 4)):
        images, labels = prepared.read(folder, part)
        assert len(images) == len(labels) == count and images.max() < 255
        assert images.is_contiguous()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="tells mappings apart on Linux only")
def test_reading_does_not_copy(folder: Path) -> None:
    """Else every run of a machine has a data set of its own in memory."""
    for part, file in ((TRAIN, prepared.FIT_FILE), (VALIDATION, prepared.FIT_FILE), (TEST, prepared.TEST_FILE)):
        images, labels = prepared.read(folder, part)
        maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
        ranges = [line[0].split("-") for line in maps if line[-1] == str(folder / file)]
        for tensor in (images, labels):
            assert any(int(low, 16) <= tensor.data_ptr() < int(high, 16) for low, high in ranges)


def test_empty_split(tmp_path: Path) -> None:
    """Else rows that select on test images cannot use data without validation images."""
    prepare.prepare("d", digits(validation=0.0), tmp_path / "d")
    images, labels = prepared.read(tmp_path / "d", VALIDATION)
    assert images.shape == (0, 1, 8, 8) and labels.shape == (0,)


def test_absent_files(tmp_path: Path) -> None:
    """Else a stage that runs too early gives a traceback."""
    with pytest.raises(UserError, match=r"d/fit\.safetensors: not there; run 'dvc repro prepare@d'"):
        prepared.info(tmp_path / "d")


@pytest.mark.parametrize("kind", ["cut", "empty", "no metadata", "other metadata", "no counts", "other counts"])
@pytest.mark.parametrize(("file", "part"), [(prepared.FIT_FILE, TRAIN), (prepared.TEST_FILE, TEST)])
def test_damaged_file(folder: Path, file: str, part: int, kind: str) -> None:
    """Else a damaged file gives a traceback, or validation images in place of training images."""
    path = folder / file
    tensors = load_file(path)
    about = {"classes": ["a", "b"], "source": "toy", "counts": {"train": 12, "validation": 4, "test": 4}}
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
        counts = {"train": 12, "validation": 3, "test": 5}
        save_file(tensors, path, {"dataset": json.dumps(about | {"counts": counts})})
    with pytest.raises(UserError, match=rf"d/{file}: damaged .*; run 'dvc repro -f prepare@d'") as caught:
        prepared.read(folder, part)
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
    assert capsys.readouterr() == ("d: 1,294 train, 144 validation, 359 test images of 1×8×8 in 10 classes\n", "")
    assert tmp_path.joinpath("d", prepared.FIT_FILE).exists()
    monkeypatch.setattr(prepare, "read_dataset", lambda name: digits(train_size=5))
    with pytest.raises(SystemExit, match=r"^error: datasets\.d\.train_size: 5, but"):
        prepare.main()
