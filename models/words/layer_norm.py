"""Layer normalization: mean and variance over all channels of one image."""

from torch import nn

from models.place import Place
from models.vocabulary import Word


def layer_norm(place: Place) -> nn.Module:
    """Layer normalization (Ba, Kiros and Hinton 2016, arXiv 1607.06450, section 3): `bn`'s formula over other sets.

    On feature maps it is group normalization with a single group: the statistics are those of the
    paper, over C×H×W, while γ and β are per channel and not per value, which leaves the image size free.

    Raises:
        SentenceError: an image has a single value here.
    """
    place.check_set(place.features * max(1, place.pixels))
    if place.spatial:
        return nn.GroupNorm(1, place.features, eps=place.norm.eps)
    return nn.LayerNorm(place.features, eps=place.norm.eps)


WORDS = {"ln": Word(layer_norm, settings=("eps",))}
