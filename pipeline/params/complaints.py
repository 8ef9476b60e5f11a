"""What pydantic knows about a model, in words: one line for what is wrong, and the reference of all keys."""

from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from pipeline.errors import UserError
from pipeline.text import nearest, one_line, short, show


class Fault(UserError):
    """A value of params.yaml that is wrong: its key's full path, what was found, what would be right."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path, self.message = path, message


def complain(model: type[BaseModel], content: Any, error: ValidationError) -> Fault:
    """The first thing wrong.

    Args:
        model: what the content was validated against.
        content: what the user wrote.
        error: what pydantic says of it.
    """
    # A misspelt key comes first: what is missing because of it would only mislead.
    problems = sorted(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
    where, message = _describe(model, content, problems[0])
    others = {_path(content, problem["loc"], problem["type"]) for problem in problems} - {where}  # not of each kind
    return Fault(where, f"{message} (and {len(others)} more)" if others else message)


def _describe(model: type[BaseModel], content: Any, problem: Any) -> tuple[str, str]:
    kind, loc, context = problem["type"], problem["loc"], problem.get("ctx", {})
    where, found = _path(content, loc, kind), show(problem["input"])
    if kind == "extra_forbidden":
        return where, f"unknown key{nearest(str(loc[-1]), keys_at(model, loc[:-1]))}"
    if kind == "missing":
        return where, "missing"
    if kind.startswith("union_tag"):
        where += "." + context["discriminator"].strip("'")
        if kind == "union_tag_not_found":
            return where, "missing"
        tags = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
        return where, f"unknown '{context['tag']}'{nearest(context['tag'], tags)}"
    if kind == "string_pattern_mismatch":
        return where, f"{found} is no name; letters, digits, - and _ make one"
    if kind == "too_short":
        return where, f"found {found}; {context['min_length']} or more needed"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        keys = keys_at(model, loc)
        return where, f"found {found}; keys are needed{f', such as {keys[0]}' if keys else ''}"
    wanted = one_line(problem["msg"]).removeprefix("Value error, ")
    return where, f"found {found}; {wanted[0].lower()}{wanted[1:]}"


def _path(content: Any, loc: tuple[int | str, ...], kind: str) -> str:
    """The path as the user wrote it: without the steps that pydantic adds for the members of a union."""
    path = []
    for step in loc:
        inside: dict[Any, Any] = (
            content if isinstance(content, dict) else dict(enumerate(content)) if isinstance(content, list) else {}
        )
        if step in inside:
            path.append(short(str(step)))
            content = inside[step]
    if kind == "missing":
        path.append(short(str(loc[-1])))
    return ".".join(path) or "params.yaml"


def keys_at(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """The keys that are known at a place."""
    annotation: Any = model
    for step in loc:
        options = _options(annotation)
        tagged = [option for option in options if step in _tags(option)]
        annotation = tagged[0] if tagged else _inside(options, step)
    return sorted({field.alias or key for option in _models(annotation) for key, field in option.model_fields.items()})


def _options(annotation: Any) -> list[Any]:
    """The types that an annotation may stand for."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [inner for option in get_args(annotation) for inner in _options(option)]
    return [annotation]


def _models(annotation: Any) -> list[type[BaseModel]]:
    return [option for option in _options(annotation) if isinstance(option, type) and issubclass(option, BaseModel)]


def _tags(option: Any) -> tuple[Any, ...]:
    """The values by which a member of a union is chosen."""
    fields = option.model_fields if _models(option) else {}
    literals = [get_args(fields[key].annotation) for key in ("source", "name") if key in fields]
    return literals[0] if literals else ()


def types_at(model: type[BaseModel], path: Sequence[str]) -> list[Any]:
    """The types that a value under a key's path may have; none where no such key is known."""
    options: list[Any] = [model]
    for step in path:
        fields = [option.model_fields[step] for option in options if _models(option) and step in option.model_fields]
        inner: list[Any] = [field.annotation for field in fields]
        inner += [get_args(option)[0] for option in options if get_origin(option) is list and step.isdecimal()]
        options = [option for annotation in inner for option in _options(annotation)]
    return options


def _inside(options: list[Any], step: int | str) -> Any:
    """The annotation of what lies under a key."""
    for option in options:
        if _models(option) and step in option.model_fields:
            return option.model_fields[step].annotation
        if get_origin(option) in (dict, list):
            return get_args(option)[-1]
    return None


def reference(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Every leaf below a model: its path, its default, its meaning; keys of a base that is itself a kind, in one."""
    base: Any = model.__base__
    inherited = {} if base.__name__.startswith("_") else base.model_fields
    if inherited:
        yield f"{prefix}*", "", f"all keys of a {base.__name__.lower()}"
    for key, field in model.model_fields.items():
        if key in inherited:
            continue
        annotation: Any = field.annotation
        path = prefix + (field.alias or key)
        if get_origin(annotation) is dict:
            path, annotation = f"{path}.<name>", get_args(annotation)[1]
        several = get_origin(annotation) is list
        models = _models(get_args(annotation)[0] if several else annotation)
        if not models or field.description:
            choice = " | ".join(map(str, get_args(annotation))) if get_origin(annotation) is Literal else ""
            meaning = field.description or "which kind"
            default = "required" if field.is_required() else "null" if field.default is None else str(field.default)
            yield path, default, f"{meaning}: {choice}" if choice else meaning
        for option in models:
            kind = f"({'|'.join(_tags(option))})" if len(models) > 1 else ""
            yield from reference(option, f"{path}{kind}.{'<n>.' * several}")
