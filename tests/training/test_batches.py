"""Batches: every image once an epoch, the same order for every row, and crops that are crops."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.images.draws import Subset
from pipeline.params.rows import Row
from pipeline.training import streams
from pipeline.training.batches import Batches, Crop, Images, TrainBatches

MakeRow = Callable[..., Row]


def batches(
    data: Path, row: Row, seed: int, epoch: int, rank: int = 0, world: int = 1
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    images = Images(data, row, seed)
    images.trainer = SimpleNamespace(current_epoch=epoch, global_rank=rank, world_size=world)  # type: ignore[assignment]
    return list(TrainBatches(images))


def test_an_epoch_shows_every_image_once(data: Path, make_row: MakeRow) -> None:
    """Broken: some images would count twice and others not at all."""
    seen = torch.cat([images for images, _ in batches(data, make_row(batch=32), 0, 0)])
    expected, _ = Images(data, make_row(), 0).train[:]
    assert sorted(image.numpy().tobytes() for image in seen) == sorted(image.numpy().tobytes() for image in expected)


def test_the_order_follows_from_seed_and_epoch_alone(data: Path, make_row: MakeRow) -> None:
    """Broken: rows of one seed would see images in different orders and not be paired; or every epoch the same one."""

    def order(row: Row, seed: int, epoch: int) -> list[int]:
        return torch.cat([labels for _, labels in batches(data, row, seed, epoch)]).tolist()

    plain, other = make_row(each="conv act"), make_row(optimizer={"name": "sgd", "lr": 0.1})
    assert order(plain, 0, 3) == order(other, 0, 3)
    assert order(plain, 0, 3) != order(plain, 0, 4)
    assert order(plain, 0, 3) != order(plain, 1, 3)


def test_devices_share_each_batch(data: Path, make_row: MakeRow) -> None:
    """Broken: two devices would train on the same images, or on other crops than one device."""
    row = make_row(batch=32, augment="pad-crop-flip")
    whole = batches(data, row, 0, 1)
    shares = [batches(data, row, 0, 1, rank, 2) for rank in range(2)]
    for index, (images, labels) in enumerate(whole):
        assert torch.equal(images[0::2], shares[0][index][0])
        assert torch.equal(images[1::2], shares[1][index][0])
        assert torch.equal(labels[1::2], shares[1][index][1])


@settings(max_examples=50)
@given(st.integers(1, 9), st.integers(1, 3), st.sampled_from([8, 16, 28]), st.integers(0, 2**31))
def test_a_crop_is_a_flipped_window_of_the_padded_image(count: int, channels: int, size: int, seed: int) -> None:
    """Broken: augmentation would mix images, channels, or rows and columns."""
    draws = streams.generator(seed, "test")
    images = torch.randint(0, 256, (count, channels, size, size), generator=draws).to(torch.uint8)
    crop = Crop.draw(count, images.shape, draws)
    cropped = crop(images)
    padded = torch.nn.functional.pad(images, (crop.pad,) * 4)
    for image, whole, top, left, flip in zip(cropped, padded, crop.top, crop.left, crop.flip, strict=True):
        window = whole[:, top : top + size, left : left + size]
        assert torch.equal(image, window.flip(2) if flip else window)


def test_crops_are_uniform_and_half_are_flipped() -> None:
    """Broken: augmentation would be weaker or lopsided. 20,000 draws: five deviations of each share."""
    crop = Crop.draw(20_000, torch.Size([1, 1, 32, 32]), streams.generator(0, "test"))
    assert crop.pad == 4
    shares = torch.bincount(crop.top, minlength=9) / 20_000
    assert (shares - 1 / 9).abs().max() < 5 * (1 / 9 * 8 / 9 / 20_000) ** 0.5
    assert abs(crop.flip.double().mean() - 0.5) < 5 * (0.25 / 20_000) ** 0.5


def test_evaluation_sees_all_images_in_order() -> None:
    """Broken: the last images of a split would be left out of a result."""
    images, labels = torch.arange(2000).view(-1, 1, 1, 1).expand(-1, 1, 32, 32), torch.arange(1100)
    subset = Subset(images, labels, rows=1500 - labels)
    parts = list(Batches(subset))
    assert len(parts) == len(Batches(subset)) == 3
    assert torch.equal(torch.cat([part for _, part in parts]), labels)
    assert torch.equal(torch.cat([part for part, _ in parts])[:, 0, 0, 0], 1500 - labels)
