"""Classic dropout, which scales in test mode and not in training."""

from torch import Tensor

from models.dropout import Dropout, keep, masked
from models.vocabulary import Word


class ClassicDropout(Dropout):
    """Dropout as first published: y = x·m, m ~ Bernoulli(q); in test mode y = q·x.

    Srivastava et al. 2014 (JMLR 15, section 4), who put the factor q on the outgoing weights.
    """

    def noisy(self, x: Tensor) -> Tensor:
        return masked(x, keep(x, self.p), 1)

    def quiet(self, x: Tensor) -> Tensor:
        return x * (1 - self.p)


WORDS = {"drop-classic": Word(lambda place: ClassicDropout(place.rate), drops=True)}
