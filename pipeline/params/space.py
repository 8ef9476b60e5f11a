"""The keys of a row that a tuning may change: which of them the row has, and the row with other values."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, get_origin

from pydantic import ValidationError

from pipeline.params import facts
from pipeline.params.complaints import Fault, complain, keys_at, types_at
from pipeline.params.rows import Row, TunedRow
from pipeline.params.tuning import Parameter, Value
from pipeline.text import nearest


class Unfit(ValueError):
    """Values that make no row; the message is one line."""


FIXED = {
    "study": "names what is compared",
    "dataset": "names what is compared",
    "seeds": "is what results are averaged over",
    "published": "is no setting",
    "select_on": "decides what a row may see",
    "epochs": "is set by tuning.epochs",
    "trainer": "is where the row computes",
}
"""Keys that are no parameters, and why."""


def split(row: Row, space: Mapping[str, Parameter]) -> tuple[dict[str, Parameter], list[str]]:
    """The parameters of a space that a row has, and the keys of those that it lacks."""
    present = {path: parameter for path, parameter in space.items() if has(row, path)}
    return present, [path for path in space if path not in present]


def has(row: Row, path: str) -> bool:
    """Whether a value under this key changes the row: a rate needs a dropout position, a norm's setting its norm."""
    first, *rest = path.split(".")
    if first == "dropout":
        return _positions(row) > int(rest[0] if rest else 0)
    if first == "norm":
        return row.reads(rest[0])
    if first == "activation":
        return "act" in row.words()
    value: Any = row.model_dump()
    for step in path.split("."):
        if isinstance(value, list) and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            return False
    return value is not None


def _positions(row: Row) -> int:
    def count() -> int:
        backbone, sentence = row.network()
        even = replace(sentence, dropout=0.0)
        return len(even.rates(sum(backbone.convs), len(backbone.widths), len(backbone.dense)))

    return facts.known("dropout positions", row.said(), count)


def value_at(row: Row, path: str) -> Any:
    """The row's own value under a key that it has; of equal dropout rates, the one."""
    content: Any = _content(row, [path])
    for step in path.split("."):
        content = content[int(step) if isinstance(content, list) else step]
    return content


def apply(row: Row, values: Mapping[str, Value]) -> Row:
    """The row with these values under these keys, and without its tuning.

    Raises:
        Unfit: it would be no row.
    """
    content = _content(row, values)
    for path, value in values.items():
        *steps, last = path.split(".")
        inside: Any = content
        for step in steps:
            inside = inside[int(step) if isinstance(inside, list) else step]
        inside[int(last) if isinstance(inside, list) else last] = value
    try:
        return Row.model_validate(content)
    except ValidationError as error:
        raise Unfit(str(complain(Row, content, error))) from None


def _content(row: Row, paths: Mapping[str, Value] | list[str]) -> dict[str, Any]:
    content = row.model_dump(exclude={"tuning"})
    if any(path.startswith("dropout.") for path in paths) and not isinstance(row.dropout, list):
        content["dropout"] = [row.dropout] * _positions(row)
    return content


def corners(key: str, row: TunedRow) -> Iterator[tuple[str, Row]]:
    """The row with each end of each range and each choice, others as they are; with the key of the value at fault.

    Raises:
        Fault: the space names what is no parameter, or a value that does not fit its key.
    """
    where = f"{key}.tuning.space"
    for path in row.tuning.space:
        _check_path(where, path)
        if path.split(".")[0] != path and path.split(".")[0] in row.tuning.space:
            raise Fault(f"{where}.{path}", f"{path.split('.')[0]} is in the space and sets it too")
    present, absent = split(row, row.tuning.space)
    if not present:
        raise Fault(where, f"the row has none of {', '.join(absent)}")
    for path, parameter in present.items():
        for end, value in ends(parameter).items():
            try:
                yield f"{where}.{path}.{end}", (corner := apply(row, {path: value}))
            except Unfit as error:
                raise Fault(f"{where}.{path}.{end}", f"{value} does not fit; {error}") from None
            if isinstance(value_at(corner, path), int) and not isinstance(parameter.step or 1, int):
                raise Fault(f"{where}.{path}.step", f"{parameter.step}, but {path} is a whole number")


def ends(parameter: Parameter) -> dict[str, Value]:
    """The values that stand for all others, by where they are written."""
    if parameter.choices is not None:
        return {f"choices.{index}": choice for index, choice in enumerate(parameter.choices)}
    assert parameter.low is not None and parameter.high is not None
    return {"low": parameter.low, "high": parameter.high}


def _check_path(where: str, path: str) -> None:
    steps = path.split(".")
    if steps[0] in FIXED:
        raise Fault(f"{where}.{path}", f"{steps[0]} {FIXED[steps[0]]} and cannot be tuned")
    for count, step in enumerate(steps):
        if not types_at(Row, steps[: count + 1]):
            known = keys_at(Row, steps[:count])
            hint = nearest(step, known) if known else ""
            raise Fault(f"{where}.{path}", f"no row has this key{hint}")
    if not any(kind in (bool, int, float, str) or get_origin(kind) is Literal for kind in types_at(Row, steps)):
        raise Fault(f"{where}.{path}", f"holds several values; name one, such as {path}.{_first_key(steps)}")


def _first_key(steps: list[str]) -> str:
    known = keys_at(Row, steps)
    return known[0] if known else "0"
