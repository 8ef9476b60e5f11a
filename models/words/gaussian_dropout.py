"""Gaussian dropout: noise of the variance that dropout has, but of another distribution."""

import math

import torch
from torch import Tensor

from models.dropout import Dropout
from models.vocabulary import Word


class GaussianDropout(Dropout):
    """Multiplicative Gaussian noise: y = x·(1 + r), r ~ N(0, rate / q), the variance that inverted dropout has.

    Srivastava et al. 2014 (JMLR 15, section 10); Wang and Manning 2013 (ICML).
    """

    def noisy(self, x: Tensor) -> Tensor:
        # x + x·r and not x·(1 + r): the sum is rounded once, which matters in half precision.
        return torch.addcmul(x, x, torch.empty_like(x).normal_(0, math.sqrt(self.p / (1 - self.p))))


WORDS = {"gauss": Word(lambda place: GaussianDropout(place.rate), drops=True)}
