"""The words of sentences, and what is wrong with a sentence, as a user hears of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import UserError
from pipeline.params import facts

if TYPE_CHECKING:
    from models import SentenceError, Word  # torch, which reading a plan does not need


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


def complaint(error: SentenceError) -> str:
    """What is wrong with a sentence, with what it could have said."""
    from pipeline.text import nearest

    return f"{error}{nearest(error.word, error.known) if error.known else ''}"
