"""Instance normalization: mean and variance of one channel of one image."""

from torch import nn

from models.place import Place, SentenceError
from models.vocabulary import Word


def instance_norm(place: Place) -> nn.Module:
    """Instance normalization (Ulyanov, Vedaldi and Lempitsky 2016, arXiv 1607.08022), with γ and β.

    Raises:
        SentenceError: the tensor is flat, so that a channel has no pixels, or it has a single one.
    """
    if not place.spatial:
        raise SentenceError(
            place.part, f"{place.name}: instance normalization needs pixels, and a flat tensor has none"
        )
    place.check_set(place.pixels)
    return nn.InstanceNorm2d(place.features, eps=place.norm.eps, affine=True)


WORDS = {"in": Word(instance_norm, settings=("eps",))}
