"""A VGG-style backbone (Simonyan and Zisserman 2015, arXiv 1409.1556) spoken by a sentence.

Blocks of 3×3 convolutions with padding 1, each block closed by a 2×2 max pool, then dense layers
and a linear classifier. The backbone decides how many and how wide; the sentence decides which
layers stand around them and in which order.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from models.place import Place, SentenceError
from models.sentence import WORDS, Sentence


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
        side, groups = 2 * 2 ** len(self.widths), sentence.norm.groups
        for word, place, _ in _walk(self, sentence, (groups, groups * side, side), classes=1):
            if word in WORDS:
                WORDS[word].layer(place)

    def _check_lists(self, sentence: Sentence) -> None:
        if len(self.widths) != len(self.convs):
            raise SentenceError(
                "backbone", f"{len(self.widths)} widths but {len(self.convs)} convs; one of each per block"
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
    shrink = 2 ** len(backbone.widths)
    if min(height, width) < shrink:
        raise SentenceError(
            "backbone",
            f"{len(backbone.widths)} pools need images of {shrink}×{shrink} pixels or more, not {height}×{width}",
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for word, place, after in _walk(backbone, sentence, image, classes):
        layer = WORDS[word].layer(place) if word in WORDS else SHAPES[word](place.features, after)
        if layer is not None:
            layers[place.name] = layer
    return nn.Sequential(layers)


# The layers that give a network its shape, of the features before and after them.
SHAPES: dict[str, Callable[[int, int], nn.Module]] = {
    "conv": lambda before, after: nn.Conv2d(before, after, kernel_size=3, padding=1),
    "pool": lambda before, after: nn.MaxPool2d(2),
    "flatten": lambda before, after: nn.Flatten(),
    "dense": nn.Linear,
    "classifier": nn.Linear,
}


class _Step(NamedTuple):
    """One word of a network, `after` being the features behind it."""

    word: str
    place: Place
    after: int


def _walk(backbone: Backbone, sentence: Sentence, image: tuple[int, int, int], classes: int) -> Iterator[_Step]:
    """Every word in network order."""
    rates = iter(backbone.rates(sentence))
    channels, height, width = image
    for number, (features, convs) in enumerate(zip(backbone.widths, backbone.convs, strict=True), 1):
        for conv in range(1, convs + 1):
            here, there = (channels, height * width), (features, height * width)
            yield from _say(sentence, "each", f"block{number}", str(conv), here, there, rates)
            channels = features
        here, (height, width) = (channels, height * width), (height // 2, width // 2)
        yield from _say(sentence, "end", f"block{number}", "", here, (channels, height * width), rates)
    features = channels * height * width
    yield _fixed(sentence, "flatten", (channels, height * width), features)
    for number, dense in enumerate(backbone.dense, 1):
        yield from _say(sentence, "head", f"head{number}", "", (features, 0), (dense, 0), rates)
        features = dense
    yield _fixed(sentence, "classifier", (features, 0), classes)


def _fixed(sentence: Sentence, word: str, here: tuple[int, int], after: int) -> _Step:
    """A step that no sentence says."""
    return _Step(word, Place("backbone", word, *here, sentence.activation, 0.0, sentence.norm), after)


def _say(
    sentence: Sentence,
    part: str,
    where: str,
    suffix: str,
    here: tuple[int, int],
    there: tuple[int, int],
    rates: Iterator[float],
) -> Iterator[_Step]:
    """The steps of one part, with features and pixels `here` before its shape word and `there` behind it.

    A word that stands twice is numbered from its second time on.
    """
    seen: dict[str, int] = {}
    for word in sentence.words(part):
        seen[word] = seen.get(word, 0) + 1
        again = f"_{seen[word]}" if seen[word] > 1 else ""
        rate = next(rates) if word in WORDS and WORDS[word].drops else 0.0
        name = f"{where}_{word}{suffix}{again}"
        after = here if word in WORDS else there
        yield _Step(word, Place(part, name, *here, sentence.activation, rate, sentence.norm), after[0])
        here = after


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
