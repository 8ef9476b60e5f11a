"""The gallery: some test images with what every row takes them for."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

from pipeline.findings.findings import Findings
from pipeline.findings.gallery import MOST_CLASSES, MOST_ROWS, Exhibit, Gallery
from pipeline.findings.wording import NONE, cell, table
from pipeline.reporting import charts
from pipeline.reporting.gallery_figure import gallery_figure
from pipeline.reporting.section import Part, Picture, Section, Words, exhibits, picture

RULE = (
    "Chosen by rule: of each class the first test image, and the one on which the rows disagree most, that is, with the"
    " largest entropy of their votes, then with the widest range of the probability that they give to the true class."
    " A row votes and is confident by the mean probabilities of its seeds. Numbers count the test images from 0."
)


def gallery(found: Findings) -> Iterator[Section]:
    """Text, figure and a table for each data set; nothing where there is no gallery."""
    if not found.galleries:
        return
    text = RULE
    if left_out := max(gallery.left_out for gallery in found.galleries):
        text += f" The first {MOST_CLASSES} classes are shown, {left_out} more are not."
    if (hidden := max(len(gallery.first[0].said) for gallery in found.galleries) - MOST_ROWS) > 0:
        text += f" The figure leaves out the last {hidden} rows of the ranking; they vote all the same."
    yield Section("Gallery", [Words(text), *(part for shown in found.galleries for part in _parts(found, shown))])


def _parts(found: Findings, shown: Gallery) -> Iterator[Part]:
    on = found.on(shown.dataset)
    alt = f"Test images{on} with what each row takes them for, and how confidently"
    instead = Picture(found.path("gallery", shown.dataset), alt, partial(_draw, shown)), Words(_table(shown))
    yield exhibits(f"The first test image of each class{on}", _exhibits(shown.first), *instead)
    if shown.disputed:
        yield exhibits(f"The most disputed test image of each class{on}", _exhibits(shown.disputed))


def _exhibits(shown: list[Exhibit]) -> list[dict[str, Any]]:
    return [{"picture": picture(exhibit.pixels), "exhibit": exhibit} for exhibit in shown]


def _draw(shown: Gallery) -> str:
    return charts.svg(lambda: gallery_figure(shown))


def _table(gallery: Gallery) -> str:
    head = ["class", "first image", "rows that take it for", "most disputed image", "rows that take it for"]
    disputed = gallery.disputed or [None] * len(gallery.first)
    lines = [
        [cell(first.label), *_cells(first), *(_cells(other) if other else [NONE, NONE])]
        for first, other in zip(gallery.first, disputed, strict=True)
    ]
    return table(head, lines, numbers_from=len(head))


def _cells(exhibit: Exhibit) -> list[str]:
    """The number of an image, and how many rows take it for which class, the most frequent first."""
    counts = Counter(said.predicted for said in exhibit.said).most_common()
    return [str(exhibit.number), ", ".join(f"{cell(name)} ×{count}" for name, count in counts)]
