"""Words to layers: the grammar in which a row of params.yaml writes its architecture.

A network is three short sentences. `each` is said for every convolution of a block, `end` closes
the block, `head` is said for every hidden dense layer; the classifier follows by itself.

    each: conv bn act      end: pool drop      head: dense act drop

Where the convolutions of a block are not alike, `block` spells the whole block out in place of `each` and `end`:

    block: conv act conv-valid act pool drop      head: dense act drop

A word is one of `vocabulary.words`. Some have a fixed place, because they carry the shape of the network and not
its regularization: a convolution, `conv` or `conv-valid`, once in `each`, `pool` once in `end`, `dense` once in
`head`; in `block` a `pool` and as many convolutions as the backbone has. Every other word may stand anywhere.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from models.place import Norm, SentenceError
from models.shapes import CONVS, SAID, SHAPES
from models.vocabulary import ACT, Word, sources, words


@dataclass(frozen=True)
class Sentence:
    """The layers of a network in order, without its widths.

    Args:
        each: words for every convolution, exactly one of them a convolution.
        end: words that close a block, exactly one of them `pool`.
        head: words for every hidden dense layer, exactly one of them `dense`; empty for none.
        activation: what `act` stands for, the name of a word that is one.
        dropout: the rate of every dropout position, or one rate per position in network order. A rate is
            the share that is dropped; of `gauss` that which a dropout of equal variance has, of `uout` its β.
        norm: settings of the normalization layers.
        block: words of a whole block, in place of `each` and `end`.

    Raises:
        SentenceError: unknown word, a shape word missing, doubled or misplaced, unknown activation.
        WordError: a file of words has an error.
    """

    each: str = ""
    end: str = ""
    head: str = ""
    activation: str = "relu"
    dropout: float | list[float] = field(default=0.5)
    norm: Norm = field(default_factory=Norm)
    block: str = ""

    def __post_init__(self) -> None:
        if self.words("block") and (self.words("each") or self.words("end")):
            raise SentenceError("block", "it spells out what `each` and `end` say; write either it or these two")
        for part in ("block", "head") if self.words("block") else ("each", "end", "head"):
            self._check(part)
        if not (self.activation in words() and words()[self.activation].activation):
            known = [name for name, word in words().items() if word.activation]
            raise SentenceError("activation", f"unknown activation '{self.activation}'", self.activation, known)

    def words(self, part: str) -> list[str]:
        """The words of `each`, `end`, `block` or `head`."""
        return str(getattr(self, part)).split()

    def meaning(self, word: str) -> Word:
        """What a word that is no shape word stands for here."""
        return words()[self.activation if word == ACT else word]

    def drops(self, word: str) -> bool:
        """Whether a word is a dropout position."""
        return word not in SHAPES and self.meaning(word).drops

    def sources(self) -> list[Path]:
        """The files that define the words of this sentence, and what these import of other such files."""
        said = {word for part in SAID for word in self.words(part)}
        return sources({self.activation if word == ACT else word for word in said})

    def of_block(self, convs: int) -> Iterator[tuple[str, str, str]]:
        """Every word of a block of so many convolutions: its part, the number of its convolution, and the word.

        A word of `block` has the number of the convolution that it follows; none has one from the pool on.
        """
        for conv in range(1, convs + 1):
            yield from (("each", str(conv), word) for word in self.words("each"))
        yield from (("end", "", word) for word in self.words("end"))
        conv, number = 0, "1"
        for word in self.words("block"):
            conv += word in CONVS
            number = "" if word == "pool" or not number else str(max(conv, 1))
            yield "block", number, word

    def _check(self, part: str) -> None:
        said, shapes = self.words(part), SAID[part]
        if part == "head" and not said:
            return
        for index, word in enumerate(said):
            homes = [home for home, kind in SAID.items() if word in kind]
            if homes and part not in homes:
                raise self._error(part, index, f"'{word}' belongs in `{'` or `'.join(homes)}`")
            if word in CONVS and part == "each" and set(CONVS) & set(said[:index]):
                raise self._error(part, index, "a second convolution; `block` spells a whole block out")
            if word in shapes and word not in CONVS and word in said[:index]:
                raise self._error(part, index, f"'{word}' stands here twice")
            if not homes and word != ACT and word not in words():
                raise self._error(part, index, f"unknown word '{word}'", word, {*words(), *shapes, ACT})
        for needed in (CONVS, ("pool",), ("dense",)):
            if set(needed) <= set(shapes) and not set(needed) & set(said):
                shown = " ".join(said) or "(empty)"
                raise SentenceError(part, f"{shown}: a word '{needed[0]}' is needed in `{part}`")

    def _error(self, part: str, index: int, message: str, word: str = "", known: Iterable[str] = ()) -> SentenceError:
        """Shows the whole sentence with the word at fault between » and «."""
        said = self.words(part)
        said[index] = f"»{said[index]}«"
        return SentenceError(part, f"{' '.join(said)}: {message}", word, known)

    def rates(self, convs: int, blocks: int, denses: int) -> list[float]:
        """One rate per dropout position, in network order.

        Raises:
            SentenceError: a rate outside [0, 1), or a list of the wrong length.
        """
        times = {"each": (convs, "convolutions"), "end": (blocks, "blocks"), "block": (blocks, "blocks")}
        times["head"] = denses, "dense layers"
        drops = {part: sum(map(self.drops, self.words(part))) for part in times if self.words(part)}
        positions = sum(count * times[part][0] for part, count in drops.items())
        rates: list[float] = self.dropout if isinstance(self.dropout, list) else [self.dropout] * positions
        for rate in rates:
            if not 0 <= rate < 1:
                raise SentenceError("dropout", f"a rate of {rate}; rates lie in [0, 1)")
        if len(rates) != positions:
            counted = ", ".join(f"{count}×{times[part][0]} {times[part][1]}" for part, count in drops.items())
            raise SentenceError("dropout", f"{len(rates)} rates for {positions} dropout positions ({counted})")
        return rates
