"""The networks of a row taken together: the mean of their probabilities, and how many of them agree."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax


class Ensemble(NamedTuple):
    """What some networks say together of N images in K classes."""

    probabilities: NDArray[np.float64]  #: N×K, means over the networks
    votes: NDArray[np.int64]  #: N, how many networks take the class that is the most probable in the mean
    networks: int

    @property
    def predicted(self) -> NDArray[np.int64]:
        """N, the class that is the most probable in the mean; of equal ones the first."""
        return self.probabilities.argmax(1)


def together(logits: Iterable[NDArray[np.float32]]) -> Ensemble:
    """Averages probabilities, as a deep ensemble does (Lakshminarayanan et al. 2017, arXiv 1612.01474, section 2.4).

    Args:
        logits: N×K of each network, one network or more.
    """
    total, firsts = 0.0, []
    for each in logits:
        total = total + softmax(each.astype(np.float64), axis=1)
        firsts.append(each.argmax(1))
    mean = np.asarray(total) / len(firsts)
    votes = (np.stack(firsts) == mean.argmax(1)).sum(0)
    return Ensemble(mean, votes, len(firsts))
