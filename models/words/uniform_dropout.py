"""Uniform dropout, called Uout."""

import torch
from torch import Tensor

from models.dropout import Dropout
from models.vocabulary import Word


class UniformDropout(Dropout):
    """Uout, multiplicative uniform noise: y = x·(1 + r), r ~ U(−β, β), where the rate is β.

    Li et al. 2018 (arXiv 1801.05134), made to shift the variance less: by 3 / (3 + β²) where x has mean 0.
    """

    def noisy(self, x: Tensor) -> Tensor:
        return torch.addcmul(x, x, torch.empty_like(x).uniform_(-self.p, self.p))


WORDS = {"uout": Word(lambda place: UniformDropout(place.rate), drops=True)}
