"""Rows inherit by name: what stands behind `from`, and where a value was written that a row has.

    studies:
      quickstart: {title: …, question: …, rows: {epochs: 40, optimizer: {name: adam, lr: 0.003}}}
    bases:
      bn: {each: conv bn act, end: pool, head: dense bn act}
    rows:
      bn: {study: quickstart, dataset: digits, from: bn, optimizer: {lr: 0.01}}

A row takes what its study's `rows` hold, over them the bases that `from` names, left to right, and over all its own
values. Mappings merge key by key, unless the upper one has another `name`: then it replaces the lower one, as any other
value does. Bases may have bases, which lie below them; one that is named twice counts where it lies highest.

YAML's anchors are no substitute: DVC writes the file anew for `dvc exp run -S`, copies what an anchor shares to every
place, and loses what is set behind it.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.params.complaints import Fault
from pipeline.text import nearest, show

FROM = "from"
OWN = ("study", "dataset")
"""Keys that each row writes itself: DVC, which knows no bases, reads them there."""

SECTIONS = ("rows", "tuned")

Content = dict[Any, Any]


def resolve(content: Content) -> Content:
    """The content of params.yaml in which rows hold all that they inherit.

    Raises:
        Fault: a base that does not exist, inherits from itself or holds what only a row may.
    """
    return content | {
        section: {name: _whole(content, f"{section}.{name}", row) for name, row in rows.items()}
        for section in SECTIONS
        if (rows := _mapping(content.get(section)))
    }


def check_used(content: Content) -> None:
    """Whether every base is inherited from, in content that is right otherwise.

    Raises:
        Fault: a base that no row takes.
    """
    rows = [(f"{section}.{name}", row) for section in SECTIONS for name, row in _mapping(content.get(section)).items()]
    used = {place for where, row in rows for place, _ in _layers(content, where, row, set())}
    for name in _mapping(content.get("bases")):
        if f"bases.{name}" not in used:
            raise Fault(f"bases.{name}", "no row inherits from it")


def written(content: Content, resolved: Content, path: str) -> str:
    """Where a value was written that a resolved row has under this path; of what no row has, the path itself."""
    section, _, inner = path.partition(".")
    for name, row in _mapping(content.get(section)).items() if section in SECTIONS else ():
        key = inner.removeprefix(f"{name}.")
        if key != inner and _holds(resolved[section][name], key):
            layers = _layers(content, f"{section}.{name}", row, set())
            return next(f"{where}.{key}" for where, layer in layers if _holds(layer, key))
    return path


def _whole(content: Content, where: str, row: Any) -> Any:
    if not isinstance(row, dict):
        return row  # which is complained of later
    whole: Content = {}
    for place, layer in reversed(list(_layers(content, where, row, set()))):
        if place != where and (own := next((key for key in OWN if key in layer), None)):
            raise Fault(f"{place}.{own}", "each row writes it itself, because DVC reads it there")
        whole = over(whole, layer)
    return {key: value for key, value in whole.items() if key != FROM}


def _layers(
    content: Content, where: str, layer: Any, seen: set[str], below: tuple[str, ...] = ()
) -> Iterator[tuple[str, Content]]:
    """What a row's values are taken from, each with its path, the uppermost first."""
    if not isinstance(layer, dict):
        raise Fault(where, f"found {show(layer)}; keys of a row are needed")
    yield where, layer
    seen.add(where)
    for name, base in reversed(list(_named(content, where, layer.get(FROM, "")))):
        place = f"bases.{name}"
        if place in (*below, where):
            raise Fault(f"{where}.{FROM}", f"{name} inherits from itself")
        if place not in seen:
            yield from _layers(content, place, base, seen, (*below, where))
    studies, name = _mapping(content.get("studies")), layer.get("study")
    if not below and isinstance(name, str) and studies and name not in studies:
        raise Fault(f"{where}.study", f"no study '{name}'{nearest(name, studies)}")
    study = _mapping(studies.get(str(name)))
    if not below and "rows" in study:
        yield from _layers(content, f"studies.{layer['study']}.rows", study["rows"], seen, (where,))


def _named(content: Content, where: str, names: Any) -> Iterable[tuple[str, Any]]:
    bases = _mapping(content.get("bases"))
    if not isinstance(names, str):
        raise Fault(f"{where}.{FROM}", f"found {show(names)}; names of bases with spaces between them are needed")
    for name in names.split():
        if name not in bases:
            raise Fault(f"{where}.{FROM}", f"no base '{name}'{nearest(name, bases)}")
        yield name, bases[name]


def over(below: Any, above: Any) -> Any:
    """The upper value laid over the lower one."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    if "name" in above and above["name"] != below.get("name"):
        return above
    return below | {key: over(below.get(key), value) for key, value in above.items()}


def _holds(value: Any, path: str) -> bool:
    """Whether a value stands under a path, whose steps may have dots themselves, as keys of a tuning's space do."""
    if not path:
        return True
    inside = value if isinstance(value, dict) else dict(enumerate(value)) if isinstance(value, list) else {}
    return any(
        _holds(inner, path.removeprefix(str(key)).removeprefix("."))
        for key, inner in inside.items()
        if f"{path}.".startswith(f"{key}.")
    )


def _mapping(value: Any) -> Content:
    """The value where it is a mapping; what else stands there is complained of later."""
    return value if isinstance(value, dict) else {}
