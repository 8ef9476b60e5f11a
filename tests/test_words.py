"""Sentences that the literature argues about, what the words refuse, and words from outside the package."""

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from models import PRESETS, WORDS, Backbone, Norm, Sentence, SentenceError, build, dropout
from models.__main__ import show
from pipeline.config import Row, read_params

# The ten orders of a block of "Ordering of batch normalization and dropout?" (Stack Overflow).
ORDERS = [
    "conv act drop bn pool",
    "conv act drop pool bn",
    "conv act bn pool drop",
    "conv act bn drop pool",
    "conv bn act drop pool",
    "conv bn act pool drop",
    "conv bn drop act pool",
    "conv drop act bn pool",
    "conv drop act pool bn",
    "conv drop bn act pool",
]
IC = Sentence("act bn drop conv", "pool", "act bn drop dense")  # Chen et al. 2019, arXiv 1905.05928
# The positions of Li et al. 2018 (arXiv 1801.05134).
A = Sentence("conv drop bn act", "pool", "dense drop bn act")
B = Sentence("conv bn act drop", "pool", "dense bn act")
AFTER_LAST = Sentence("conv bn act", "pool", "dense bn act drop")

ROWS = read_params().rows
SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
NORM_WORDS = ("bn", "ln", "in", "gn")

CLASSES = {
    "conv": nn.Conv2d,
    "pool": nn.MaxPool2d,
    "dense": nn.Linear,
    "act": (nn.ReLU, nn.ELU, nn.GELU, nn.SiLU, nn.SELU, nn.Sigmoid, nn.Tanh),
    "bn": (nn.BatchNorm1d, nn.BatchNorm2d),
    "ln": (nn.GroupNorm, nn.LayerNorm),
    "in": nn.InstanceNorm2d,
    "gn": nn.GroupNorm,
    "drop": dropout.InvertedDropout,
    "gauss": dropout.GaussianDropout,
    "uout": dropout.UniformDropout,
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
        words += sentence.each.split() * convs + sentence.end.split()
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
    assert [layer.p for layer in network if isinstance(layer, dropout.InvertedDropout)] == [0.2, 0.3]
    # 320 + 18,496 of the convolutions, 192 of the norms, 1,606,144 + 5,130 of the dense layers
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_630_282
    network(torch.randn(2, 1, 28, 28)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("sentence", [IC, A, B, AFTER_LAST], ids=["ic", "a", "b", "after-last"])
def test_published_positions_are_sentences(sentence: Sentence) -> None:
    """Broken: layers of a published arrangement would be missing, or stand elsewhere."""
    network = build(SMALL, sentence, (1, 16, 16), 3)
    check_layers(network, sentence, SMALL)
    network(torch.randn(2, 1, 16, 16)).sum().backward()


@pytest.mark.parametrize("name", ROWS)
def test_rows_train_and_have_the_layers_of_their_sentence(name: str) -> None:
    """Broken: a row of params.yaml would fail after hours, or compare something else than it says."""
    backbone, sentence = ROWS[name].network()
    image = SHAPES[ROWS[name].dataset.split("-")[0]]
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
        for words, times in ((sentence.words("each"), convs), (sentence.words("end"), 1)):
            for word in words * times:
                if word == "conv":
                    total, features = total + (9 * features + 1) * channels, channels
                total += 2 * features * (word in NORM_WORDS)
        height, width = height // 2, width // 2
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
    assert all(isinstance(after, NORMS) for layer, after in pairwise(a) if isinstance(layer, dropout.InvertedDropout))
    for index in [index for index, layer in enumerate(b) if isinstance(layer, dropout.InvertedDropout)]:
        norm = next(place for place in range(index, len(b)) if isinstance(b[place], NORMS))
        assert sum(isinstance(layer, WEIGHTS) for layer in b[index:norm]) == 1
    first_drop = next(index for index, layer in enumerate(last) if isinstance(layer, dropout.InvertedDropout))
    assert not any(isinstance(layer, NORMS) for layer in last[first_drop:])
    for index, layer in enumerate(ic[:-1]):
        if isinstance(layer, WEIGHTS):
            kinds = (nn.ReLU, (nn.BatchNorm1d, nn.BatchNorm2d), dropout.InvertedDropout)
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
@pytest.mark.parametrize("word", [word for word in WORDS if word != "in"])
def test_every_word_may_stand_anywhere(word: str, preset: str) -> None:
    """Broken: the check of a plan would refuse sentences that can be built, or the default groups fit no preset."""
    sentence = Sentence(f"conv {word}", f"pool {word}", f"dense {word}")
    PRESETS[preset].check(sentence)


def test_a_network_without_running_statistics_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: `python -m models` would end in a traceback, since such a norm refuses a single flat image."""
    sentence = Sentence("conv bn", "pool", "dense bn", norm=Norm(running_stats=False))
    show(build(SMALL, sentence, (1, 16, 16), 3), (1, 16, 16))
    assert "BatchNorm1d" in capsys.readouterr().out


def test_the_readmes_layer_from_outside_builds_and_trains(
    make_row: Callable[..., Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a kind of layer would need more than the one class and the one line that the README shows."""
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    example = next(code for code in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "WORDS[" in code)
    monkeypatch.setitem(WORDS, "jitter", WORDS["none"])  # so that the word is forgotten after the test
    exec(example, {})
    backbone, sentence = make_row(each="conv jitter act", head="dense jitter act", dropout=0.25).network()
    backbone.check(sentence)
    network = build(backbone, sentence, (1, 8, 8), 3)
    assert sum(type(layer).__name__ == "Jitter" for layer in network) == 3
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    images, labels = torch.randn(12, 1, 8, 8), torch.arange(12) % 3
    assert not torch.equal(network(images), network(images))
    losses = [nn.functional.cross_entropy(network.eval()(images), labels).item()]
    for _ in range(50):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network.train()(images), labels).backward()
        optimizer.step()
    losses.append(nn.functional.cross_entropy(network.eval()(images), labels).item())
    assert losses[1] < losses[0]
