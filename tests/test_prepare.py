"""The prepared file: splits that are what they say, the same bytes every time, and test images that nobody meets."""

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

from pipeline import prepare, prepared
from pipeline.config import Digits, Folder
from pipeline.errors import UserError
from pipeline.prepared import TEST, TRAIN, VALIDATION
from pipeline.sources import Images


def digits(**options: Any) -> Digits:
    return Digits.model_validate({"source": "digits", **options})


def source(*counts: int, test: Tensor | None = None) -> Images:
    """Images of 2×2 pixels, so many of each class in turn; channel 0 is the class, the others count the images."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    number = torch.arange(len(labels))
    pixels = torch.stack([labels, number // 256, number % 256], 1).to(torch.uint8)
    images = pixels[:, :, None, None].expand(-1, -1, 2, 2).contiguous()
    return Images(images, labels, test, [f"class {label}" for label in range(len(counts))])


def rows(tensors: dict[str, Tensor], part: int) -> list[int]:
    """Which rows of the source became a split."""
    chosen = tensors["images"][tensors["split"] == part].long()
    return (chosen[:, 1, 0, 0] * 256 + chosen[:, 2, 0, 0]).tolist()


def split(images: Images, **options: Any) -> dict[str, Tensor]:
    return prepare.split(images, digits(**options), "d")


def per_class(tensors: dict[str, Tensor], part: int, classes: int) -> list[int]:
    return torch.bincount(tensors["labels"][tensors["split"] == part], minlength=classes).tolist()


def write_images(target: Path, names: list[str]) -> None:
    for seed, name in enumerate(names):
        target.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(noise).save(target / name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A prepared file of 20 images in two classes; only test images hold the pixel 255."""
    images = source(10, 10, test=torch.arange(20) % 5 == 0)
    images.images[images.test] = 255
    tensors = split(images, validation=0.25)
    about = {"classes": images.classes, "source": "toy", "counts": {"train": 12, "validation": 4, "test": 4}}
    save_file(tensors, tmp_path / "d.safetensors", {"dataset": json.dumps(about)})
    return tmp_path / "d.safetensors"


def test_every_image_once() -> None:
    """Else an image that trains also tests, or images are lost."""
    tensors = split(source(50, 30, 20), validation=0.1, test=0.2)
    parts = [rows(tensors, part) for part in (TRAIN, VALIDATION, TEST)]
    assert [len(part) for part in parts] == [72, 8, 20]
    assert sorted(row for part in parts for row in part) == list(range(100))
    assert torch.equal(tensors["labels"], tensors["images"][:, 0, 0, 0].long())


def test_splits_are_slices_in_source_order() -> None:
    """Else readers, who take slices, get images of other splits."""
    tensors = split(source(30, 30), validation=0.2)
    assert tensors["split"].tolist() == sorted(tensors["split"].tolist())
    assert all(rows(tensors, part) == sorted(rows(tensors, part)) for part in (TRAIN, VALIDATION, TEST))


def test_splits_are_stratified() -> None:
    """Else a rare class has no image to test."""
    tensors = split(source(500, 300, 200), validation=0.1, test=0.2)
    assert per_class(tensors, TEST, 3) == [100, 60, 40]
    assert per_class(tensors, VALIDATION, 3) == [40, 24, 16]


def test_split_of_today() -> None:
    """Else a new version of a library, or of this code, splits otherwise than before, and results no longer compare."""
    tensors = split(source(8, 8), validation=0.25, test=0.25, train_size=6)
    assert rows(tensors, TRAIN) == [0, 4, 7, 8, 10, 14]
    assert rows(tensors, VALIDATION) == [1, 6, 15]
    assert rows(tensors, TEST) == [2, 3, 11, 13]


def test_seed() -> None:
    """Else `split_seed` does nothing."""
    assert rows(split(source(50, 50)), TEST) != rows(split(source(50, 50), split_seed=1), TEST)


def test_test_images_of_the_source() -> None:
    """Else published test sets are mixed with training images."""
    mask = torch.arange(40) % 4 == 1
    assert rows(split(source(20, 20, test=mask)), TEST) == mask.nonzero().flatten().tolist()


def test_no_validation() -> None:
    """Else protocols without held-out images cannot be run."""
    tensors = split(source(10, 10), validation=0.0)
    assert rows(tensors, VALIDATION) == [] and len(rows(tensors, TRAIN)) == 16


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
    everything = split(source(*counts), split_seed=seed)
    available = per_class(everything, TRAIN, len(counts))
    size = data.draw(st.integers(sum(available) // min(available) + 1, sum(available)))
    tensors = split(source(*counts), split_seed=seed, train_size=size)
    assert per_class(tensors, TRAIN, len(counts)) == prepare.quotas(np.array(available), size).tolist()
    assert set(rows(tensors, TRAIN)) <= set(rows(everything, TRAIN))
    assert all(rows(tensors, part) == rows(everything, part) for part in (VALIDATION, TEST))


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


def test_statistics_of_training_images_only() -> None:
    """Else validation and test images leak into the normalization."""
    tensors = split(source(30, 30))
    mean, std = prepare.statistics(tensors["images"][tensors["split"] == TRAIN])
    assert torch.equal(tensors["mean"], mean) and torch.equal(tensors["std"], std)


def test_constant_channel() -> None:
    """Else normalization divides by zero."""
    mean, std = prepare.statistics(torch.full((4, 1, 2, 2), 51, dtype=torch.uint8))
    assert (mean.tolist(), std.tolist()) == ([pytest.approx(0.2)], [1.0])


def test_same_bytes(tmp_path: Path) -> None:
    """Else DVC runs everything again although nothing has changed."""
    write_images(tmp_path / "a", [f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(10)])
    folder = Folder.model_validate({"source": "folder", "path": str(tmp_path / "a")})
    said = [prepare.prepare("d", folder, tmp_path / f"out/{number}.safetensors") for number in (1, 2)]
    first, second = (tmp_path.joinpath(f"out/{number}.safetensors").read_bytes() for number in (1, 2))
    assert first == second
    assert said == ["d: 14 train, 2 validation, 4 test images of 3×4×4 in 2 classes"] * 2
    assert sorted(path.name for path in tmp_path.joinpath("out").iterdir()) == ["1.safetensors", "2.safetensors"]
    assert str(tmp_path).encode() not in first


def test_file_of_the_digits(tmp_path: Path) -> None:
    """Else the file is not what later stages read."""
    path = tmp_path / "d.safetensors"
    prepare.prepare("d", digits(train_size=300, validation=0.2), path)
    info = prepared.info(path)
    assert (info.classes, info.source, info.shape) == (list("0123456789"), "digits (scikit-learn)", (1, 8, 8))
    assert info.counts == {"train": 300, "validation": 288, "test": 359}
    images, labels = prepared.read(path, TRAIN)
    assert (images.dtype, labels.dtype, len(images), len(labels)) == (torch.uint8, torch.int64, 300, 300)
    assert info.mean.dtype == info.std.dtype == torch.float32
    torch.testing.assert_close(info.mean, (images.double().mean((0, 2, 3)) / 255).float())
    assert path.stat().st_mode & 0o777 == 0o644


def test_readers_meet_no_test_image(file: Path) -> None:
    """Else what trains or selects sees test images."""
    for part, count in ((TRAIN, 12), (VALIDATION, 4)):
        images, labels = prepared.read(file, part)
        assert len(images) == len(labels) == count and images.max() < 255
        assert images.is_contiguous()
    assert prepared.read(file, TEST)[0].min() == 255


def test_reading_does_not_copy(file: Path) -> None:
    """Else reading a split of a large data set fills the memory, and reads the test images too."""
    tensors = load_file(file)
    for part in (TRAIN, VALIDATION, TEST):
        images, labels = prepared.read(file, part)
        assert torch.equal(images, tensors["images"][tensors["split"] == part])
        assert torch.equal(labels, tensors["labels"][tensors["split"] == part])
        # A view into the mapped tensor, not a tensor of its own.
        assert images.untyped_storage().nbytes() > images.nbytes


def test_empty_split(tmp_path: Path) -> None:
    """Else rows that select on test images cannot use data without validation images."""
    prepare.prepare("d", digits(validation=0.0), tmp_path / "d.safetensors")
    images, labels = prepared.read(tmp_path / "d.safetensors", VALIDATION)
    assert images.shape == (0, 1, 8, 8) and labels.shape == (0,)


def test_absent_file(tmp_path: Path) -> None:
    """Else a stage that runs too early gives a traceback."""
    with pytest.raises(UserError, match=r"d\.safetensors: not there; run 'dvc repro prepare@d'"):
        prepared.info(tmp_path / "d.safetensors")


@pytest.mark.parametrize("kind", ["cut", "empty", "no metadata", "other metadata", "other counts", "mixed splits"])
def test_damaged_file(file: Path, kind: str) -> None:
    """Else a damaged file gives a traceback, or test images in place of training images."""
    tensors = load_file(file)
    about = {"classes": ["a", "b"], "source": "toy", "counts": {"train": 12, "validation": 4, "test": 4}}
    if kind == "cut":
        file.write_bytes(file.read_bytes()[:-10])
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "no metadata":
        save_file(tensors, file)
    elif kind == "other metadata":
        save_file(tensors, file, {"dataset": "{"})
    elif kind == "other counts":
        save_file(tensors, file, {"dataset": json.dumps(about | {"counts": {"train": 1}})})
    else:
        save_file(tensors | {"split": tensors["split"].flip(0)}, file, {"dataset": json.dumps(about)})
    with pytest.raises(UserError, match=r"d\.safetensors: damaged .*; run 'dvc repro -f prepare@d'") as caught:
        prepared.read(file, TRAIN)
    assert "\n" not in str(caught.value)


def test_failing_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a full disk leaves half a file, or takes the old one away."""
    target = tmp_path / "d.safetensors"
    target.write_bytes(b"old")

    def fail(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prepare, "save_file", fail)
    with pytest.raises(UserError, match=r"d\.safetensors: cannot be written \(.*No space left"):
        prepare.prepare("d", digits(), target)
    assert list(tmp_path.iterdir()) == [target] and target.read_bytes() == b"old"


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Else the stage writes elsewhere, or what is wrong gives a traceback."""
    monkeypatch.setattr("sys.argv", ["prepare", "d"])
    monkeypatch.setattr(prepare.paths, "DATA", tmp_path)
    monkeypatch.setattr(prepare, "read_dataset", lambda name: digits())
    prepare.main()
    assert capsys.readouterr() == ("d: 1,294 train, 144 validation, 359 test images of 1×8×8 in 10 classes\n", "")
    assert tmp_path.joinpath("d.safetensors").exists()
    monkeypatch.setattr(prepare, "read_dataset", lambda name: digits(train_size=5))
    with pytest.raises(SystemExit, match=r"^error: datasets\.d\.train_size: 5, but"):
        prepare.main()
