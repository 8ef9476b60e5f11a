"""The gallery shows the images that its rule names, and of each what the rows say."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from outputs import shown

from pipeline.findings.ensemble import together
from pipeline.findings.gallery import MOST_ROWS, Choice, Exhibit, Gallery, Said, choose
from pipeline.reporting import charts, gallery_section
from pipeline.reporting.gallery_figure import gallery_figure


def test_networks_speak_together_by_their_mean_probabilities() -> None:
    """Broken: a row's confidence would be that of one seed, or votes would count other classes than the row's own."""
    sure, unsure = np.log([[0.9, 0.1], [0.3, 0.7]]), np.log([[0.4, 0.6], [0.2, 0.8]])
    said = together(np.stack([sure + 5, unsure - 5]).astype(np.float32))  # logits are known up to a constant
    np.testing.assert_allclose(said.probabilities, [[0.65, 0.35], [0.25, 0.75]], rtol=1e-6)
    assert said.predicted.tolist() == [0, 1]
    assert said.votes.tolist() == [1, 2]
    assert said.networks == 2


def test_the_rule_on_arrays_made_by_hand() -> None:
    """Broken: another image would be shown than the caption says."""
    labels = np.array([1, 0, 0, 0, 0, 2, 2])
    predicted = np.array(
        [
            # image: 0 all agree and are wrong; of class 0 the votes are 3, 2+1, 2+1, 2+1; of class 2 all agree
            [0, 0, 1, 0, 2, 2, 2],
            [0, 0, 1, 2, 0, 2, 2],
            [0, 0, 2, 0, 0, 2, 2],
        ]
    )
    truth = np.array(
        [
            [0.2, 1.0, 0.1, 0.6, 0.3, 0.9, 0.8],
            [0.2, 0.5, 0.1, 0.3, 0.6, 0.9, 0.8],
            [0.2, 0.0, 0.2, 0.6, 0.6, 0.9, 0.9],
        ]
    )
    # Class 0: images 2, 3 and 4 are equally disputed, 3 and 4 have the wider range, 3 comes first.
    # Class 2: nobody disagrees, so the wider range of image 6 decides.
    assert choose(labels, predicted, truth) == [Choice(0, 1, 3), Choice(1, 0, 0), Choice(2, 5, 6)]


@given(st.integers(1, 5), st.integers(1, 30), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_no_image_of_its_class_is_more_disputed(rows: int, images: int, classes: int, seed: int) -> None:
    """Broken: the rule would miss an image on which the rows disagree more."""
    draws = np.random.default_rng(seed)
    labels, predicted = draws.integers(0, classes, images), draws.integers(0, classes, (rows, images))
    truth = draws.integers(0, 3, (rows, images)) / 2

    def standing(image: int) -> tuple[float, float, int]:
        counts = Counter(predicted[:, image].tolist()).values()
        entropy = -sum(count / rows * math.log(count / rows) for count in counts)
        return -round(entropy, 9), truth[:, image].min() - truth[:, image].max(), image

    choices = choose(labels, predicted, truth)
    assert [choice.label for choice in choices] == sorted(set(labels.tolist()))
    for choice in choices:
        mine = [image for image in range(images) if labels[image] == choice.label]
        assert choice.first == mine[0]
        assert choice.disputed == min(mine, key=standing)


def gallery(rows: int, names: list[str], single: bool = False, left_out: int = 0) -> Gallery:
    """A gallery in which row r takes every image for class r."""

    def exhibit(place: int) -> Exhibit:
        said = [
            Said(f"row-{row}", row == 1, names[row % len(names)], 0.5, 2, 3, row % len(names) == place)
            for row in range(rows)
        ]
        pixels = np.full((8, 6, 3) if place % 2 else (6, 8), 40 * (place % 5), np.uint8)
        return Exhibit(place, names[place], pixels, said)

    exhibits = [exhibit(place) for place in range(len(names))]
    return Gallery("set", exhibits, [] if single else exhibits, left_out)


LONG = ["cat", "a name of many words that goes on and on", "Donaudampfschifffahrt", "$x", "猫", "a\nb"]


@pytest.mark.parametrize(
    ("exhibited", "images"),
    [
        (gallery(1, ["cat", "dog"], single=True), 2),
        (gallery(6, LONG), 12),
        (gallery(MOST_ROWS + 6, [f"class {number}" for number in range(12)]), 24),
    ],
)
def test_figures_of_all_sizes(exhibited: Gallery, images: int) -> None:
    """Broken: the figure would fail or warn on few or many rows, or on names that no font has, or lose an image."""
    assert charts.svg(lambda: gallery_figure(exhibited)).count("<image") == images


def test_the_figure_says_what_the_rows_say() -> None:
    """Broken: a confidence would stand below another image, or a wrong answer would look like a right one."""
    with charts.style():
        (axes,) = gallery_figure(gallery(2, ["cat", "dog"], single=True)).axes
    texts = [(round(text.get_position()[1], 3), text.get_position()[0], text.get_text()) for text in axes.texts]
    by_line: dict[float, list[str]] = {}
    for height, _, text in sorted(texts):
        by_line.setdefault(height, []).append(text)
    lines = list(by_line.values())
    assert lines[-3:] == [["cat", "dog"], ["row-0", "50", "cat: 50"], ["row-1 †", "dog: 50", "50"]]


def test_the_section_tells_what_is_left_out() -> None:
    """Broken: rows or classes would vanish without a word, or a table would be torn by a name."""
    text = shown(gallery_section.gallery, galleries=[gallery(MOST_ROWS + 2, ["a|b", "c"], left_out=80)])
    assert "The first 20 classes are shown, 80 more are not." in text
    assert "leaves out the last 2 rows" in text
    assert "](s/gallery.svg)" in text
    assert r"| a\|b | 0 | a\|b ×13, c ×13 | 0 | a\|b ×13, c ×13 |" in text
    alone = shown(gallery_section.gallery, galleries=[gallery(1, ["a", "b"], single=True)])
    assert "| a | 0 | a ×1 | – | – |" in alone
    assert "left out" not in alone
    assert shown(gallery_section.gallery) == ""
