"""A study on somebody's own images: what is refused, and that nothing is written then."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import new, paths


def photos(root: Path, classes: int = 3, of_each: int = 12, mixed: bool = True) -> Path:
    draws = np.random.default_rng(0)
    for number in range(classes):
        (root / f"class-{number}").mkdir(parents=True)
        for image in range(of_each):
            extent = (40 + 9 * (image % 3 if mixed else 0), 50, 3)
            pixels = draws.integers(0, 255, extent, dtype=np.uint8)
            Image.fromarray(pixels).save(root / f"class-{number}" / f"{image}.png")
    return root


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs the command on a copy of params.yaml up to where it would train; what went wrong, or params.yaml."""
    copy = tmp_path / "params.yaml"
    copy.write_text(paths.PARAMS.read_text())
    monkeypatch.setattr(paths, "PARAMS", copy)

    class Stopped(Exception):
        pass

    def stop(*_: object, **__: object) -> None:
        raise Stopped

    def run(*words: object) -> str:
        monkeypatch.setattr("sys.argv", ["new", *map(str, words)])
        monkeypatch.setattr(new.subprocess, "run", stop)
        before = copy.read_text()
        try:
            new.main()
        except SystemExit as exit:
            assert copy.read_text() == before
            return str(exit)
        except Stopped:
            return copy.read_text()
        raise AssertionError("nothing was launched")

    return run


def test_a_study_is_written_that_can_be_trained(tmp_path: Path, command: Callable[..., str]) -> None:
    """Broken: `make new IMAGES=…` would write what no stage takes."""
    command(photos(tmp_path / "My Photos"), "--rows", "bn, both", "--seeds", "2")
    params = new.read_params(paths.PARAMS)
    rows = params.of_study("my-photos")
    assert list(rows) == ["my-photos-bn", "my-photos-both"]
    assert [row.seeds for row in rows.values()] == [[0, 1]] * 2
    assert params.datasets["my-photos"].size == new.SMALL  # of several sizes, and small
    assert {row.batch for row in rows.values()} == {23}  # no more than there are images to train on


@pytest.mark.parametrize(
    ("make", "words", "message"),
    [
        (lambda root: root / "nothing", [], "no such file or directory"),
        (lambda root: photos(root / "one", classes=1), [], "one class, class-0"),
        (lambda root: photos(root / "few", of_each=9), [], "few: class class-0 has 9 images to train on; 10 or more"),
        (lambda root: photos(root / "broken") / "class-1" / "0.png", [], "neither a directory nor an archive"),
        (lambda root: photos(root / "a"), ["--name", "a/b"], "NAME: 'a/b' is no name"),
        (lambda root: photos(root / "a"), ["--name", "quickstart"], "studies.quickstart: is there already"),
        (lambda root: photos(root / "a"), ["--like", "quickstar"], "LIKE: no study 'quickstar'; did you mean 'quicks"),
        (lambda root: photos(root / "Фото"), [], "NAME: 'фото' is no name; a letter or digit, then also - and _"),
        (lambda root: photos(root / "a"), ["--name", "README"], "studies.README: "),
        (lambda root: photos(root / "a"), ["--size", "5000"], "datasets.a.size: found 5000"),
        (lambda root: photos(root / "a"), ["--size", "2"], "rows.a-plain.backbone: its blocks need images of 4×4"),
        (
            lambda root: photos(root / "a"),
            ["--like", "norms"],
            "rows.a-none-32.batch: 32, but a has 23 training images",
        ),
        (
            lambda root: photos(root / "a"),
            ["--rows", "bm"],
            "ROWS: study quickstart has no row 'bm'; did you mean 'bn'",
        ),
    ],
)
def test_nonsense_is_refused_before_anything_is_written(
    make: Callable[[Path], Path], words: list[str], message: str, tmp_path: Path, command: Callable[..., str]
) -> None:
    """Broken: params.yaml would hold a study that nobody can train."""
    assert message in command(make(tmp_path), *words)


@pytest.mark.parametrize("packed", [False, True])
def test_what_lies_beside_the_classes_sets_no_size(packed: bool, tmp_path: Path, command: Callable[..., str]) -> None:
    """Broken: an archive would bring its images to another size than its folder."""
    folder = photos(tmp_path / "phot", mixed=False)
    Image.new("RGB", (800, 600)).save(folder / "cover.png")
    if packed:
        shutil.make_archive(str(folder), "zip", tmp_path, "phot")
        shutil.rmtree(folder)
    command(tmp_path / ("phot.zip" if packed else "phot"), "--rows", "bn")
    assert new.read_params(paths.PARAMS).datasets["phot"].size is None


def test_a_file_that_is_no_image_is_named(tmp_path: Path, command: Callable[..., str]) -> None:
    """Broken: one broken photo would be a traceback."""
    folder = photos(tmp_path / "photos")
    (folder / "class-1" / "3.png").write_text("no image")
    assert "class-1/3.png: corrupt or no image" in command(folder)
