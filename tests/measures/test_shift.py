"""The variance shift of constructed networks, where formulas are exact, and of trained ones, where theory orders it."""

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from models import Norm, Place, build, vocabulary
from pipeline.measures import closed_form, inference, recalibrate, shift
from pipeline.measures.next_epoch import NextEpoch, Position
from pipeline.params.datasets import Digits
from pipeline.params.rows import Row
from pipeline.prepare import prepare
from pipeline.training import run
from pipeline.training.batches import Images, TrainBatches

MakeRow = Callable[..., Row]


def batches(number: int, seed: int, *shape: int, mean: float = 0.0, shared: float = 0.0) -> Iterator[Tensor]:
    """Gaussian inputs of variance 1 with this mean, every two of an image correlated by `shared`."""
    draws = torch.Generator().manual_seed(seed)
    for _ in range(number):
        apart = torch.randn(shape, generator=draws)
        common = torch.randn(shape[0], *[1] * (len(shape) - 1), generator=draws)
        yield mean + shared**0.5 * common + (1 - shared) ** 0.5 * apart


def drop(word: str, rate: float, features: int, pixels: int = 0) -> nn.Module:
    """The layer of a word."""
    layer = vocabulary.words()[word].layer(Place("each", "drop", features, pixels, rate, Norm()))
    assert layer is not None
    return layer


def measured(network: nn.Sequential, inputs: Callable[[int], Iterator[Tensor]]) -> dict[str, Any]:
    """The shift of a network's one norm, whose running statistics are of these inputs in training mode."""
    network.train()
    with torch.no_grad():
        for x in inputs(0):
            network(x)
    network.eval()
    exact = recalibrate.exact(network, lambda: inputs(1))
    (line,) = shift.shifts(network, exact, lambda: inputs(1))
    return line


@pytest.mark.parametrize(
    ("word", "rate", "expected"),
    [
        *(("drop", rate, 1 - rate) for rate in (0.0, 0.1, 0.5, 0.7)),
        ("drop-classic", 0.5, 0.5),
        ("gauss", 0.5, 0.5),
        *(("uout", rate, 3 / (3 + rate**2)) for rate in (0.1, 0.5)),
    ],
)
def test_dropout_directly_before_bn_shifts_as_published(word: str, rate: float, expected: float) -> None:
    """Broken: the shift, its direction or its formula would be another than the paper's, at mean 0."""
    network = nn.Sequential(OrderedDict(drop=drop(word, rate, 64), norm=nn.BatchNorm1d(64)))
    line = measured(network, lambda seed: batches(70, seed, 512, 64))
    assert line["ratio"] == pytest.approx(expected, rel=0.02)
    assert line["shift"] == pytest.approx(1 / expected, rel=0.02)
    assert line["predicted"] == pytest.approx(expected, rel=0.02)
    assert line["ratio_alone"] == pytest.approx(expected, rel=0.02)
    assert line["q05"] < line["q50"] < line["q95"]
    assert line["q50"] == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("word", ["drop", "gauss", "drop2d"])
def test_inputs_of_other_means_shift_more(word: str) -> None:
    """Broken: the formula would leave out c, or dropped channels would be taken for a case of their own."""
    network = nn.Sequential(OrderedDict(drop=drop(word, 0.5, 16, 4), norm=nn.BatchNorm2d(16)))
    line = measured(network, lambda seed: batches(70, seed, 512, 16, 2, 2, mean=2.0))
    assert line["case"] == "a"
    assert line["predicted"] == pytest.approx(1 / ((4 + 1) / 0.5 - 4), rel=0.02)
    assert line["ratio"] == pytest.approx(line["predicted"], rel=0.02)


@pytest.mark.parametrize(("word", "noise"), [("drop", 1.0), ("gauss", 1.0), ("uout", 0.5**2 / 3)])
def test_a_layer_between_weakens_the_shift_as_published(word: str, noise: float) -> None:
    """Broken: formula (b) would have a wrong d, cos²θ, ρ or noise. Inputs are as alike as the paper assumes."""
    torch.manual_seed(1)
    dense = nn.Linear(32, 64)
    line = measured(
        nn.Sequential(OrderedDict(drop=drop(word, 0.5, 32), weights=dense, norm=nn.BatchNorm1d(64))),
        lambda seed: batches(70, seed, 512, 32, mean=0.7, shared=0.2),
    )
    w, spread = dense.weight.detach().numpy().astype(float), 0.2
    theta = w.sum(1) ** 2 / (32 * (w**2).sum(1))
    test = 1 + spread * (32 * theta - 1)
    power = (w**2).sum(1)
    expected = (power * test).sum() / (power * (test + noise * (0.7**2 + 1))).sum()
    assert line["case"] == "b"
    for column in ("predicted", "predicted_by_input", "ratio"):
        assert line[column] == pytest.approx(expected, rel=0.02), column


def test_inputs_that_differ_and_padding_are_counted_input_by_input() -> None:
    """Broken: the second formula would not be exact where the paper's assumption fails."""
    torch.manual_seed(1)
    scale = torch.linspace(0.1, 3, 8)[:, None, None]
    network = nn.Sequential(
        OrderedDict(drop=drop("drop", 0.5, 8, 36), weights=nn.Conv2d(8, 32, 3, padding=1), norm=nn.BatchNorm2d(32))
    )
    line = measured(network, lambda seed: (scale * x for x in batches(70, seed, 128, 8, 6, 6, mean=1.0, shared=0.3)))
    assert line["predicted_by_input"] == pytest.approx(line["ratio"], rel=0.02)
    assert abs(line["predicted"] / line["ratio"] - 1) > 0.02


def test_the_moving_average_is_numpys_and_torchs_less_its_start() -> None:
    """Broken: momentum would be read in the other convention, or variances taken biased."""
    norm, m = nn.BatchNorm2d(5, momentum=0.3), 0.3
    seen = shift.NormInput(m)
    variances, means = [], []
    for x in batches(7, 0, 4, 5, 3, 3, mean=1.0):
        norm(x)
        seen.update(x)
        values = x.numpy().transpose(1, 0, 2, 3).reshape(5, -1).astype(float)
        variances.append(values.var(axis=1, ddof=1))
        means.append(values.mean(axis=1))
    weights = m * (1 - m) ** np.arange(6, -1, -1)
    for average, reference in ((seen.variance, variances), (seen.mean, means)):
        expected = weights @ np.array(reference) / weights.sum()
        np.testing.assert_allclose(average.value.numpy(), expected, rtol=1e-5)
    assert norm.running_var is not None
    started = (1 - m) ** 7 * 1.0 + weights.sum() * seen.variance.value.numpy()
    np.testing.assert_allclose(norm.running_var.numpy(), started, rtol=1e-5)


@pytest.mark.parametrize(("momentum", "expected"), [(0.1, 66), (0.01, 688), (1.0, 1)])
def test_enough_batches_are_seen(momentum: float, expected: int) -> None:
    """Broken: the average would be that of a handful of batches."""
    assert shift.enough(momentum) == expected


def test_batches_go_on_where_training_ended(data: Path, make_row: MakeRow) -> None:
    """Broken: images would be seen as training has seen them, without its augmentation, or another time otherwise."""
    row = make_row(batch=32, augment="pad-crop-flip", epochs=2)
    epoch, training = NextEpoch(data, row, 0, torch.device("cpu")), Images(data, row, 0)
    training.trainer = cast(pl.Trainer, Position(2, 0, 1))  # as if it trained for a third epoch
    expected = torch.cat([images for images, _ in TrainBatches(training)])
    for _ in range(2):
        assert torch.equal(torch.cat(list(epoch.batches())), expected)
    (first,) = epoch.batches(1)
    assert torch.equal(first, expected[:32])
    assert expected[..., 0].float().mean() < expected[..., 2:-2, 2:-2].float().mean()  # black edges from the crop


NONE = None
CASES = {
    "a": ({"each": "conv drop bn act", "head": "dense drop bn act"}, ["a"] * 5),
    "b": ({"each": "conv bn act drop", "head": "dense bn act"}, [NONE, "b", NONE, "b", NONE]),
    "b at every weight": ({"each": "drop conv bn act", "head": "drop dense bn act"}, ["b"] * 5),
    "b through flattening": ({"end": "pool drop", "head": "dense bn act"}, [NONE, NONE, "b", NONE, "b"]),
    "a behind flattening": ({"end": "pool uout", "head": "bn dense act"}, [NONE, NONE, "b", NONE, "a"]),
    "after the last": ({"head": "dense bn act drop"}, [NONE] * 5),
    "an activation between": ({"each": "conv drop act bn", "head": "dense drop act bn"}, [NONE] * 5),
    "dropped channels": ({"each": "drop2d conv bn act", "head": "dense bn act"}, [NONE] * 5),
    "dropped channels, directly": ({"each": "conv drop2d bn act", "head": "dense act"}, ["a"] * 4),
    "noise that is not a factor": ({"each": "conv alpha bn act", "head": "dense act"}, [NONE] * 4),
    "two in a row": ({"each": "conv drop gauss bn act", "head": "dense act"}, ["a"] * 4),
    "other norms": ({"each": "conv drop ln act", "head": "dense drop ln act"}, []),
    "no running statistics": ({"each": "conv drop bn act", "norm": {"running_stats": False}, "head": "dense act"}, []),
}


@pytest.mark.parametrize("name", CASES)
def test_the_case_follows_from_the_layers(name: str, make_row: MakeRow) -> None:
    """Broken: a formula would be printed beside a layer that it says nothing about."""
    changes, expected = CASES[name]
    base = {"backbone": {"widths": [4, 4], "convs": [2, 2], "dense": [8]}, "each": "conv bn act", "end": "pool"}
    network = build(*make_row(**base | changes).network(), (1, 8, 8), 3).eval()
    lines = shift.shifts(network, network, lambda: batches(1, 0, 8, 1, 8, 8))
    assert [line["case"] for line in lines] == expected
    assert all((line["predicted"] is None) == (line["case"] is None) for line in lines)
    assert [line["layer"] for line in lines] == [name for name, layer in network.named_children() if is_norm(layer)]


def is_norm(layer: nn.Module) -> bool:
    return isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.track_running_stats


def test_noise_of_several_dropouts_multiplies() -> None:
    """Broken: two dropouts in a row would count as one."""
    layers = [drop("drop", 0.5, 4), drop("uout", 0.3, 4), nn.BatchNorm1d(4)]
    noise = closed_form.noise_before(layers, 2)
    assert noise is not None
    assert noise.variance == pytest.approx(2 * (1 + 0.03) - 1)


POSITIONS = {
    "a": {"each": "conv drop bn act", "head": "dense drop bn act"},
    "b": {"each": "conv bn act drop", "head": "dense bn act"},
    "after the last": {"each": "conv bn act", "head": "dense bn act drop"},
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared handwritten digits."""
    target = tmp_path_factory.mktemp("digits") / "digits"
    prepare("digits", Digits.model_validate({"source": "digits", "train_size": 400}), target)
    return target


@pytest.mark.parametrize("rate", [0.3, 0.5, 0.7])
def test_trained_networks_shift_in_the_order_of_theory(
    rate: float, digits: Path, make_row: MakeRow, tmp_path: Path
) -> None:
    """Broken: the central finding of Li et al. 2018 would not come back: (a) over (b) over after-the-last."""
    backbone = {"backbone": {"widths": [8, 16], "convs": [2, 1], "dense": [16]}, "end": "pool", "dropout": rate}
    means = {}
    for name, words in POSITIONS.items():
        row = make_row(**backbone | words, epochs=3, keep="last")
        run.train(row, 0, digits, tmp_path, lambda _: None)
        normalize, network = inference.load(row, digits, 0, tmp_path / "weights.safetensors")
        images = list(NextEpoch(digits, row, 0, torch.device("cpu")).batches())
        assert isinstance(network, nn.Sequential)
        lines = shift.shifts(network, network, functools.partial(map, normalize, images))
        means[name] = sum(line["shift"] for line in lines) / len(lines)
    assert means["a"] > means["b"] > means["after the last"]


def test_what_a_norm_hands_on_is_told_apart() -> None:
    """Broken: the shift that a norm has of itself would be mixed with what the norms before it hand on."""
    first, second = nn.BatchNorm1d(8), nn.BatchNorm1d(8)
    layers = OrderedDict(first=first, drop=drop("drop", 0.5, 8), second=second)
    network = nn.Sequential(layers).eval()
    assert first.running_var is not None
    first.running_var.fill_(4.0)
    nn.init.ones_(first.bias)

    def inputs() -> Iterator[Tensor]:
        return batches(40, 1, 500, 8)

    _, line = shift.shifts(network, recalibrate.exact(network, inputs), inputs)
    assert [line["ratio"], line["ratio_alone"]] == pytest.approx([0.25, 1.0], rel=0.02)
