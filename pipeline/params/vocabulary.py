"""The words of sentences, and what is wrong with a sentence, as a user hears of them."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import UserError
from pipeline.params import facts
from pipeline.text import one_line

if TYPE_CHECKING:
    from models import Backbone, Sentence, SentenceError, Word  # torch, which reading a plan does not need


def words() -> dict[str, Word]:
    """All words by name.

    Raises:
        UserError: a file of words has an error.
    """
    from models import WordError, vocabulary

    try:
        return vocabulary.words()
    except WordError as error:
        raise UserError(str(error)) from None


def kinds() -> dict[str, list[str]]:
    """The words that are `dropouts`, and those that are `norms` with settings.

    Raises:
        UserError: a file of words has an error.
    """

    def find() -> dict[str, list[str]]:
        known = words().items()
        return {
            "dropouts": [name for name, word in known if word.drops],
            "norms": [name for name, word in known if word.settings],
        }

    return facts.known("kinds", None, find)


@contextmanager
def of_words() -> Iterator[None]:
    """What the code of a word raises is told in a line, with its file.

    Raises:
        UserError: it raised something.
    """
    from models import SentenceError, vocabulary

    try:
        yield
    except (SentenceError, UserError):
        raise
    except Exception as error:
        frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        own = [
            f"{vocabulary.shown(path)}:{line}" for path, line in frames if path.parent in vocabulary.FOLDERS.values()
        ]
        reason = f"{type(error).__name__}: {one_line(error)}".removesuffix(": ")
        raise UserError(f"{own[-1] if own else 'a word of words/'}: {reason}") from None


def try_own(backbone: Backbone, sentence: Sentence) -> None:
    """Whether the user's own words work where a sentence says them: two small images go through, in training.

    Raises:
        UserError: one changes the shape of what goes through it, or drops and does not say so.
        Exception: whatever a word raises.
    """
    import torch
    from torch.nn.modules.dropout import _DropoutNd

    from models import Backbone, Dropout, build, vocabulary

    own = {name: path for name, (_, path) in vocabulary.read().items() if path.parent == vocabulary.FOLDERS["words"]}
    if not set(own.values()) & set(sentence.sources()):
        return
    width = 2 * sentence.norm.groups
    narrow = Backbone([width] * len(backbone.widths), backbone.convs, [width] * len(backbone.dense))
    side = narrow.least_side(sentence, 2)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        network = build(narrow, sentence, (sentence.norm.groups, side, side), classes=2)
        seen = torch.rand(2, sentence.norm.groups, side, side)
        for name, layer in network.named_children():
            before, seen = seen.shape, layer(seen)
            word = next((word for word in own if re.fullmatch(rf"[^_]+_{word}\d*(_\d+)?", name)), None)
            if word and seen.shape != before:
                sizes = " to ".join("×".join(map(str, shape)) for shape in (before, seen.shape))
                raise UserError(f"{vocabulary.shown(own[word])}: '{word}' turns {sizes}; a word keeps the shape")
            if word and isinstance(layer, (Dropout, _DropoutNd)) and not sentence.meaning(word).drops:
                raise UserError(f"{vocabulary.shown(own[word])}: '{word}' is a dropout without a rate; say drops=True")


def complaint(error: SentenceError) -> str:
    """What is wrong with a sentence, with what it could have said."""
    from pipeline.text import nearest

    return f"{error}{nearest(error.word, error.known) if error.known else ''}"
