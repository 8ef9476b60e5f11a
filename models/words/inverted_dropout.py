"""Inverted dropout, what is called dropout today."""

from torch import Tensor
from torch.nn import functional

from models.dropout import Dropout, keep, masked
from models.vocabulary import Word


class InvertedDropout(Dropout):
    """Inverted dropout: y = x·m / q, m ~ Bernoulli(q); in test mode y = x.

    Srivastava et al. 2014 (JMLR 15, section 10), who call it scaling up at training time.
    """

    def noisy(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return functional.dropout(x, self.p)
        return masked(x, keep(x, self.p), 1 / (1 - self.p))


WORDS = {"drop": Word(lambda place: InvertedDropout(place.rate), drops=True)}
