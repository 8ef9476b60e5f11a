"""Sentences, the networks that they make, and their initial weights."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from models import PRESETS, Backbone, Sentence, SentenceError, build, initialize
from models.words.inverted_dropout import InvertedDropout
from pipeline.params.rows import Row
from pipeline.training.module import Classifier
from pipeline.training.streams import generator

SMALL = Backbone([4, 6], [1, 2], [5])


def kinds(network: nn.Sequential) -> list[str]:
    return [type(layer).__name__ for layer in network]


def test_layers_stand_in_the_order_of_the_sentence() -> None:
    """Broken: a row would train another arrangement than the one it names."""
    sentence = Sentence("conv bn act", "drop pool", "dense act drop", dropout=[0.1, 0.2, 0.3])
    network = build(SMALL, sentence, (1, 8, 8), 3)
    block = ["Conv2d", "BatchNorm2d", "ReLU"]
    expected = [
        *block,
        "InvertedDropout",
        "MaxPool2d",
        *block,
        *block,
        "InvertedDropout",
        "MaxPool2d",
        "Flatten",
        "Linear",
        "ReLU",
        "InvertedDropout",
        "Linear",
    ]
    assert kinds(network) == expected
    assert [layer.p for layer in network if isinstance(layer, InvertedDropout)] == [0.1, 0.2, 0.3]


def test_norm_before_the_convolution_has_the_features_before_it() -> None:
    """Broken: arrangements with a norm or dropout before the weights could not be built."""
    network = build(SMALL, Sentence("bn conv act", "pool", "bn dense act"), (3, 8, 8), 3)
    assert [layer.num_features for layer in network if isinstance(layer, nn.BatchNorm2d)] == [3, 4, 6]
    assert [layer.num_features for layer in network if isinstance(layer, nn.BatchNorm1d)] == [6 * 2 * 2]


def test_a_word_may_stand_twice() -> None:
    """Broken: layers of equal names would overwrite each other and vanish."""
    network = build(SMALL, Sentence("conv act drop drop", "pool", "dense"), (1, 8, 8), 3)
    assert kinds(network).count("InvertedDropout") == 6


@pytest.mark.parametrize(
    ("part", "sentence", "words"),
    [
        ("each", {"each": "conv bnn act"}, "»bnn«"),
        ("each", {"each": "bn act"}, "'conv' is needed"),
        ("each", {"each": "conv conv"}, "»conv«: a second convolution"),
        ("end", {"end": "pool act pool"}, "twice"),
        ("each", {"each": "conv pool"}, "belongs in `end`"),
        ("end", {"end": ""}, "'pool' is needed"),
        ("head", {"head": "act drop"}, "'dense' is needed"),
        ("head", {"head": ""}, "give both or neither"),
        ("activation", {"activation": "bn"}, "unknown activation 'bn'"),
        ("dropout", {"head": "dense act drop", "dropout": 1.0}, "[0, 1)"),
        ("dropout", {"head": "dense act drop", "dropout": [0.1, 0.1]}, "2 rates for 1 dropout positions"),
    ],
)
def test_an_impossible_sentence_is_named(part: str, sentence: dict[str, object], words: str) -> None:
    """Broken: a typo would train something else, or end in a traceback."""
    with pytest.raises(SentenceError) as caught:
        build(SMALL, Sentence(**({"each": "conv act", "end": "pool", "head": "dense act"} | sentence)), (1, 8, 8), 3)  # type: ignore[arg-type]
    assert caught.value.part == part
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_smaller_than_the_pools_are_refused() -> None:
    """Broken: a network with an empty feature map would fail inside torch."""
    with pytest.raises(SentenceError, match="32×32 pixels or more"):
        build(PRESETS["vgg11"], Sentence("conv act", "pool", "dense act"), (1, 8, 8), 10)


def test_rows_that_differ_between_weights_start_from_the_same_weights() -> None:
    """Broken: rows of one seed would differ by luck of initialization, and their differences not be paired."""
    networks = []
    for each, head in (("conv act", "dense act"), ("conv bn act drop", "dense bn act drop")):
        network = build(SMALL, Sentence(each, "pool", head), (1, 8, 8), 3)
        initialize(network, "relu", (generator(7, "init", index) for index in range(100)))
        networks.append([layer.weight for layer in network if isinstance(layer, (nn.Conv2d, nn.Linear))])
    for plain, both in zip(*networks, strict=True):
        assert torch.equal(plain, both)


@pytest.mark.parametrize(
    ("activation", "variance"),
    [
        *((name, 2 / 576) for name in ("relu", "elu", "gelu", "silu")),
        *((name, 2 / (576 + 576)) for name in ("sigmoid", "tanh")),
        ("selu", 1 / 576),
    ],
)
def test_initial_variance_is_that_of_the_papers(activation: str, variance: float) -> None:
    """Broken: deep networks would start with vanishing or exploding activations."""
    network = build(Backbone([64, 64], [1, 1], []), Sentence("conv act", "pool", "", activation), (64, 8, 8), 3)
    initialize(network, activation, (generator(0, "init", index) for index in range(100)))
    weight = network.get_submodule("block2_conv1").weight
    assert isinstance(weight, torch.Tensor)
    # 36,864 draws: the sample variance deviates by 0.7 % for a normal; five such deviations.
    assert weight.var().item() == pytest.approx(variance, rel=0.037)


DRAWN = """
import torch
from torch import nn
from models import Word

class Drawn(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features))

WORDS = {"drawn": Word(lambda place: Drawn(place.features))}
"""


def test_layers_that_draw_their_own_parameters_are_seeded(
    make_row: Callable[..., Row], data: Path, own_words: Callable[..., Path]
) -> None:
    """Broken: a row with a layer of one's own would train to other bytes each time."""
    own_words(drawn=DRAWN)
    row = make_row(each="conv drawn act")
    drawn = [Classifier(row, data, seed).network.get_parameter("block1_drawn1.weight") for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_the_command_prints_layers_and_counts() -> None:
    """Broken: nobody could see what a sentence means before training it."""
    command = [
        sys.executable,
        "-m",
        "pipeline.network",
        "each: conv bn act, end: pool drop, head: dense act drop",
        "--dropout",
        "0.25",
    ]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "591,658" in shown
    assert "Dropout(0.25)" in shown
    wrong = subprocess.run([*command[:3], "each: conv bnn"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert wrong.stderr.count("\n") == 1
