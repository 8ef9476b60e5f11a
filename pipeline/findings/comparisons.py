"""Rows that make a 2×2 table of batch normalization and dropout."""

from collections.abc import Sequence

from pipeline.findings.measured import Result
from pipeline.params import vocabulary
from pipeline.params.rows import PARTS, Row


def quadruples(results: Sequence[Result]) -> list[dict[str, Result]]:
    """The rows that make a 2×2 table: with both kinds of words, without the one, without the other, without either.

    Returns:
        By the cells of `stats.two_way`, `bn` being the first factor and dropout the second.
    """
    dropouts = set(vocabulary.kinds()["dropouts"])
    rows = {_identity(result.row, set(), dropouts): result for result in results}
    found = []
    for result in results:
        without = {"neither": {"bn"} | dropouts, "first": dropouts, "second": {"bn"}, "both": set[str]()}
        cells = {cell: rows.get(_identity(result.row, words, dropouts)) for cell, words in without.items()}
        complete = {cell: row for cell, row in cells.items() if row is not None}
        if len({row.name for row in complete.values()}) == 4:
            found.append(complete)
    return found


def _identity(row: Row, without: set[str], dropouts: set[str]) -> str:
    """All that decides a row's numbers, less some words; rates count only where a word takes them."""
    sentence = {part: [word for word in said.split() if word not in without] for part, said in row.parts().items()}
    drops = any(word in dropouts for words in sentence.values() for word in words)
    settings = row.model_dump(exclude={*PARTS, "published", "seeds"} | (set() if drops else {"dropout"}))
    return repr((sentence, settings))
