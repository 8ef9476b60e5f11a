"""Folded networks give the logits of those that were folded, and say of every norm what became of it."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_words import IC, ORDERS, SMALL, A, B, order
from torch import Tensor, nn

from models import Backbone, Norm, Sentence, build, vocabulary
from pipeline.measures.folding import NORMS, fold

WORDS = [*vocabulary.words(), "act"]
FOLDING = {
    f"conv-valid {rest}" for rest in ("bn act drop pool", "bn act pool drop", "bn drop act pool", "drop bn act pool")
}
"""Those of the ten orders in which only dropout stands between a convolution and its norm."""


def trained(sentence: Sentence, backbone: Backbone = SMALL) -> nn.Sequential:
    """A network in test mode, whose norms have statistics, scales of either sign and shifts, as after training."""
    network = build(backbone, sentence, (2, 16, 16), 3)
    for layer in network:
        if isinstance(layer, NORMS):
            assert isinstance(layer.weight, Tensor) and isinstance(layer.bias, Tensor)
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
    for _ in range(3):
        network(torch.randn(8, 2, 16, 16))
    return network.eval()


def difference(network: nn.Sequential, folded: nn.Sequential, dtype: torch.dtype) -> float:
    """The largest between the logits of two networks, in units of the largest logit where that is over one."""
    images = torch.randn(8, 2, 16, 16, dtype=dtype)
    with torch.inference_mode():
        before, after = network.to(dtype)(images), folded.to(dtype)(images)
    return float((before - after).abs().max() / before.abs().max().clamp(min=1))


@pytest.mark.parametrize("block", ORDERS)
def test_of_the_ten_orders_those_fold_that_can(block: str) -> None:
    """Broken: an order would lose a norm that it needs, or keep one that it does not, or change its logits."""
    network = trained(order(block), Backbone([4, 8], [1, 1], [16]))
    result = fold(network)
    norms = {name for name, layer in network.named_children() if isinstance(layer, NORMS)}
    assert set(result.gone) == (norms if block in FOLDING else set())
    assert set(result.kept) == norms - set(result.gone)
    assert not any(isinstance(layer, nn.Dropout) for layer in result.network)
    assert difference(network, result.network, torch.float32) < 1e-5
    assert difference(network.double(), fold(network.double()).network, torch.float64) < 1e-10


@pytest.mark.parametrize(
    ("sentence", "gone", "kept"),
    [
        (A, 4, {}),
        (B, 4, {}),
        (Sentence("conv drop-classic bn drop-classic act", "pool", "dense drop-classic bn"), 4, {}),
        (Sentence("conv bn bn", "pool", "dense"), 6, {}),
        (Sentence("conv act", "bn pool", "dense bn"), 1, {"block1_bn": "block1_act2 (ReLU)"}),
        (Sentence("conv", "pool bn", "dense"), 0, {"block2_bn": "block2_pool (MaxPool2d)"}),
        (Sentence("bn conv", "pool", "bn dense"), 1, {"block1_bn1": "is the first layer", "head1_bn": "flatten"}),
        (Sentence("conv gn bn", "pool", "dense ln"), 0, {"block1_gn1": "each image", "head1_ln": "each image"}),
        (Sentence("conv in bn", "pool", "dense bn"), 1, {"block2_in1": "each image", "block2_bn1": "block2_in1"}),
        (Sentence("conv act drop-classic bn", "pool", "dense"), 0, {"block1_bn1": "block1_drop-classic1"}),
        (Sentence("conv bn", "pool", "dense bn", norm=Norm(running_stats=False)), 0, {"head1_bn": "no running"}),
        (IC, 0, {"block1_bn1": "block1_act1 (ReLU)", "head1_bn": "head1_act (ReLU)"}),
    ],
)
def test_what_folds_and_why_the_rest_does_not(sentence: Sentence, gone: int, kept: dict[str, str]) -> None:
    """Broken: a reason would be wrong or missing, or norms that can fold would stay because others cannot."""
    sentence = replace(sentence, norm=replace(sentence.norm, groups=2))
    network = trained(sentence)
    result = fold(network)
    assert len(result.gone) == gone
    for name, reason in kept.items():
        assert reason in result.kept[name]
        assert "\n" not in result.kept[name]
    assert difference(network, result.network, torch.float32) < 1e-5


@given(
    st.lists(st.sampled_from(WORDS), max_size=3),
    st.lists(st.sampled_from(WORDS), max_size=4),
    st.lists(st.sampled_from(WORDS), max_size=3),
)
def test_any_sentence_keeps_its_logits(before: Sequence[str], after: Sequence[str], closing: Sequence[str]) -> None:
    """Broken: some arrangement that nobody thought of would be folded wrongly."""
    flat = [word for word in after if word != "in"]
    each, end, head = (" ".join(words) for words in ([*before, "conv", *after], ["pool", *closing], ["dense", *flat]))
    network = trained(Sentence(each, end, head, norm=Norm(groups=2))).double()
    weights = copy.deepcopy(network.state_dict())
    result = fold(network)
    assert difference(network, result.network, torch.float64) < 1e-10
    assert set(result.gone) | set(result.kept) == {
        name for name, layer in network.named_children() if isinstance(layer, NORMS)
    }
    with torch.no_grad():
        for parameter in result.network.parameters():
            parameter.zero_()
    for name, value in network.state_dict().items():
        assert torch.equal(value, weights[name])


def test_a_network_in_training_mode_is_refused() -> None:
    """Broken: constants would take the place of what still depends on the batch."""
    with pytest.raises(ValueError, match="training mode"):
        fold(trained(A).train())


SHRINK = """
from models import Dropout, Word

class Shrink(Dropout):
    def noisy(self, x):
        return x

    def quiet(self, x):
        return x / 2

WORDS = {"shrink": Word(lambda place: Shrink(place.rate), drops=True)}
"""
"""A dropout from outside that is not the identity in test mode."""


def test_layers_of_unknown_kinds_stay(own_words: Callable[..., Path]) -> None:
    """Broken: a layer from outside would be left out, or a norm would be folded through it."""
    own_words(shrink=SHRINK)
    network = trained(Sentence("conv shrink bn act", "pool", "dense act shrink"))
    result = fold(network)
    assert result.gone == []
    assert "block1_shrink1 (Shrink)" in result.kept["block1_bn1"]
    assert difference(network, result.network, torch.float32) < 1e-5
