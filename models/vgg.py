"""A VGG-style backbone (Simonyan and Zisserman 2015, arXiv 1409.1556) spoken by a sentence.

Blocks of 3×3 convolutions, each block closed by a 2×2 max pool, then dense layers and a linear classifier. The
backbone decides how many and how wide; the sentence decides which layers stand around them and in which order.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from models.place import Place, SentenceError
from models.sentence import Sentence
from models.shapes import CONVS, SHAPES


@dataclass(frozen=True)
class Backbone:
    """Depth and widths.

    Args:
        widths: channels of each block.
        convs: convolutions of each block; as many as widths.
        dense: features of each hidden dense layer; empty for none.
    """

    widths: list[int]
    convs: list[int]
    dense: list[int]

    def check(self, sentence: Sentence) -> None:
        """Whether a sentence can be spoken by this backbone, whatever the images.

        Raises:
            SentenceError: lists of different lengths, a head without dense layers or the reverse,
                dropout rates that do not fit the positions, or a layer that cannot stand at its place.
        """
        # Images of a shape that no layer can object to: enough pixels, and any groups divide their channels.
        side, groups = self.least_side(sentence, 2), sentence.norm.groups
        for word, place, _ in _walk(self, sentence, (groups, groups * side, side), classes=1):
            if word not in SHAPES:
                sentence.meaning(word).layer(place)

    def least_side(self, sentence: Sentence, last: int = 1) -> int:
        """Pixels that the shorter side of an image needs so that `last` are left behind the last block."""
        side = last
        for convs in reversed(self.convs):
            for shape in [SHAPES[word] for _, _, word in sentence.of_block(convs) if word in SHAPES][::-1]:
                side = side * shape.by + shape.cut
        return side

    def _check_lists(self, sentence: Sentence) -> None:
        if len(self.widths) != len(self.convs):
            raise SentenceError(
                "backbone", f"{len(self.widths)} widths but {len(self.convs)} convs; one of each per block"
            )
        if block := sentence.words("block"):
            found = sum(word in CONVS for word in block)
            if other := [convs for convs in self.convs if convs != found]:
                raise SentenceError(
                    "block", f"{found} convolutions, but {other[0]} in the backbone's convs {self.convs}"
                )
        if bool(self.dense) != bool(sentence.words("head")):
            raise SentenceError("head", "a head and the backbone's dense widths go together: give both or neither")

    def rates(self, sentence: Sentence) -> list[float]:
        """The dropout rate of every dropout position, in network order.

        Raises:
            SentenceError: lists that do not fit each other, the head or the positions.
        """
        self._check_lists(sentence)
        return sentence.rates(sum(self.convs), len(self.convs), len(self.dense))


# vgg2 is the two-block network of the article that the study `vgg2` rereads. vgg11 and vgg16 are
# configurations A and D of the VGG paper in the form usual for 32×32 images: one hidden dense layer
# of 512 features in place of two of 4096.
PRESETS = {
    "vgg2": Backbone([32, 64], [2, 2], [128]),
    "vgg11": Backbone([64, 128, 256, 512, 512], [1, 1, 2, 2, 2], [512]),
    "vgg16": Backbone([64, 128, 256, 512, 512], [2, 2, 3, 3, 3], [512]),
}


def build(backbone: Backbone, sentence: Sentence, image: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Builds the network of a sentence.

    Args:
        backbone: widths and depth.
        sentence: which layers, in which order.
        image: shape C×H×W of one input image, H and W in pixels.
        classes: how many classes, the features of the output.

    Returns:
        A network from N×C×H×W float images to N×classes logits. Its layers are named after their
        place and word, such as `block1_conv2` or `head1_drop`. Weights are not yet initialized by
        `initialize`.

    Raises:
        SentenceError: rates or head do not fit the backbone, the image is too small for it, or a layer
            cannot stand at its place.
    """
    _, height, width = image
    if min(height, width) < (side := backbone.least_side(sentence)):
        raise SentenceError("backbone", f"its blocks need images of {side}×{side} pixels or more, not {height}×{width}")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for word, place, after in _walk(backbone, sentence, image, classes):
        shape = SHAPES.get(word)
        layer = shape.layer(place.features, after) if shape else sentence.meaning(word).layer(place)
        if layer is not None:
            layers[place.name] = layer
    return nn.Sequential(layers)


class _Step(NamedTuple):
    """One word of a network, `after` being the features behind it."""

    word: str
    place: Place
    after: int


def _walk(backbone: Backbone, sentence: Sentence, image: tuple[int, int, int], classes: int) -> Iterator[_Step]:
    """Every word in network order."""
    rates = iter(backbone.rates(sentence))
    features, height, width = image
    for part, name, word, wide in _said(backbone, sentence, classes):
        rate = next(rates) if sentence.drops(word) else 0.0
        place = Place(part, name, features, height * width, rate, sentence.norm)
        if word == "flatten":
            features, height, width = features * height * width, 0, 0
        elif shape := SHAPES.get(word):
            features = features if word == "pool" else wide
            height, width = ((side - shape.cut) // shape.by for side in (height, width))
        yield _Step(word, place, features)


def _said(backbone: Backbone, sentence: Sentence, classes: int) -> Iterator[tuple[str, str, str, int]]:
    """Every word in network order: its part, the name of its layer, the word, and how wide weights are there."""
    for number, (features, convs) in enumerate(zip(backbone.widths, backbone.convs, strict=True), 1):
        yield from _named(f"block{number}", sentence.of_block(convs), features)
    yield "backbone", "flatten", "flatten", 0
    for number, features in enumerate(backbone.dense, 1):
        yield from _named(f"head{number}", (("head", "", word) for word in sentence.words("head")), features)
    yield "backbone", "classifier", "classifier", classes


def _named(where: str, said: Iterable[tuple[str, str, str]], wide: int) -> Iterator[tuple[str, str, str, int]]:
    """The words of one block or dense layer. One that stands there twice is numbered from its second time on."""
    seen: Counter[tuple[str, str]] = Counter()
    for part, number, word in said:
        seen[word, number] += 1
        again = f"_{seen[word, number]}" if seen[word, number] > 1 else ""
        yield part, f"{where}_{word}{number}{again}", word, wide


def initialize(network: nn.Sequential, activation: str, generators: Iterator[torch.Generator]) -> None:
    """Draws all weights of the convolutions and dense layers anew; biases become zero.

    By the activation that follows:

    - sigmoid and tanh: Glorot and Bengio 2010 (equation 16), uniform with variance 2 / (fan_in + fan_out);
    - selu: LeCun normal, variance 1 / fan_in, under which SELU keeps mean 0 and variance 1 from layer to
      layer (Klambauer et al. 2017, arXiv 1706.02515);
    - all others, being like ReLU: He et al. 2015 (arXiv 1502.01852, equation 10), normal with variance
      2 / fan_in.

    The classifier always takes Glorot's: no activation follows it. Normalization layers keep torch's
    start, scale one and shift zero.

    Args:
        network: as `build` returns it.
        activation: the sentence's activation.
        generators: one per weight layer, in order. So two networks that differ only in what stands
            between their weights start from the same weights, which is what pairs their runs.
    """
    weighted = [layer for layer in network if isinstance(layer, (nn.Conv2d, nn.Linear))]
    for layer, generator in zip(weighted, generators, strict=False):
        if activation in ("sigmoid", "tanh") or layer is weighted[-1]:
            nn.init.xavier_uniform_(layer.weight, generator=generator)
        else:
            follows = "linear" if activation == "selu" else "relu"
            nn.init.kaiming_normal_(layer.weight, nonlinearity=follows, generator=generator)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
