"""The gallery in the Markdown report, beside its figure."""

from collections import Counter
from collections.abc import Sequence

from pipeline.findings.gallery import MOST_CLASSES, MOST_ROWS, Exhibit, Gallery
from pipeline.findings.wording import NONE, cell, table

RULE = (
    "Chosen by rule: of each class the first test image, and the one on which the rows disagree most, that is, with the"
    " largest entropy of their votes, then with the widest range of the probability that they give to the true class."
    " A row votes and is confident by the mean probabilities of its seeds. Numbers count the test images from 0."
)


def gallery_section(study: str, galleries: Sequence[Gallery]) -> str:
    """Text, figure and a table for each data set; nothing where there is no gallery."""
    if not galleries:
        return ""
    text = RULE
    if left_out := max(gallery.left_out for gallery in galleries):
        text += f" The first {MOST_CLASSES} classes are shown, {left_out} more are not."
    if (hidden := max(len(gallery.first[0].said) for gallery in galleries) - MOST_ROWS) > 0:
        text += f" The figure leaves out the last {hidden} rows of the ranking; they vote all the same."
    alt = "Test images with what each row takes them for, and how confidently"
    parts = ["## Gallery", text, f"![{alt}]({study}/gallery.svg)"]
    for gallery in galleries:
        parts += [f"Data set `{gallery.dataset}`:"] if len(galleries) > 1 else []
        parts.append(_table(gallery))
    return "\n\n".join(parts)


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
