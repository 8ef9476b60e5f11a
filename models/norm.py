"""Normalization layers: four steps, which differ only in the values that share a mean and a variance.

    μ = mean of the set,  σ² = its biased variance,  x̂ = (x − μ) / √(σ² + eps),  y = γ·x̂ + β

γ and β are learned per channel, or per feature of a flat tensor, and start at one and zero. The sets of
an N×C×H×W tensor, by the equations of Wu and He 2018 (arXiv 1803.08494):

    bn  one channel of all images     (3)      in  one channel of one image            (5)
    ln  all channels of one image     (4)      gn  a group of channels of one image    (7)
"""

from torch import nn

from models.place import Place, SentenceError


def batch(place: Place) -> nn.Module:
    """Batch normalization (Ioffe and Szegedy 2015, arXiv 1502.03167, algorithms 1 and 2).

    Training normalizes with the batch and moves running statistics; these normalize in test mode:

        running = (1 − momentum)·running + momentum·batch

    where the batch's variance is unbiased. Without running statistics, test mode normalizes with the
    batch as well, so that an image's prediction depends on the images beside it.
    """
    kind = nn.BatchNorm2d if place.spatial else nn.BatchNorm1d
    norm = place.norm
    return kind(place.features, eps=norm.eps, momentum=norm.momentum, track_running_stats=norm.running_stats)


def layer(place: Place) -> nn.Module:
    """Layer normalization (Ba, Kiros and Hinton 2016, arXiv 1607.06450, section 3).

    On feature maps it is group normalization with a single group: the statistics are those of the
    paper, over C×H×W, while γ and β are per channel and not per value, which leaves the image size free.

    Raises:
        SentenceError: an image has a single value here.
    """
    _check_set(place, place.features * max(1, place.pixels))
    if place.spatial:
        return nn.GroupNorm(1, place.features, eps=place.norm.eps)
    return nn.LayerNorm(place.features, eps=place.norm.eps)


def instance(place: Place) -> nn.Module:
    """Instance normalization (Ulyanov, Vedaldi and Lempitsky 2016, arXiv 1607.08022), with γ and β.

    Raises:
        SentenceError: the tensor is flat, so that a channel has no pixels, or it has a single one.
    """
    if not place.spatial:
        raise SentenceError(
            place.part, f"{place.name}: instance normalization needs pixels, and a flat tensor has none"
        )
    _check_set(place, place.pixels)
    return nn.InstanceNorm2d(place.features, eps=place.norm.eps, affine=True)


def group(place: Place) -> nn.Module:
    """Group normalization (Wu and He 2018, arXiv 1803.08494, equation 7); features are grouped alike when flat.

    Raises:
        SentenceError: the groups do not divide the features, or each would hold a single value.
    """
    groups = place.norm.groups
    if place.features % groups:
        raise SentenceError(
            "norm.groups", f"{groups} groups do not divide the {place.features} features of {place.name}"
        )
    _check_set(place, place.features // groups * max(1, place.pixels))
    return nn.GroupNorm(groups, place.features, eps=place.norm.eps)


def _check_set(place: Place, values: int) -> None:
    if values < 2:
        raise SentenceError(place.part, f"{place.name}: it would normalize single values, and so make all of them zero")
