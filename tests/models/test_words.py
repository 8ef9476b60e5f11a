"""Sentences that the literature argues about, and what the words refuse."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from models import PRESETS, Backbone, Norm, Sentence, SentenceError, build, vocabulary
from models.shapes import CONVS, SHAPES
from models.words.gaussian_dropout import GaussianDropout
from models.words.inverted_dropout import InvertedDropout
from models.words.uniform_dropout import UniformDropout
from pipeline.network import show
from pipeline.params.reading import read_params
from pipeline.params.rows import Row

# The ten orders of a block of "Ordering of batch normalization and dropout?" (Stack Overflow), which is Keras' code:
# its convolutions are without padding where none is asked for.
ORDERS = [
    "conv-valid act drop bn pool",
    "conv-valid act drop pool bn",
    "conv-valid act bn pool drop",
    "conv-valid act bn drop pool",
    "conv-valid bn act drop pool",
    "conv-valid bn act pool drop",
    "conv-valid bn drop act pool",
    "conv-valid drop act bn pool",
    "conv-valid drop act pool bn",
    "conv-valid drop bn act pool",
]
IC = Sentence("act bn drop conv", "pool", "act bn drop dense")  # Chen et al. 2019, arXiv 1905.05928
# The positions of Li et al. 2018 (arXiv 1801.05134).
A = Sentence("conv drop bn act", "pool", "dense drop bn act")
B = Sentence("conv bn act drop", "pool", "dense bn act")
AFTER_LAST = Sentence("conv bn act", "pool", "dense bn act drop")

ROWS = read_params().rows
IMAGES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
NORM_WORDS = ("bn", "ln", "in", "gn")


def shape(row: Row) -> tuple[int, int, int]:
    """Of the images that a row trains on."""
    return IMAGES[row.dataset.split("-")[0]]


NETWORKS = {repr((row.network(), shape(row))): name for name, row in ROWS.items()}
"""A row for each network: many differ in how they train alone."""

CLASSES = {
    "conv": nn.Conv2d,
    "conv-valid": nn.Conv2d,
    "pool": nn.MaxPool2d,
    "dense": nn.Linear,
    "act": (nn.ReLU, nn.ELU, nn.GELU, nn.SiLU, nn.SELU, nn.Sigmoid, nn.Tanh),
    "bn": (nn.BatchNorm1d, nn.BatchNorm2d),
    "ln": (nn.GroupNorm, nn.LayerNorm),
    "in": nn.InstanceNorm2d,
    "gn": nn.GroupNorm,
    "drop": InvertedDropout,
    "gauss": GaussianDropout,
    "uout": UniformDropout,
}
WEIGHTS = (nn.Conv2d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
SMALL = Backbone([4, 8], [2, 1], [16])


def order(block: str) -> Sentence:
    """An order of a block in a network of one convolution per block, with the notes' activation and rates."""
    each, _, end = block.partition("pool")
    return Sentence(each, f"pool{end}", "dense act", "elu", [0.2, 0.3])


def spoken(sentence: Sentence, backbone: Backbone) -> list[str]:
    """All words of a network in order; where the sentence says nothing, `flatten` and `classifier`."""
    words = []
    for convs in backbone.convs:
        words += sentence.block.split() or sentence.each.split() * convs + sentence.end.split()
    return [*words, "flatten", *sentence.head.split() * len(backbone.dense), "classifier"]


def check_layers(network: nn.Sequential, sentence: Sentence, backbone: Backbone) -> None:
    """Whether the layers are those of the sentence, none missing and none besides."""
    words = [word for word in spoken(sentence, backbone) if word != "none"]
    assert len(network) == len(words)
    for word, layer in zip(words, network, strict=True):
        assert isinstance(layer, {"flatten": nn.Flatten, "classifier": nn.Linear, **CLASSES}[word])


@pytest.mark.parametrize("block", ORDERS)
def test_the_ten_orders_are_sentences(block: str) -> None:
    """Broken: a row of the study `order` would train another order than its name says."""
    backbone = Backbone([32, 64], [1, 1], [512])
    network = build(backbone, order(block), (1, 28, 28), 10)
    check_layers(network, order(block), backbone)
    assert [layer.p for layer in network if isinstance(layer, InvertedDropout)] == [0.2, 0.3]
    assert [layer.in_features for layer in network if isinstance(layer, nn.Linear)] == [1_600, 512]
    # 320 + 18,496 of the convolutions, 192 of the norms, 819,712 + 5,130 of the dense layers
    assert sum(parameter.numel() for parameter in network.parameters()) == 843_850
    network(torch.randn(2, 1, 28, 28)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_convolutional_example_of_keras_is_a_sentence() -> None:
    """Broken: the network from which many comparisons start, whose convolutions are not alike, could not be said."""
    said = Sentence(block="conv act conv-valid act pool drop", head="dense act drop", dropout=[0.25, 0.25, 0.5])
    backbone = Backbone([32, 64], [2, 2], [512])
    network = build(backbone, said, (3, 32, 32), 10)
    check_layers(network, said, backbone)
    # 896 + 9,248 + 18,496 + 36,928 of the convolutions, 1,180,160 + 5,130 of the dense layers; as Keras counts them
    assert (
        sum(parameter.numel() for parameter in network.parameters())
        == weights(said, backbone, (3, 32, 32))
        == 1_250_858
    )
    assert [layer.p for layer in network if isinstance(layer, InvertedDropout)] == [0.25, 0.25, 0.5]
    network(torch.randn(2, 3, 32, 32)).sum().backward()


def test_a_block_says_what_each_and_end_say() -> None:
    """Broken: the same network would have other layers, rates or names, so that a row's way of saying it counts."""
    rates = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    short = Sentence("conv bn drop act", "pool drop gn", "dense drop", dropout=rates, norm=Norm(groups=2))
    long = Sentence(
        block="conv bn drop act conv bn drop act pool drop gn", head="dense drop", dropout=rates, norm=Norm(groups=2)
    )
    backbone = Backbone([4, 8], [2, 2], [16])
    one, other = (list(build(backbone, said, (1, 16, 16), 3).named_children()) for said in (short, long))
    assert [(name, repr(layer)) for name, layer in one] == [(name, repr(layer)) for name, layer in other]


@pytest.mark.parametrize(
    ("part", "sentence", "words"),
    [
        ("block", {"block": "conv pool", "each": "conv"}, "write either it or these two"),
        ("block", {"block": "act pool"}, "'conv' is needed in `block`"),
        ("block", {"block": "conv act"}, "'pool' is needed in `block`"),
        ("block", {"block": "conv pool conv pool"}, "twice"),
        ("block", {"block": "conv dense pool"}, "'dense' belongs in `head`"),
        ("block", {"block": "conv conv act pool"}, "2 convolutions, but 1 in the backbone's convs [1, 2]"),
        ("each", {"each": "conv conv-valid", "end": "pool"}, "a second convolution; `block` spells"),
        ("each", {}, "'conv' is needed in `each`"),
    ],
)
def test_an_impossible_block_is_named(part: str, sentence: dict[str, str], words: str) -> None:
    """Broken: a typo would train something else, or end in a traceback."""
    with pytest.raises(SentenceError) as caught:
        Backbone([4, 8], [1, 2], []).check(Sentence(**sentence))  # type: ignore[arg-type]
    assert caught.value.part == part
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sentence", "side"),
    [
        (Sentence("conv", "pool"), 4),
        (Sentence("conv-valid", "pool"), 2 * (2 + 2) + 2),
        (Sentence(block="conv-valid conv-valid pool"), 2 * (2 + 4) + 4),
        (Sentence(block="conv pool conv-valid"), 2 * (2 * (1 + 2) + 2)),
    ],
)
def test_the_smallest_image_is_the_smallest_that_can_be_built(sentence: Sentence, side: int) -> None:
    """Broken: images would be refused that fit, or an empty feature map would fail inside torch."""
    convs = sum(word in CONVS for word in sentence.block.split()) or 1
    backbone = Backbone([2, 2], [convs, convs], [])
    network = build(backbone, sentence, (1, side + 3, side), 3)
    assert network(torch.zeros(2, 1, side + 3, side)).shape == (2, 3)
    with pytest.raises(SentenceError, match=f"{side}×{side} pixels or more, not {side + 3}×{side - 1}"):
        build(backbone, sentence, (1, side + 3, side - 1), 3)


@pytest.mark.parametrize("sentence", [IC, A, B, AFTER_LAST], ids=["ic", "a", "b", "after-last"])
def test_published_positions_are_sentences(sentence: Sentence) -> None:
    """Broken: layers of a published arrangement would be missing, or stand elsewhere."""
    network = build(SMALL, sentence, (1, 16, 16), 3)
    check_layers(network, sentence, SMALL)
    network(torch.randn(2, 1, 16, 16)).sum().backward()


@pytest.mark.parametrize("name", NETWORKS.values())
def test_rows_train_and_have_the_layers_of_their_sentence(name: str) -> None:
    """Broken: a row of params.yaml would fail after hours, or compare something else than it says."""
    backbone, sentence = ROWS[name].network()
    image = shape(ROWS[name])
    network = build(backbone, sentence, image, 10)
    check_layers(network, sentence, backbone)
    assert sum(parameter.numel() for parameter in network.parameters()) == weights(sentence, backbone, image)
    network(torch.randn(2, *image)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())
    network.eval()
    images = torch.randn(3, *image)
    with torch.inference_mode():  # in test mode no draw, and no company, changes a prediction
        torch.testing.assert_close(network(images)[:1], network(images[:1]), rtol=1e-4, atol=1e-4)


def weights(sentence: Sentence, backbone: Backbone, image: tuple[int, int, int]) -> int:
    """The number of parameters, counted from the words."""
    total, (features, height, width) = 0, image
    for channels, convs in zip(backbone.widths, backbone.convs, strict=True):
        for word in sentence.words("block") or sentence.words("each") * convs + sentence.words("end"):
            if word in CONVS:
                total, features = total + (9 * features + 1) * channels, channels
            if word in SHAPES:
                height, width = (
                    (side - 2 * (word == "conv-valid")) // (1 + (word == "pool")) for side in (height, width)
                )
            total += 2 * features * (word in NORM_WORDS)
    features *= height * width
    for dense in backbone.dense:
        for word in sentence.words("head"):
            if word == "dense":
                total, features = total + (features + 1) * dense, dense
            total += 2 * features * (word in NORM_WORDS)
    return total + (features + 1) * 10


def test_published_positions_are_what_their_papers_describe() -> None:
    """Broken: the sentences above would be called (a), (b), after-last and IC without being it."""
    a, b, last, ic = (list(build(SMALL, sentence, (1, 16, 16), 3)) for sentence in (A, B, AFTER_LAST, IC))
    assert all(isinstance(after, NORMS) for layer, after in pairwise(a) if isinstance(layer, InvertedDropout))
    for index in [index for index, layer in enumerate(b) if isinstance(layer, InvertedDropout)]:
        norm = next(place for place in range(index, len(b)) if isinstance(b[place], NORMS))
        assert sum(isinstance(layer, WEIGHTS) for layer in b[index:norm]) == 1
    first_drop = next(index for index, layer in enumerate(last) if isinstance(layer, InvertedDropout))
    assert not any(isinstance(layer, NORMS) for layer in last[first_drop:])
    for index, layer in enumerate(ic[:-1]):
        if isinstance(layer, WEIGHTS):
            kinds = (nn.ReLU, (nn.BatchNorm1d, nn.BatchNorm2d), InvertedDropout)
            assert all(map(isinstance, ic[index - 3 : index], kinds))


def test_none_stands_for_nothing() -> None:
    """Broken: a study that varies one word could not leave it out."""
    with_none = build(SMALL, Sentence("conv none act", "pool none", "none dense act"), (1, 16, 16), 3)
    without = build(SMALL, Sentence("conv act", "pool", "dense act"), (1, 16, 16), 3)
    assert [name for name, _ in with_none.named_children()] == [name for name, _ in without.named_children()]


def test_settings_reach_every_norm() -> None:
    """Broken: a row's `norm` would be a comment."""
    norm = Norm(momentum=0.5, eps=0.01, running_stats=False, groups=2)
    network = build(SMALL, Sentence("bn ln in gn conv", "pool", "bn ln gn dense", norm=norm), (2, 16, 16), 3)
    layers = [layer for layer in network if hasattr(layer, "eps")]
    assert len(layers) == 3 * 4 + 3
    assert {layer.eps for layer in layers} == {0.01}
    batch_norms = [layer for layer in layers if isinstance(layer, NORMS)]
    assert {(layer.momentum, layer.track_running_stats) for layer in batch_norms} == {(0.5, False)}
    groups = [layer.num_groups for layer in layers if isinstance(layer, nn.GroupNorm)]
    assert groups == [1, 2] * 3 + [2]


@pytest.mark.parametrize(
    ("part", "sentence", "words"),
    [
        ("head", Sentence("conv act", "pool", "dense in act"), "head1_in: instance normalization needs pixels"),
        (
            "norm.groups",
            Sentence("conv gn act", "pool", "dense", norm=Norm(groups=3)),
            "3 groups do not divide the 4 features of block1_gn1",
        ),
        (
            "head",
            Sentence("conv", "pool", "dense gn", norm=Norm(groups=16)),
            "head1_gn: it would normalize single values",
        ),
    ],
)
def test_norms_refuse_places_where_they_have_no_meaning(part: str, sentence: Sentence, words: str) -> None:
    """Broken: a row would fail inside torch after others have trained, or train on zeros."""
    with pytest.raises(SentenceError) as caught:
        SMALL.check(sentence)
    assert caught.value.part == part
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("end", ["pool in", "pool ln", "pool gn"])
def test_norms_refuse_single_values(end: str) -> None:
    """Broken: a norm behind the last pool of small images would make all of them zero, or fail inside torch."""
    backbone, sentence = Backbone([1, 1], [1, 1], []), Sentence("conv", end, norm=Norm(groups=1))
    backbone.check(sentence)  # it depends on the images
    with pytest.raises(SentenceError, match=r"block2_.*single values"):
        build(backbone, sentence, (1, 4, 4), 3)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("word", [word for word in vocabulary.words() if word != "in"])
def test_every_word_may_stand_anywhere(word: str, preset: str) -> None:
    """Broken: the check of a plan would refuse sentences that can be built, or the default groups fit no preset."""
    sentence = Sentence(f"conv {word}", f"pool {word}", f"dense {word}")
    PRESETS[preset].check(sentence)


def test_a_network_without_running_statistics_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: `python -m pipeline.network` would end in a traceback, since such a norm refuses a single flat image."""
    sentence = Sentence("conv bn", "pool", "dense bn", norm=Norm(running_stats=False))
    show(build(SMALL, sentence, (1, 16, 16), 3), (1, 16, 16))
    assert "BatchNorm1d" in capsys.readouterr().out
