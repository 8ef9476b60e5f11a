"""Dropout of whole channels, also called spatial dropout."""

from torch import nn

from models.place import Place
from models.vocabulary import Word
from models.words.inverted_dropout import InvertedDropout


def channel_dropout(place: Place) -> nn.Module:
    """Inverted dropout of whole channels: y = x·m / q with one m ~ Bernoulli(q) for each channel of each image.

    SpatialDropout of Tompson et al. 2015 (arXiv 1411.4280, section 3.2). In a flat tensor every feature
    is a channel of one pixel, so this is `InvertedDropout` there.
    """
    return nn.Dropout2d(place.rate) if place.spatial else InvertedDropout(place.rate)


WORDS = {"drop2d": Word(channel_dropout, drops=True)}
