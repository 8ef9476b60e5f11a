"""Group normalization: mean and variance of a group of channels of one image."""

from torch import nn

from models.place import Place, SentenceError
from models.vocabulary import Word


def group_norm(place: Place) -> nn.Module:
    """Group normalization (Wu and He 2018, arXiv 1803.08494, equation 7); features are grouped alike when flat.

    Raises:
        SentenceError: the groups do not divide the features, or each would hold a single value.
    """
    groups = place.norm.groups
    if place.features % groups:
        raise SentenceError(
            "norm.groups", f"{groups} groups do not divide the {place.features} features of {place.name}"
        )
    place.check_set(place.features // groups * max(1, place.pixels))
    return nn.GroupNorm(groups, place.features, eps=place.norm.eps)


WORDS = {"gn": Word(group_norm, settings=("eps", "groups"))}
