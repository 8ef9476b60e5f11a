"""Batch normalization: mean and variance of one channel over all images of the batch."""

from torch import nn

from models.place import Place
from models.vocabulary import Word


def batch_norm(place: Place) -> nn.Module:
    """Batch normalization (Ioffe and Szegedy 2015, arXiv 1502.03167, algorithms 1 and 2).

        μ = mean of the set,  σ² = its biased variance,  x̂ = (x − μ) / √(σ² + eps),  y = γ·x̂ + β

    where the set is one channel of all images (equation 3 of Wu and He 2018, arXiv 1803.08494). γ and β are
    learned per channel, or per feature of a flat tensor, and start at one and zero.

    Training normalizes with the batch and moves running statistics; these normalize in test mode:

        running = (1 − momentum)·running + momentum·batch

    where the batch's variance is unbiased. Without running statistics, test mode normalizes with the
    batch as well, so that an image's prediction depends on the images beside it.
    """
    kind = nn.BatchNorm2d if place.spatial else nn.BatchNorm1d
    norm = place.norm
    return kind(place.features, eps=norm.eps, momentum=norm.momentum, track_running_stats=norm.running_stats)


WORDS = {"bn": Word(batch_norm, settings=("momentum", "eps", "running_stats"))}
