"""A VGG-style backbone (Simonyan and Zisserman 2015, arXiv 1409.1556) spoken by a sentence.

Blocks of 3×3 convolutions with padding 1, each block closed by a 2×2 max pool, then dense layers
and a linear classifier. The backbone decides how many and how wide; the sentence decides which
layers stand around them and in which order.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from models.sentence import WORDS, Place, Sentence, SentenceError


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
            SentenceError: lists of different lengths, a head without dense layers or the reverse, or
                dropout rates that do not fit the positions.
        """
        if len(self.widths) != len(self.convs):
            raise SentenceError(
                "backbone", f"{len(self.widths)} widths but {len(self.convs)} convs; one of each per block"
            )
        if bool(self.dense) != bool(sentence.words("head")):
            raise SentenceError("head", "a head and the backbone's dense widths go together: give both or neither")
        self.rates(sentence)

    def rates(self, sentence: Sentence) -> list[float]:
        """The dropout rate of every dropout position, in network order."""
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
        SentenceError: rates or head do not fit the backbone, or the image is too small for it.
    """
    backbone.check(sentence)
    channels, height, width = image
    shrink = 2 ** len(backbone.widths)
    if min(height, width) < shrink:
        raise SentenceError(
            "backbone",
            f"{len(backbone.widths)} pools need images of {shrink}×{shrink} pixels or more, not {height}×{width}",
        )
    rates = iter(backbone.rates(sentence))
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (features, convs) in enumerate(zip(backbone.widths, backbone.convs, strict=True), 1):
        for conv in range(1, convs + 1):
            shape = nn.Conv2d(channels, features, kernel_size=3, padding=1)
            layers.update(_say(sentence, "each", f"block{number}", str(conv), shape, (channels, features), rates))
            channels = features
        pool = nn.MaxPool2d(2)
        layers.update(_say(sentence, "end", f"block{number}", "", pool, (channels, channels), rates))
    layers["flatten"] = nn.Flatten()
    features = channels * (height // shrink) * (width // shrink)
    for number, dense in enumerate(backbone.dense, 1):
        shape = nn.Linear(features, dense)
        layers.update(_say(sentence, "head", f"head{number}", "", shape, (features, dense), rates))
        features = dense
    layers["classifier"] = nn.Linear(features, classes)
    return nn.Sequential(layers)


def _say(
    sentence: Sentence,
    part: str,
    place: str,
    suffix: str,
    shape: nn.Module,
    features: tuple[int, int],
    rates: Iterator[float],
) -> Iterator[tuple[str, nn.Module]]:
    """The named layers of one part, `shape` standing where its shape word does.

    `features` are those before and after the shape word. A word that stands twice is numbered from
    its second time on.
    """
    before, after = features
    seen: dict[str, int] = {}
    current = before
    for word in sentence.words(part):
        seen[word] = seen.get(word, 0) + 1
        again = f"_{seen[word]}" if seen[word] > 1 else ""
        name = f"{place}_{word}{suffix}{again}"
        if word in WORDS:
            rate = next(rates) if WORDS[word].drops else 0.0
            yield name, WORDS[word].layer(Place(current, part != "head", sentence.activation, rate))
        else:
            yield name, shape
            current = after


def initialize(network: nn.Sequential, activation: str, generators: Iterator[torch.Generator]) -> None:
    """Draws all weights of the convolutions and dense layers anew; biases become zero.

    Layers that a ReLU-like activation follows take He et al. 2015 (arXiv 1502.01852, equation 10):
    normal with variance 2 / fan_in. Sigmoid and tanh take Glorot and Bengio 2010 (equation 16),
    as the classifier always does: no activation follows it. Normalization layers keep torch's start,
    scale one and shift zero.

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
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
