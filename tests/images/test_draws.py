"""Draws of a seed: other images for other seeds, the same for all rows of one, and never a test image."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.images import draws, prepared
from pipeline.images.draws import Subset


def held(subset: Subset) -> set[bytes]:
    """The images of a subset."""
    return {image.numpy().tobytes() for image in subset[:][0]}


@settings(max_examples=50)
@given(st.lists(st.integers(10, 60), min_size=2, max_size=6), st.integers(0, 2**31 - 1), st.data())
def test_a_draw_is_in_proportion(counts: list[int], seed: int, data: st.DataObject) -> None:
    """Broken: a draw would have another size than it says, other proportions, or images that both train and select."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    validation = data.draw(st.integers(0, sum(counts) // 2))
    train = data.draw(st.integers(0, sum(counts) - validation))
    training, selecting = draws.rows(labels, train, validation, seed)
    assert not set(training) & set(selecting)
    assert (np.sort(training) == training).all() and (np.sort(selecting) == selecting).all()
    held_out = draws.quotas(np.array(counts), validation)
    for rows, quotas in ((selecting, held_out), (training, draws.quotas(np.array(counts) - held_out, train))):
        assert np.bincount(labels[rows], minlength=len(counts)).tolist() == quotas.tolist()


def test_every_image_is_drawn_as_often() -> None:
    """Broken: seeds would share more images than chance gives them. 400 seeds, five deviations of each share."""
    labels = np.arange(100) % 2
    times = np.zeros((2, 100))
    for seed in range(400):
        for part, rows in zip(times, draws.rows(labels, 30, 20, seed), strict=True):
            part[rows] += 1
    for part, share in zip(times, (0.3, 0.2), strict=True):
        assert abs(part / 400 - share).max() < 5 * (share * (1 - share) / 400) ** 0.5


def test_draw_of_today() -> None:
    """Broken: a new version of a library, or of this code, would draw other images, and results no longer compare."""
    training, selecting = draws.rows(np.arange(16) // 8, 6, 4, seed=3)
    assert (training.tolist(), selecting.tolist()) == ([1, 6, 7, 8, 11, 13], [0, 5, 10, 14])


def test_seeds_have_images_of_their_own(data: Path) -> None:
    """Broken: intervals would say nothing about other images, or rows of one seed would not be paired."""
    one, again, other = (draws.read(data, seed) for seed in (0, 0, 1))
    assert (len(one.train), len(one.validation)) == (96, 30)
    for part in ("train", "validation"):
        assert held(getattr(one, part)) == held(getattr(again, part)) != held(getattr(other, part))
    assert held(one.train) | held(one.validation) < {image.numpy().tobytes() for image in prepared.pool(data)[0]}
    assert not held(one.train) & held(one.validation)
    assert not (held(one.train) | held(one.validation)) & held(draws.test(data))


def test_images_and_labels_belong_together(data: Path) -> None:
    """Broken: images would be trained with the labels of others."""
    images, labels = prepared.pool(data)
    known = {image.numpy().tobytes(): int(label) for image, label in zip(images, labels, strict=True)}
    train = draws.read(data, 5).train
    for subset in (train, train.to(torch.device("cpu")), Subset.of(*train[:])):
        for which in (slice(7, 20), torch.tensor([5, 0, 95])):
            for image, label in zip(*subset[which], strict=True):
                assert known[image.numpy().tobytes()] == label


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30), st.floats(0, 1))
def test_quotas(counts: list[int], share: float) -> None:
    """Broken: quotas would not add up, exceed a class, or be out of proportion."""
    total = round(share * sum(counts))
    quotas = draws.quotas(np.array(counts), total)
    exact = np.array(counts) * (total / max(1, sum(counts)))
    assert quotas.sum() == total
    assert (quotas >= 0).all() and (quotas <= counts).all()
    assert (abs(quotas - exact) < 1 + 1e-6).all()


def test_statistics() -> None:
    """Broken: images would be normalized by wrong numbers."""
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5000, 3, 3, 2), dtype=np.uint8))
    mean, std = draws.statistics(Subset.of(images, torch.zeros(5000)))
    channels = images.double().transpose(0, 1).flatten(1) / 255
    torch.testing.assert_close(mean, channels.mean(1).float())
    torch.testing.assert_close(std, channels.std(1, correction=0).float())


def test_constant_channel() -> None:
    """Broken: normalization would divide by zero."""
    mean, std = draws.statistics(Subset.of(torch.full((4, 1, 2, 2), 51, dtype=torch.uint8), torch.zeros(4)))
    assert (mean.tolist(), std.tolist()) == ([pytest.approx(0.2)], [1.0])


def test_statistics_are_of_training_images_alone(data: Path) -> None:
    """Broken: validation and test images would leak into the normalization."""
    train = draws.read(data, 2).train
    mean, std = draws.statistics(train)
    pixels = train[:][0].double() / 255
    torch.testing.assert_close(mean, pixels.mean((0, 2, 3)).float())
    torch.testing.assert_close(std, pixels.std((0, 2, 3), correction=0).float())
