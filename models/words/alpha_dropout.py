"""Alpha dropout, for networks of SELUs."""

from torch import nn

from models.place import Place
from models.vocabulary import Word


def alpha_dropout(place: Place) -> nn.Module:
    """Alpha dropout, for SELU: y = a·(x·m + α′·(1 − m)) + b, m ~ Bernoulli(q); in test mode y = x.

    α′ ≈ −1.7581 is the value at which SELU saturates; a = (q + α′²·q·(1 − q))^(−1/2) and b = −a·(1 − q)·α′
    keep mean 0 and variance 1 (Klambauer et al. 2017, arXiv 1706.02515, section on the new dropout).
    """
    return nn.AlphaDropout(place.rate)


WORDS = {"alpha": Word(alpha_dropout, drops=True)}
