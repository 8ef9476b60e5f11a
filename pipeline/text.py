"""Text of messages: short, on one line, harmless to a terminal, and with the word that was meant."""

import difflib
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def console() -> "Console":
    """Prints results to a terminal, whose width wraps words; where nobody watches, a line stays a line."""
    from rich.console import Console  # which a machine that only trains may lack

    made = Console(highlight=False, markup=False)
    if not made.is_terminal:
        made.width = 10_000
    return made


def show(value: Any) -> str:
    """A value as a message shows it: short, on one line."""
    return short("nothing" if value is None else repr(value) if isinstance(value, str) else str(value))


def short(text: str) -> str:
    """Any text on one line of at most 60 letters."""
    text = one_line(text)
    return text if len(text) <= 60 else text[:57] + "..."


def one_line(text: object) -> str:
    """Any text on one line."""
    return " ".join(str(text).split())


def printable(text: object) -> str:
    """Any text on one line, without what a terminal could not show or would obey."""
    return "".join(letter if letter.isprintable() else "�" for letter in one_line(text))


def redact(text: object) -> str:
    """Any text, without what stands before a host in its addresses but for the user's name, and without passwords that
    an address gives as parameters."""
    password = r"([^/?#\s:@]*:)(?!\d*(?:[/\s]|$))\S*"  # which may hold a slash; a port is none
    found = re.sub(rf"(?<=://)(?:{password}|[^/?#\s]*)@", r"\1***@", str(text))
    return re.sub(r"(?i)((?:password|passwd|pwd|token|secret)=)[^&\s]+", r"\1***", found)


def nearest(word: str, known: Iterable[object]) -> str:
    """The end of an error message: the nearest known word, or all of them where none is near."""
    names = sorted(map(str, known))
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {' '.join(names)}"


def beginning(names: Sequence[str]) -> str:
    """The words that all names begin with; words of a name stand between minus signs."""
    words = zip(*(name.split("-") for name in names), strict=False)
    return "-".join(each[0] for each in itertools.takewhile(lambda each: len(set(each)) == 1, words))
