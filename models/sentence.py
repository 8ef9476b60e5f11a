"""Words to layers: the grammar in which a row of params.yaml writes its architecture.

A network is three short sentences. `each` is said for every convolution of a block, `end` closes
the block, `head` is said for every hidden dense layer; the classifier follows by itself.

    each: conv bn act      end: pool drop      head: dense act drop

A word is a key of `WORDS`; adding a kind of layer is one class and one line there. Three words
have a fixed place, because they carry the shape of the network and not its regularization: `conv`
once in `each`, `pool` once in `end`, `dense` once in `head`. Every other word may stand anywhere.
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import nn

from models import dropout, norm
from models.place import Norm, Place, SentenceError

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}


class Word(NamedTuple):
    """How one word of a sentence becomes a layer."""

    layer: Callable[[Place], nn.Module | None]  #: None for a word that stands for nothing
    drops: bool = False  #: takes a rate, so that it is one dropout position


# Words that a layer can be made of anywhere. The three shape words are built by the backbone.
WORDS: dict[str, Word] = {
    "none": Word(lambda place: None),
    "act": Word(lambda place: ACTIVATIONS[place.activation]()),
    "bn": Word(norm.batch),
    "ln": Word(norm.layer),
    "in": Word(norm.instance),
    "gn": Word(norm.group),
    "drop": Word(lambda place: dropout.InvertedDropout(place.rate), drops=True),
    "drop-classic": Word(lambda place: dropout.ClassicDropout(place.rate), drops=True),
    "drop2d": Word(dropout.channels, drops=True),
    "gauss": Word(lambda place: dropout.GaussianDropout(place.rate), drops=True),
    "uout": Word(lambda place: dropout.UniformDropout(place.rate), drops=True),
    "alpha": Word(dropout.alpha, drops=True),
}
SHAPE_WORDS = {"each": "conv", "end": "pool", "head": "dense"}


@dataclass(frozen=True)
class Sentence:
    """The layers of a network in order, without its widths.

    Args:
        each: words for every convolution, exactly one of them `conv`.
        end: words that close a block, exactly one of them `pool`.
        head: words for every hidden dense layer, exactly one of them `dense`; empty for none.
        activation: what `act` stands for, a key of `ACTIVATIONS`.
        dropout: the rate of every dropout position, or one rate per position in network order. A rate is
            the share that is dropped; of `gauss` that which a dropout of equal variance has, of `uout` its β.
        norm: settings of the normalization layers.

    Raises:
        SentenceError: unknown word, a shape word missing, doubled or misplaced, unknown activation.
    """

    each: str
    end: str
    head: str = ""
    activation: str = "relu"
    dropout: float | list[float] = field(default=0.5)
    norm: Norm = field(default_factory=Norm)

    def __post_init__(self) -> None:
        for part in SHAPE_WORDS:
            self._check(part)
        if self.activation not in ACTIVATIONS:
            raise SentenceError(
                "activation",
                f"unknown activation '{self.activation}'{nearest(self.activation, ACTIVATIONS)}",
            )

    def words(self, part: str) -> list[str]:
        """The words of `each`, `end` or `head`."""
        return str(getattr(self, part)).split()

    def _check(self, part: str) -> None:
        words, shape_word = self.words(part), SHAPE_WORDS[part]
        if part == "head" and not words:
            return
        for index, word in enumerate(words):
            if word in SHAPE_WORDS.values():
                if word != shape_word:
                    home = next(key for key, value in SHAPE_WORDS.items() if value == word)
                    raise self._error(part, index, f"'{word}' belongs in `{home}`")
                if word in words[:index]:
                    raise self._error(part, index, f"'{word}' stands here twice")
            elif word not in WORDS:
                known = {*WORDS, shape_word}
                raise self._error(part, index, f"unknown word '{word}'{nearest(word, known)}")
        if shape_word not in words:
            shown = " ".join(words) or "(empty)"
            raise SentenceError(part, f"{shown}: a word '{shape_word}' is needed in `{part}`")

    def _error(self, part: str, index: int, message: str) -> SentenceError:
        """Shows the whole sentence with the word at fault between » and «."""
        words = self.words(part)
        words[index] = f"»{words[index]}«"
        return SentenceError(part, f"{' '.join(words)}: {message}")

    def rates(self, convs: int, blocks: int, denses: int) -> list[float]:
        """One rate per dropout position, in network order.

        Raises:
            SentenceError: a rate outside [0, 1), or a list of the wrong length.
        """
        drops = {part: sum(WORDS[w].drops for w in self.words(part) if w in WORDS) for part in SHAPE_WORDS}
        positions = drops["each"] * convs + drops["end"] * blocks + drops["head"] * denses
        rates: list[float] = self.dropout if isinstance(self.dropout, list) else [self.dropout] * positions
        for rate in rates:
            if not 0 <= rate < 1:
                raise SentenceError("dropout", f"a rate of {rate}; rates lie in [0, 1)")
        if len(rates) != positions:
            raise SentenceError(
                "dropout",
                f"{len(rates)} rates for {positions} dropout positions"
                f" ({drops['each']}×{convs} convolutions, {drops['end']}×{blocks} blocks,"
                f" {drops['head']}×{denses} dense layers)",
            )
        return rates


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of an error message: the nearest known word, or all of them where none is near."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {' '.join(names)}"
