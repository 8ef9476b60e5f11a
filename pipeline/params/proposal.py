"""A study like another on somebody's own images: what is written of it into params.yaml, by a rule that can be told."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import UserError
from pipeline.params.rows import Row

VALIDATION = 0.2
"""Share of all but the test images that selects the epoch: few images need a large one."""

LEAST_OF_CLASS = 10
"""Images of each class, so that some of them train, some select and some test."""

BATCH = 32

RULE = (
    "a block of two convolutions for each halving of the image down to 4 pixels, two to five; 16 channels in the first"
    " block, 32 from 5,000 training images and 64 from 50,000, twice as many in each further block; as many epochs as"
    " make 1,500 steps of 32 images, 10 to 40"
)


def backbone(images: int, side: int) -> dict[str, list[int]]:
    """Depth and widths for so many training images with so many pixels along the shorter side, see RULE."""
    blocks = min(5, max(2, int(math.log2(side)) - 2))
    first = 16 if images < 5_000 else 32 if images < 50_000 else 64
    return {"widths": [first * 2**block for block in range(blocks)], "convs": [2] * blocks, "dense": [4 * first]}


def epochs(images: int) -> int:
    """Passes over so many training images, see RULE."""
    return min(40, max(10, round(1500 * BATCH / images)))


def section(
    content: Mapping[str, Any],
    resolved: Mapping[str, Row],
    like: str,
    name: str,
    labels: Sequence[str],
    fitted: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a study shares, and its rows, as params.yaml shall have them.

    Args:
        content: of params.yaml.
        resolved: the rows of the study that is copied, by their names without that of the study.
        like: name of that study.
        name: of the new study, and of its data set.
        labels: which of the rows are wanted.
        fitted: what the images decide, over what the copied study shares.
    """
    shared = {key: value for key, value in content["studies"][like].get("rows", {}).items() if key != "trainer"}
    if any(isinstance(row.dropout, list) for row in resolved.values()):
        fitted = {key: value for key, value in fitted.items() if key != "backbone"}  # a rate for each of its places
    names = {label: full for full in content["rows"] for label in (full, full.removeprefix(f"{like}-"))}
    rows = {}
    for label in labels:
        row = {key: value for key, value in content["rows"][names[label]].items() if key != "published"}
        unpublished = {"published": None} if resolved[label].published else {}  # of other images
        rows[f"{name}-{label}"] = row | {"study": name, "dataset": name} | unpublished
    return shared | dict(fitted), rows


def spliced(text: str, added: Mapping[str, Mapping[str, Any]], flow: Mapping[str, int]) -> tuple[str, str]:
    """The text of params.yaml with new entries at the end of its sections, and these alone; nothing else changes.

    Args:
        text: of params.yaml.
        added: new entries by section.
        flow: how deep below a section mappings are written on several lines, by section.

    Raises:
        UserError: a section that does not begin on a line of its own.
    """
    shown = []
    for key, entries in added.items():
        begin = re.search(rf"^{key}:[ \t]*(#.*)?\n", text, re.MULTILINE)
        if begin is None:
            raise UserError(f"params.yaml: {key}: must begin on a line of its own to be added to")
        end = re.compile(r"^[^\s#]", re.MULTILINE).search(text, begin.end())
        stop = end.start() if end else len(text)
        while stop > begin.end() and re.fullmatch(r"\s*|#.*\n", text[text.rfind("\n", 0, stop - 1) + 1 : stop]):
            stop = text.rfind("\n", 0, stop - 1) + 1
        block = _dumped({key: entries}, flow[key] + 1)
        shown.append(block)
        text = text[:stop] + block.partition("\n")[2] + text[stop:]
    return text, "".join(shown)


def _dumped(content: Mapping[str, Any], lines: int) -> str:
    """As DVC writes it; mappings deeper than that stand in braces."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    def laid(value: Any, left: int) -> Any:
        if isinstance(value, Mapping):
            value = CommentedMap({key: laid(inner, left - 1) for key, inner in value.items()})
        elif isinstance(value, list):
            value = CommentedSeq(value)
        else:
            return value
        if left < 1:
            value.fa.set_flow_style()
        return value

    yaml, stream = YAML(), io.StringIO()
    yaml.default_flow_style = False
    yaml.dump(laid(content, lines), stream)
    return stream.getvalue()
