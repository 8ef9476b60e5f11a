"""Inverted dropout, what is called dropout today."""

import torch
from torch import Tensor
from torch.nn import functional

from models.dropout import Dropout, keep
from models.vocabulary import Word


class InvertedDropout(Dropout):
    """Inverted dropout: y = x·m / q, m ~ Bernoulli(q); in test mode y = x.

    Srivastava et al. 2014 (JMLR 15, section 10), who call it scaling up at training time.
    """

    def noisy(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return functional.dropout(x, self.p)
        # The product of x, mask and scale in one kernel, under the name of the derivative that it also is.
        return torch.ops.aten.native_dropout_backward(x, keep(x, self.p), 1 / (1 - self.p))


WORDS = {"drop": Word(lambda place: InvertedDropout(place.rate), drops=True)}
