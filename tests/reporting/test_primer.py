"""The primer: what it says is what the layers compute, and the rows that it names are there."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import primer
from pipeline.params.reading import read_params
from pipeline.reporting.primer import dropping, folding, lessons, normalizing, saturating, sets, shifting


def test_dropout_keeps_the_mean_in_both_modes() -> None:
    """Broken: the lesson would show a mask that is not scaled, or scaled in the wrong mode."""
    inverted, classic = (dropping.once(layer, training=True) for layer in dropping.LAYERS.values())
    assert torch.equal(inverted * (1 - dropping.RATE), classic)  # one mask
    assert dropping.mean(dropping.LAYERS["inverted"]) == pytest.approx(5.5, abs=0.05)
    assert dropping.mean(dropping.LAYERS["classic"]) == pytest.approx(5.5 * 0.6, abs=0.05)


def test_batch_norm_differs_by_its_mode() -> None:
    """Broken: the matrices would not be those of the formulas beside them."""
    training, test, _ = normalizing.modes()
    matrix = normalizing.MATRIX.numpy()
    assert training.numpy() == pytest.approx((matrix - matrix.mean(0)) / matrix.std(0), abs=1e-4)
    moved = (0.1 * matrix.mean(0), 0.9 + 0.1 * matrix.var(0, ddof=1))
    assert test.numpy() == pytest.approx((matrix - moved[0]) / np.sqrt(moved[1]), abs=1e-4)


def test_the_cube_shows_the_sets_of_the_equations() -> None:
    """Broken: a norm would be drawn with values of another one."""
    images, channels, pixels = sets.IMAGES, sets.CHANNELS, sets.SIDE**2
    found = {word: sets.shared(word) for word in sets.NORMS}
    assert {word: int(flags.sum()) for word, flags in found.items()} == {
        "bn": images * pixels, "ln": channels * pixels, "in": pixels, "gn": channels // sets.GROUPS * pixels,
    }  # fmt: skip
    assert found["bn"][:, -1].all() and found["ln"][0].all() and found["in"][0, -1].all()
    assert found["gn"][0, -channels // sets.GROUPS :].all()


def test_a_batch_of_two_keeps_the_order_alone() -> None:
    """Broken: the lesson would say of small batches what is not so."""
    assert normalizing.outputs(2).abs().median() == pytest.approx(1, abs=0.01)
    spread = [float(normalizing.outputs(size).std()) for size in normalizing.SIZES]
    assert spread == sorted(spread, reverse=True)


def test_batch_norm_frees_the_sigmoid() -> None:
    """Broken: the lesson's example would not show what it says."""
    without, with_norm = saturating.inputs().values()
    assert saturating.flat(without) > 0.2 > 0.05 > saturating.flat(with_norm)


@pytest.mark.parametrize("place", shifting.COLOURS)
@pytest.mark.parametrize("rate", shifting.RATES)
def test_measured_shifts_are_those_of_the_formula(place: str, rate: float) -> None:
    """Broken: points and lines of the picture would come apart."""
    x = shifting.activations()
    assert shifting.ratio(place, rate, x) == pytest.approx(shifting.predicted(place, rate, x), abs=0.03)


def test_the_folded_network_is_the_same() -> None:
    """Broken: the lesson would claim an equality that does not hold."""
    assert folding.apart() < 1e-12  # float64, numbers of size one


def test_the_rows_that_lessons_name_are_there() -> None:
    """Broken: a reader would be sent to a row or study that does not exist."""
    params = read_params()
    for lesson in lessons.LESSONS:
        for study, rows in lesson().rows.items():
            assert set(rows) <= set(params.of_study(study))


def test_the_page_is_whole_and_the_same_with_any_number_of_cores(tmp_path: Path) -> None:
    """Broken: a picture would be missing, or dvc.lock would change without a reason."""
    made = []
    for name, cores in (("first", 1), ("second", 4)):
        torch.set_num_threads(cores)
        primer.write(tmp_path / name)
        made.append({path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.*")})
    assert made[0] == made[1]
    text = made[0]["primer.md"].decode()
    assert sorted(re.findall(r"\(primer/(.*\.svg)\)", text)) == sorted(
        name for name in made[0] if name.endswith(".svg")
    )
    assert text.count("\n## ") == len(lessons.LESSONS) == text.count("**Where it matters.**") == text.count("Source: ")
    assert made[0]["primer.html"].count(b"<img") == len(lessons.LESSONS)
