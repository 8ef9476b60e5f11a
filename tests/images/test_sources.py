"""Sources: every layout in every container gives the same tensors, and whatever is broken gets one line."""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import pickle
import struct
import tarfile
import urllib.error
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from pipeline import paths
from pipeline.errors import UserError
from pipeline.images import archives, members, pictures, prepared, sources
from pipeline.images.folders import LARGE
from pipeline.params.datasets import Digits, Folder, Torchvision
from pipeline.prepare import prepare

Files = dict[str, bytes]
CONTAINERS = ("directory", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz", "zip")
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar.gz": gzip.compress,
    "tgz": gzip.compress,
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
}


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(seed: int, width: int = 6, height: int = 5, mode: str = "RGB") -> Image.Image:
    channels = (3,) if mode == "RGB" else ()
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, *channels), dtype=np.uint8))


def tree(*folders: str, mode: str = "RGB") -> Files:
    """Two images in each folder, no two alike."""
    names = [f"{folder}/{number}.png" for folder in folders for number in (0, 1)]
    return {name: encode(noise(seed, mode=mode)) for seed, name in enumerate(names)}


SPLIT = tree("train/cat", "train/dog", "test/cat", "test/dog")
FLAT = tree("cat", "dog", "emu")


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def tar(files: Files, *extra: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            archive.addfile(member(name, size=len(data)), io.BytesIO(data))
        for info in extra:
            archive.addfile(info)
    return buffer.getvalue()


def pack(target: Path, files: Files, container: str) -> Path:
    path = target / ("images" if container == "directory" else f"images.{container}")
    if container == "directory":
        for name, data in files.items():
            path.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
            path.joinpath(name).write_bytes(data)
    elif container == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        path.write_bytes(COMPRESS[container](tar(files)))
    return path


def folder(path: Path | str, **options: Any) -> Folder:
    return Folder.model_validate({"source": "folder", "path": str(path), **options})


def torchvision_set(name: str) -> Torchvision:
    return Torchvision.model_validate({"source": "torchvision", "name": name})


def load(path: Path, **options: Any) -> sources.Images:
    return sources.load("d", folder(path, **options))


def pixels(*names: str, files: Files) -> Tensor:
    arrays = [np.asarray(Image.open(io.BytesIO(files[name]))) for name in names]
    return torch.from_numpy(np.stack(arrays).transpose(0, 3, 1, 2))


@pytest.mark.parametrize("top", ["", "photos/", "./photos/"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_split_layout(tmp_path: Path, container: str, top: str) -> None:
    """Else test images train, or labels belong to other images, in one of the containers."""
    images = load(pack(tmp_path, {top + name: data for name, data in SPLIT.items()}, container))
    assert images.classes == ["cat", "dog"]
    assert images.labels.tolist() == [0, 0, 1, 1] * 2
    assert images.test is not None and images.test.tolist() == [False] * 4 + [True] * 4
    assert torch.equal(images.images, pixels(*SPLIT, files=SPLIT))


@pytest.mark.parametrize("top", ["", "photos/"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_flat_layout(tmp_path: Path, container: str, top: str) -> None:
    """Else class folders alone are taken for something else in one of the containers."""
    images = load(pack(tmp_path, {top + name: data for name, data in FLAT.items()}, container))
    assert (images.classes, images.labels.tolist(), images.test) == (["cat", "dog", "emu"], [0, 0, 1, 1, 2, 2], None)
    assert torch.equal(images.images, pixels(*FLAT, files=FLAT))


@pytest.mark.parametrize("container", ["directory", "tar.xz", "zip"])
def test_order_of_members(tmp_path: Path, container: str) -> None:
    """Else the same images packed in another order make another data set."""
    images = load(pack(tmp_path, dict(reversed(SPLIT.items())), container))
    assert torch.equal(images.images, pixels(*SPLIT, files=SPLIT))


def test_class_called_train(tmp_path: Path) -> None:
    """Else a data set of vehicles cannot be used."""
    assert load(pack(tmp_path, tree("bus", "train"), "zip")).classes == ["bus", "train"]


@pytest.mark.parametrize("container", ["directory", "tar.xz", "zip"])
def test_what_is_ignored(tmp_path: Path, container: str) -> None:
    """Else what systems and authors leave beside class folders stops the user, or becomes a class or an image."""
    names = (".DS_Store", "photos/README.txt", "photos/train/list.csv", "photos/train/cat/._0.png")
    strays = dict.fromkeys(names, b"no image")
    strays |= {
        "photos/train/.cache/0.png": b"",
        "__MACOSX/photos/train/cat/0.png": b"",
        "photos/test/dog/Thumbs.db": b"",
    }
    strays["photos/preview.png"] = encode(noise(99, 40, 40))
    images = load(pack(tmp_path, strays | {f"photos/{name}": data for name, data in SPLIT.items()}, container))
    assert torch.equal(images.images, pixels(*SPLIT, files=SPLIT))


def test_linked_files_of_a_directory(tmp_path: Path) -> None:
    """Else directories of links, which many keep for their experiments, cannot be used."""
    path = pack(tmp_path, FLAT, "directory")
    tmp_path.joinpath("linked").mkdir()
    tmp_path.joinpath("linked/a").symlink_to(path / "cat")
    tmp_path.joinpath("linked/b").mkdir()
    tmp_path.joinpath("linked/b/0.png").symlink_to(path / "dog/0.png")
    assert torch.equal(load(tmp_path / "linked").images, pixels("cat/0.png", "cat/1.png", "dog/0.png", files=FLAT))


def test_windows_zip(tmp_path: Path) -> None:
    """Else archives of some Windows tools, whose names hold backslashes, have no folders."""
    path = pack(tmp_path, FLAT, "zip")
    path.write_bytes(path.read_bytes().replace(b"cat/", b"cat\\").replace(b"dog/", b"dog\\").replace(b"emu/", b"emu\\"))
    assert load(path).classes == ["cat", "dog", "emu"]


def test_home_and_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else paths as people write them are not found."""
    pack(tmp_path, FLAT, "zip")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(paths, "HOME", tmp_path)
    for path in ("~/images.zip", "images.zip"):
        assert len(load(Path(path)).images) == 6


GREY = noise(0, mode="L")
GREYS = {
    "L": encode(GREY),
    "LA": encode(GREY.convert("LA")),
    "16 bits": encode(Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)),
    "16 bits, PGM": b"P5 6 5 65535\n" + (np.asarray(GREY).astype(">u2") * 257).tobytes(),
}


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    """Else grey images train with three equal channels, or 16 bits are clipped to white."""
    images = load(pack(tmp_path, {f"{name[0]}/{name}.png": data for name, data in GREYS.items()}, "directory"))
    assert images.images.shape == (4, 1, 5, 6)
    assert all(np.array_equal(image[0], np.asarray(GREY)) for image in images.images.numpy())


def test_black_and_white(tmp_path: Path) -> None:
    """Else images of one bit have pixels 0 and 1."""
    files = {name: encode(noise(0, mode="L").convert("1")) for name in ("a/0.png", "b/0.png")}
    assert set(load(pack(tmp_path, files, "zip")).images.unique().tolist()) == {0, 255}


def test_one_colour_image_makes_all_colour(tmp_path: Path) -> None:
    """Else grey photographs among colour ones stop the user or lose their place."""
    files = {"a/0.png": encode(GREY), "b/0.png": encode(noise(1)), "b/1.png": encode(noise(2).convert("RGBA"))}
    images = load(pack(tmp_path, files, "tar.xz")).images
    assert images.shape == (3, 3, 5, 6)
    assert all(np.array_equal(channel, np.asarray(GREY)) for channel in images[0].numpy())
    assert np.array_equal(images[2].permute(1, 2, 0).numpy(), np.asarray(noise(2)))


def test_resizing(tmp_path: Path) -> None:
    """Else `size` is ignored, or large images are decoded otherwise than small ones."""
    pictures = {"a/0.png": noise(0, 8, 6), "b/0.png": noise(1, 200, 150), "b/1.png": noise(2, 3, 9)}
    files = {name: encode(picture) for name, picture in pictures.items()}
    assert len(files["b/0.png"]) > LARGE > len(files["a/0.png"])
    images = load(pack(tmp_path, files, "tar"), size=4).images
    for image, picture in zip(images, pictures.values(), strict=True):
        resized = np.asarray(picture.resize((4, 4), Image.Resampling.BILINEAR))
        assert np.array_equal(image.permute(1, 2, 0).numpy(), resized)


def test_orientation(tmp_path: Path) -> None:
    """Else photographs of phones lie on their side."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    turned = encode(noise(0), exif=exif)
    files = {"a/0.png": turned, "b/0.png": encode(noise(0).transpose(Image.Transpose.ROTATE_270))}
    images = load(pack(tmp_path, files, "zip")).images
    assert torch.equal(images[0], images[1])


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(orientation: int, kind: str) -> None:
    """Else some phones' photographs lie on their side, or are mirrored."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(noise(0), kind, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(pictures.decode(data, None), np.asarray(upright))
    assert pictures.upright(Image.open(io.BytesIO(data))) == upright.size


@pytest.mark.parametrize("most", [189, 60_000])
def test_the_scale_of_16_bits_does_not_depend_on_the_picture(most: int) -> None:
    """Else a nearly black frame is as bright as all others."""
    values = np.linspace(0, most, 30).astype(np.uint16).reshape(5, 6)
    decoded = pictures.decode(b"P5 6 5 65535\n" + values.astype(">u2").tobytes(), None)
    assert np.array_equal(decoded, values >> 8)


@pytest.mark.parametrize("container", CONTAINERS)
def test_letters_are_those_that_people_see(tmp_path: Path, container: str) -> None:
    """Else one class is two data sets' by the tool that wrote the archive, or has a name that nobody can read."""
    composed, apart = "\u00c4pfel", "A\u0308pfel"
    files = {name.replace("cat", composed if "train" in name else apart): data for name, data in SPLIT.items()}
    path = pack(tmp_path, files, container)
    if container == "zip":  # as zip of Info-ZIP writes them
        plain = path.read_bytes()
        for flagged in (b"PK\x03\x04", b"PK\x01\x02"):
            at = {b"PK\x03\x04": 6, b"PK\x01\x02": 8}[flagged]
            start = -1
            while (start := plain.find(flagged, start + 1)) >= 0:
                plain = plain[: start + at + 1] + bytes([plain[start + at + 1] & ~8]) + plain[start + at + 2 :]
        path.write_bytes(plain)
        with zipfile.ZipFile(path) as archive:
            assert not any(info.flag_bits & 0x800 for info in archive.infolist())
    assert load(path).classes == ["dog", composed]


@pytest.mark.parametrize(("kind", "value"), [(2, b"a\0\0\0"), (6, b"\xff\0\0\0")])
def test_odd_metadata_are_no_fault_of_the_pixels(kind: int, value: bytes) -> None:
    """Else one photograph in whose EXIF a width is a text, or negative, keeps a whole data set from being read."""
    plain = encode(noise(0, 16, 8), "JPEG")
    entries = struct.pack("<HHI", 0x0100, kind, 1) + value + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    junk = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + struct.pack("<I", 0)
    with_it = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(junk) + 2) + junk + plain[2:]
    upright = Image.open(io.BytesIO(plain)).transpose(Image.Transpose.ROTATE_270)
    assert np.array_equal(pictures.decode(with_it, None), np.asarray(upright))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(mode: str) -> None:
    """Else a drawing on a transparent ground, such as an icon, is black on black."""
    ink = np.zeros((4, 4, 4), np.uint8)
    ink[1:3, 1:3, 3] = 255
    drawn = Image.fromarray(ink, "RGBA")
    if mode == "P":
        drawn = Image.fromarray(ink[..., 3] // 255, "P")
        drawn.putpalette([9, 9, 9, 0, 0, 0])
        drawn.info["transparency"] = 0
    found = pictures.decode(encode(drawn.convert(mode)), None, grey=True)
    assert np.array_equal(found, 255 - ink[..., 3])


def test_eight_bits_may_come_in_more(tmp_path: Path) -> None:
    """Else a mask or a scan of whole numbers becomes black without a word."""
    values = np.arange(20, dtype=np.int32).reshape(4, 5) * 12
    assert np.array_equal(pictures.decode(encode(Image.fromarray(values), "TIFF"), None), values)
    assert np.array_equal(pictures.decode(encode(Image.fromarray(values * 256), "TIFF"), None), values)
    deep = pictures.decode(encode(Image.fromarray(values * 65536), "TIFF"), None)
    assert isinstance(deep, str) and "pixels of more than 16 bits" in deep


def test_digits() -> None:
    """Else the digits are dim, or not those of scikit-learn."""
    images = sources.load("d", Digits.model_validate({"source": "digits"}))
    assert images.images.shape == (1797, 1, 8, 8) and images.images.dtype == torch.uint8
    assert images.labels.dtype == torch.int64 and images.labels[:5].tolist() == [0, 1, 2, 3, 4]
    assert images.images[0, 0, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]  # 0 0 5 13 9 1 0 0 of 16
    assert images.images.max() == 255 and images.test is None


def test_digits_resized() -> None:
    """Else `size` is ignored where the images do not come from files."""
    images = sources.load("d", Digits.model_validate({"source": "digits", "size": 16}))
    first = Image.fromarray(sources.load("d", Digits.model_validate({"source": "digits"})).images[0, 0].numpy())
    assert np.array_equal(images.images[0, 0].numpy(), np.asarray(first.resize((16, 16), Image.Resampling.BILINEAR)))


def idx(downloads: Path, **halves: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    """Puts images and labels of `train` and `t10k` where torchvision looks for MNIST, as it was published."""
    raw = downloads / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for half, (images, labels) in halves.items():
        head = struct.pack(">4i", 2051, *images.shape)
        raw.joinpath(f"{half}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        raw.joinpath(f"{half}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, len(labels)) + labels.tobytes())


def test_torchvision_grey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else MNIST has no channel, or its test images train."""
    monkeypatch.setattr(paths, "DOWNLOADS", tmp_path)
    draws = np.random.default_rng(0)
    train, test = (draws.integers(0, 256, (count, 28, 28), dtype=np.uint8) for count in (5, 3))
    idx(tmp_path, train=(train, np.arange(5, dtype=np.uint8)), t10k=(test, np.arange(3, dtype=np.uint8)))
    images = sources.load("d", torchvision_set("MNIST"))
    assert images.images.shape == (8, 1, 28, 28) and np.array_equal(images.images[5:, 0].numpy(), test)
    assert images.labels.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert images.test is not None and images.test.tolist() == [False] * 5 + [True] * 3


@pytest.mark.parametrize("size", [None, 14])
def test_an_archive_of_the_same_images_is_the_same_data_set(
    size: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else results that were trained on MNIST from torchvision are not found by who has MNIST as pictures, or dvc.lock
    holds where the images of one machine lie."""
    monkeypatch.setattr(paths, "DOWNLOADS", tmp_path / "downloads")
    monkeypatch.setattr(paths, "IMAGES", tmp_path / "images")
    draws = np.random.default_rng(0)
    labels = {"train": np.arange(60, dtype=np.uint8) % 10, "t10k": np.arange(20, dtype=np.uint8) % 10}
    images = {half: draws.integers(0, 256, (len(some), 28, 28), dtype=np.uint8) for half, some in labels.items()}
    images["train"][10] = images["train"][0]  # the same digit twice
    idx(tmp_path / "downloads", train=(images["train"], labels["train"]), t10k=(images["t10k"], labels["t10k"]))
    files = {
        f"mnist/{folder}/{label}/{number}.png": encode(Image.fromarray(image))
        for folder, half in (("test", "t10k"), ("train", "train"))
        for number, (image, label) in enumerate(zip(images[half][::-1], labels[half][::-1], strict=True))
    }
    (tmp_path / "images").mkdir()
    pack(tmp_path / "images", files, "tar.xz").rename(tmp_path / "images" / "mnist.tar.xz")
    given = {"source": "torchvision", "name": "MNIST", "train_size": 30, "size": size}
    kinds = {
        "torchvision": Torchvision.model_validate(given),
        "folder": folder("mnist", train_size=30, size=size),
        "in place of torchvision": Torchvision.model_validate(given | {"path": "mnist"}),
    }
    said = {prepare("d", dataset, tmp_path / name) for name, dataset in kinds.items()}
    (tmp_path / "downloads").rename(tmp_path / "gone")
    said.add(prepare("d", kinds["in place of torchvision"], tmp_path / "in place of torchvision"))
    for file in (prepared.FIT_FILE, prepared.TEST_FILE):
        assert len({(tmp_path / name / file).read_bytes() for name in kinds}) == 1
    assert len({prepared.digest(tmp_path / name) for name in kinds}) == 1
    extent = f"1×{size or 28}×{size or 28}"
    assert said == {f"d: 30 train, 6 validation, 20 test images of {extent} in 10 classes"}
    assert all(str(tmp_path) not in dataset.model_dump_json() for dataset in kinds.values())


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_path_without_ending_or_machine(container: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a committed params.yaml fits one machine alone, or the folder of images only one kind of archive."""
    monkeypatch.setattr(paths, "IMAGES", tmp_path)
    pack(tmp_path, FLAT, container)
    assert torch.equal(
        sources.load("d", folder("images")).images, load(tmp_path / pack(tmp_path, FLAT, "zip").name).images
    )


BAD_PATHS = {
    "absent": "no such file or directory, neither in",
    "~nobody-of-this-name/x": "Could not determine home directory",
    "a" * 300: "File name too long",
    "zero\0byte": "no such file or directory",
}


@pytest.mark.parametrize("path", BAD_PATHS)
def test_bad_paths(path: str, tmp_path: Path) -> None:
    """Else what nobody can open gives a traceback."""
    assert BAD_PATHS[path] in complaint(tmp_path, folder(path))


def test_torchvision_colour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the channels of CIFAR-10 are mixed up with its rows."""
    from torchvision.datasets import CIFAR10

    data = np.random.default_rng(0).integers(0, 256, (2, 3072), dtype=np.uint8)
    contents = {
        "train": {"data": data, "labels": [1, 0]},
        "test": {"data": data[::-1], "labels": [0, 1]},
        "meta": {"label_names": ["plane", "car"]},
    }
    monkeypatch.setattr(paths, "DOWNLOADS", tmp_path)
    tmp_path.joinpath(CIFAR10.base_folder).mkdir()
    sums = {}
    for name, content in contents.items():
        tmp_path.joinpath(CIFAR10.base_folder, name).write_bytes(pickle.dumps(content))
        sums[name] = hashlib.md5(pickle.dumps(content)).hexdigest()
    monkeypatch.setattr(CIFAR10, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "meta", "key": "label_names", "md5": sums["meta"]})
    images = sources.load("d", torchvision_set("CIFAR10"))
    assert np.array_equal(images.images[:2].numpy(), data.reshape(2, 3, 32, 32))
    assert (images.labels.tolist(), images.classes) == ([1, 0, 0, 1], ["plane", "car"])


FAILURES = [
    urllib.error.URLError("Name or service not known"),
    RuntimeError("File not found or corrupted."),
    RuntimeError("Error downloading train-images:\nTried one:\nTried another:\n"),
    EOFError(),
]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", ["CIFAR10", "FashionMNIST"])
def test_torchvision_offline(
    name: Any, failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Else who is offline gets a traceback or many lines, and does not learn what else is possible."""
    import torchvision.datasets

    def fail(*_: object, **__: object) -> None:
        print("torchvision talks")
        raise failure

    monkeypatch.setattr(paths, "DOWNLOADS", tmp_path / "downloads")
    for module in (torchvision.datasets.cifar, torchvision.datasets.mnist):
        monkeypatch.setattr(module, "download_and_extract_archive", fail)
    line = complaint(tmp_path, torchvision_set(name))
    assert line.startswith(f"datasets.d: {name} could not be downloaded")
    assert "{source: folder, path: …}" in line and str(tmp_path / "downloads") in line
    assert capfd.readouterr() == ("", "")


def test_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Else a terminal stays silent for a minute, or a log fills with control codes."""
    path = pack(tmp_path, FLAT, "zip")
    load(path)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    load(path)
    shown = capsys.readouterr()
    assert "d: reading" in shown.err and not shown.out


def complaint(tmp_path: Path, dataset: Folder | Torchvision) -> str:
    """The line for what is wrong; nothing may have been written."""
    output = tmp_path / "output"
    with pytest.raises(UserError) as caught:
        prepare("d", dataset, output / "d")
    assert not output.exists() or not any(output.iterdir())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def bomb() -> bytes:
    """A small file that says it is a huge image."""
    data = bytearray(encode(noise(0)))
    data[16:24] = struct.pack(">2I", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def float_tiff() -> bytes:
    return encode(Image.fromarray(np.zeros((5, 6), np.float32)), "TIFF")


JPEG = encode(noise(0, 40, 40), "JPEG")
BROKEN_FILES = {
    "text": (b"no image", "corrupt or no image"),
    "empty": (b"", "corrupt or no image"),
    "cut JPEG": (JPEG[:-200], "corrupt or no image"),
    "cut PNG": (FLAT["cat/0.png"][:-40], "corrupt or no image"),
    "broken PNG": (FLAT["cat/0.png"][:60] + b"\0" * 20 + FLAT["cat/0.png"][80:], "corrupt or no image"),
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 5\n%%EndComments\n", "corrupt or no image"),
    "bomb": (bomb(), "60,000×60,000 pixels; 67,108,864 at most are decoded (max_pixels of a data set)"),
    "floats": (float_tiff(), "floating-point"),
    "other size": (encode(noise(0, 7, 5)), "7×5 pixels, but cat/0.png has 6×5 pixels; datasets.d.size"),
}


@pytest.mark.parametrize("container", ["directory", "tar.xz", "zip"])
@pytest.mark.parametrize("kind", BROKEN_FILES)
def test_broken_file(tmp_path: Path, kind: str, container: str) -> None:
    """Else one bad file among thousands cannot be found, or is trained on."""
    data, reason = BROKEN_FILES[kind]
    path = pack(tmp_path, FLAT | {"dog/bad.png": data}, container)
    line = complaint(tmp_path, folder(path))
    assert line.startswith(f"datasets.d.path: {path}: dog/bad.png: ") and reason in line


BROKEN_TREES: dict[str, tuple[Files, str]] = {
    "class only in train": (tree("train/cat", "train/dog", "test/cat"), "test/dog: no such folder"),
    "class only in test": (tree("train/cat", "test/cat", "test/dog"), "train/dog: no such folder"),
    "no test": (tree("train/cat", "train/dog"), "class folders in train/, but none in test/"),
    "beside the splits": (SPLIT | tree("val/cat"), "val: a folder beside train/ and test/"),
    "one class": (tree("photos/cat"), "one class, cat"),
    "no class": ({"0.png": FLAT["cat/0.png"]}, "no class folders"),
    "too deep": (FLAT | tree("dog/puppies"), "dog/puppies: a folder too deep"),
    "far too deep": (tree("a/b/c/d/e/f"), "a folder too deep"),
}


@pytest.mark.parametrize("container", ["directory", "tar.xz", "zip"])
@pytest.mark.parametrize("kind", BROKEN_TREES)
def test_broken_layout(tmp_path: Path, kind: str, container: str) -> None:
    """Else images get labels that nobody meant, or a class is silently absent."""
    files, reason = BROKEN_TREES[kind]
    path = pack(tmp_path, files, container)
    line = complaint(tmp_path, folder(path))
    assert line.startswith(f"datasets.d.path: {path}: ") and reason in line


def encrypted() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("cat/0.png", b"secret")
    data = bytearray(buffer.getvalue())
    data[data.index(b"PK\1\2") + 8] |= 1
    return bytes(data)


def linked_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("cat/link.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def changed(data: bytes, place: int) -> bytes:
    """One byte is another."""
    place %= len(data)
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


def announced(kind: bytes, size: int) -> bytes:
    """A tar archive whose first header says that so many bytes of a long name or of attributes follow, and they do."""
    return member("././@LongLink", kind, size=size).tobuf() + bytes(size) + tar(FLAT)


def huge_picture() -> bytes:
    """A PNG file of 20,000×12,000 pixels, as its header says."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", 20_000, 12_000, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(bytes(9)))
    written = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


def zipped(compression: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in FLAT.items():
            archive.writestr(name, data)
    return buffer.getvalue()


PLAIN = tar(FLAT)
THIRD = PLAIN.index(b"dog/0.png")
BROKEN_ARCHIVES: dict[str, tuple[str, bytes, str]] = {
    "unknown suffix": ("images.rar", b"Rar!", "neither a directory nor an archive; .tar"),
    "empty tar": ("i.tar", b"", "truncated, damaged"),
    "empty tar.xz": ("i.tar.xz", b"", "truncated, damaged"),
    "no tar": ("i.tar", b"no tar" * 1000, "truncated, damaged"),
    "another compression": ("i.tar.gz", lzma.compress(PLAIN), "truncated, damaged"),
    "tar cut in a file": ("i.tar", PLAIN[: THIRD + 520], "truncated, damaged"),
    "tar cut between files": ("i.tar", PLAIN[:THIRD], "truncated, damaged"),
    "tar with a hole": ("i.tar", PLAIN[:THIRD] + bytes(512) + PLAIN[THIRD + 512 :], "goes on behind its end"),
    "two tars in one file": ("i.tar.gz", gzip.compress(PLAIN + tar(SPLIT)), "goes on behind its end"),
    "zeros in place of the rest": ("i.tar.bz2", bz2.compress(PLAIN[:THIRD] + bytes(2**21)), "a download that was cut"),
    "name of 2 MiB": ("i.tar.gz", gzip.compress(announced(tarfile.GNUTYPE_LONGNAME, 2**21)), "a header of more than"),
    "attributes of 2 MiB": ("i.tar.gz", gzip.compress(announced(tarfile.XHDTYPE, 2**21)), "a header of more than"),
    "name of 5,000 letters": ("i.tar", tar({"a/" * 2500 + "b.png": b""}), "a name of 5,005 characters"),
    "file of 3 GiB": ("i.tar", tar(FLAT, member("dog/x.png", size=3 * 2**30)), "dog/x.png: 3,221,225,472 bytes, and"),
    "picture of 240 million pixels": (
        "i.tar",
        tar(FLAT | {"dog/x.png": huge_picture()}),
        "dog/x.png: 20,000×12,000 pixels; 67,108,864 at most are decoded (max_pixels",
    ),
    "zip that unpacks without bounds": ("i.zip", zipped(zipfile.ZIP_BZIP2), "cat/0.png: of a kind of compression"),
    "tar with a broken header": ("i.tar", changed(PLAIN, THIRD), "truncated, damaged"),
    "cut tar.xz": ("i.tar.xz", lzma.compress(PLAIN)[:-100], "truncated, damaged"),
    "cut tar.gz": ("i.tar.gz", gzip.compress(PLAIN)[:-100], "truncated, damaged"),
    "cut tar.bz2": ("i.tar.bz2", bz2.compress(PLAIN)[:-100], "truncated, damaged"),
    "wrong checksum of tar.gz": ("i.tar.gz", changed(gzip.compress(PLAIN), -6), "truncated, damaged"),
    "no zip": ("i.zip", PLAIN, "truncated, damaged"),
    "encrypted zip": ("i.zip", encrypted(), "cat/0.png: encrypted"),
    "link in zip": ("i.zip", linked_zip(), "cat/link.png: a link"),
    "symbolic link": ("i.tar", tar(FLAT, member("cat/l.png", tarfile.SYMTYPE, "/etc/passwd")), "cat/l.png: a link"),
    "hard link": ("i.tar", tar(FLAT, member("cat/l.png", tarfile.LNKTYPE, "cat/0.png")), "cat/l.png: a link"),
    "device": ("i.tar", tar(FLAT, member("cat/null", tarfile.CHRTYPE)), "cat/null: a device"),
    "pipe": ("i.tar", tar(FLAT, member("cat/pipe", tarfile.FIFOTYPE)), "cat/pipe: a device or pipe"),
    "out of the archive": ("i.tar", tar(FLAT, member("cat/../../x.png")), "cat/../../x.png: leads out"),
    "absolute": ("i.tar", tar(FLAT, member("/cat/x.png")), "/cat/x.png: leads out"),
    "twice": ("i.tar", tar(FLAT, member("cat/0.png")), "cat/0.png: is there twice"),
    "class without images": ("i.tar", tar(FLAT, member("fox", tarfile.DIRTYPE)), "fox: a class without images"),
    "line break in a name": ("i.tar", tar(FLAT | {"dog/a\nb\x1b.png": b""}), "dog/a b�.png: corrupt"),
    "name of no encoding": ("i.tar", tar(FLAT | {"dog/\udcff.png": b""}), "the name is not UTF-8"),
}


@pytest.mark.parametrize("kind", BROKEN_ARCHIVES)
def test_broken_archive(tmp_path: Path, kind: str) -> None:
    """Else half of an archive passes for the whole, or an archive reaches files outside itself."""
    name, data, reason = BROKEN_ARCHIVES[kind]
    path = tmp_path / name
    path.write_bytes(data)
    line = complaint(tmp_path, folder(path))
    assert line.startswith(f"datasets.d.path: {path}: ") and reason in line


@pytest.mark.parametrize("container", CONTAINERS)
def test_bounds(container: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a small archive fills the memory or takes an hour, where a line could say what is too much."""
    path = pack(tmp_path, FLAT, container)
    assert "max_gib: the pixels of 2 pictures and more come to over 1e-07 GiB" in complaint(
        tmp_path, folder(path, max_gib=1e-7)
    )
    assert "6×5 pixels; 29 at most" in complaint(tmp_path, folder(path, max_pixels=29))
    assert len(load(path, max_pixels=30, max_gib=540 / 2**30).labels) == len(FLAT)
    with monkeypatch.context() as patch:
        patch.setattr(archives, "MOST_ENTRIES", 5)
        assert "more than 5 files and folders" in complaint(tmp_path, folder(path))
    if container != "directory":
        monkeypatch.setattr(members, "SURE", 100)
        monkeypatch.setattr(members, "RATIO", 0.1)
        assert members.BOMB in complaint(tmp_path, folder(path))


def test_a_size_beyond_memory() -> None:
    """Else images that take hours to resize fill the memory."""
    with pytest.raises(UserError, match=r"datasets\.d\.size: 4096, which makes 28\.1 GiB of pixels, and max_gib is 2"):
        sources.load("d", Digits.model_validate({"source": "digits", "size": 4096}))


@pytest.mark.skipif(not os.access("/proc/kmsg", os.R_OK), reason="needs a file that waits for its next byte")
@pytest.mark.parametrize("name", ["images/dog/x.png", "images.tar", "images.zip"])
def test_links_to_what_has_no_end(name: str, tmp_path: Path) -> None:
    """Else reading waits forever."""
    pack(tmp_path, FLAT, "directory")
    (tmp_path / name).symlink_to("/proc/kmsg")
    line = complaint(tmp_path, folder(tmp_path / name.split("/", maxsplit=1)[0]))
    assert "x.png: corrupt or no image" in line or "no plain file, or an empty one" in line


@pytest.mark.parametrize("container", ["tar", "zip"])
def test_a_pipe_is_no_archive(container: str, tmp_path: Path) -> None:
    """Else reading waits forever."""
    os.mkfifo(tmp_path / f"images.{container}")
    assert "no plain file, or an empty one" in complaint(tmp_path, folder(tmp_path / f"images.{container}"))


def test_broken_checksum_in_zip(tmp_path: Path) -> None:
    """Else a damaged image passes for another one."""
    path = pack(tmp_path, FLAT, "zip")
    data = path.read_bytes()
    path.write_bytes(changed(data, data.index(b"IDAT") + 20))
    line = complaint(tmp_path, folder(path))
    assert str(path) in line and "cat/0.png" in line


@pytest.mark.parametrize("path", ["nowhere", "nowhere.tar.xz", "~nobody-of-that-name/photos", "a\0b"])
def test_nothing_there(tmp_path: Path, path: str) -> None:
    """Else a misspelt path gives a traceback."""
    assert complaint(tmp_path, folder(path)).startswith("datasets.d.path: ")


@pytest.mark.parametrize("kind", ["empty class", "hidden files", "pipe", "dangling link", "loop"])
def test_broken_directory(tmp_path: Path, kind: str) -> None:
    """Else reading waits for a pipe forever, or a class is silently absent."""
    path = pack(tmp_path, FLAT, "directory")
    strange = path / "dog/strange"
    if kind in ("empty class", "hidden files"):
        strange = path / "fox"
        strange.mkdir()
        if kind == "hidden files":
            strange.joinpath(".DS_Store").touch()
    elif kind == "pipe":
        os.mkfifo(strange)
    else:
        strange.symlink_to(path if kind == "loop" else "nothing")
    line = complaint(tmp_path, folder(path))
    assert line.startswith(f"datasets.d.path: {path}: ") and strange.name in line


@pytest.mark.parametrize("container", ["tar", "tar.gz", "tar.xz", "zip"])
def test_damage_anywhere(tmp_path: Path, container: str) -> None:
    """Else damage gives a traceback, or other images where a checksum tells: one byte after another is changed."""
    path = pack(tmp_path, FLAT, container)
    data, whole = path.read_bytes(), load(path)
    for place in range(0, len(data), max(1, len(data) // 150)):
        path.write_bytes(changed(data, place))
        try:
            images = load(path)
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert container == "tar" or torch.equal(images.images, whole.images)


@pytest.mark.parametrize("container", ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_cut_anywhere(tmp_path: Path, container: str) -> None:
    """Else an interrupted download trains: archives of every shorter length, a few hundred bytes apart."""
    path = pack(tmp_path, FLAT, container)
    data, end = path.read_bytes(), len(PLAIN.rstrip(b"\0"))
    for length in range(0, end if container == "tar" else len(data), max(1, len(data) // 40)):
        path.write_bytes(data[:length])
        with pytest.raises(UserError, match="truncated, damaged"):
            load(path)
