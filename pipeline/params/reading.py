"""params.yaml as typed, validated values, or one line that says what is wrong with it.

Stages after `plan` never read params.yaml: `plan` writes every row and data set with all defaults
filled in, and these files are what DVC tracks. So a change here retrains a row only where it
changes what the row means.
"""

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import AliasEvent

from pipeline import paths
from pipeline.errors import UserError
from pipeline.params import bases, references
from pipeline.params.complaints import Fault, complain
from pipeline.params.studies import Params
from pipeline.text import nearest, one_line, show


def read_params(path: Path = paths.PARAMS) -> Params:
    """Reads and checks all of params.yaml.

    Raises:
        UserError: one line that names the file or the key's full path, where the value was written.
    """
    content = _load(path)
    resolved = content
    try:
        resolved = bases.resolve(content)
        params = _validated(_cited(resolved))
        references.check(params)
        bases.check_used(content)
    except Fault as fault:
        place = bases.written(content, resolved, fault.path)
        heir = "" if place == fault.path else f" (inherited by {'.'.join(fault.path.split('.')[:2])})"
        raise UserError(f"{place}: {fault.message}{heir}") from None
    except RecursionError:
        raise UserError(f"{path.name}: refers to itself") from None
    return params


class _Composer(Composer):
    """Refuses aliases: DVC loses what is set behind them, and a few lines of them stand for more than memory holds."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.parser.check_event(AliasEvent):
            mark = self.parser.peek_event().start_mark
            raise ComposerError(problem="an alias; rows inherit by name, see `from`", problem_mark=mark)
        return super().compose_node(parent, index)


def _load(path: Path) -> dict[Any, Any]:
    """The content as YAML."""
    yaml = YAML(typ="safe", pure=True)  # the reader that DVC uses, so that both see the same values
    yaml.Composer = _Composer
    try:
        content = yaml.load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path.name}: {error.strerror}") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise UserError(f"{path.name}{place}: not YAML: {one_line(error.problem or error.context)}") from None
    except Exception as error:  # a KeyError of `!!bool maybe`, an AssertionError of `%YAML 1.3` and others
        raise UserError(f"{path.name}: not YAML: {one_line(error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path.name}: holds {show(content)}; datasets, studies and rows are needed")
    return content


def _validated(content: dict[Any, Any]) -> Params:
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise complain(Params, content, error) from None


def _cited(content: dict[Any, Any]) -> dict[Any, Any]:
    """The content with the words of `sources` where a row's publication or a claim names one of them.

    Raises:
        Fault: a single word that names none.
    """
    sources = content.get("sources")

    def cite(holder: Any, path: str) -> Any:
        if not isinstance(holder, dict) or not isinstance(sources, dict):
            return holder
        key = holder.get("source")
        source = sources.get(key) if isinstance(key, str) else None
        if isinstance(key, str) and sources and source is None and len(key.split()) == 1:
            raise Fault(f"{path}.source", f"no source '{key}'{nearest(key, sources)}")
        words = {"source": source.get("cite") if isinstance(source, dict) else source} if source else {}
        inner = {"published": cite(holder["published"], f"{path}.published")} if "published" in holder else {}
        return holder | words | inner

    cited = {
        section: {key: cite(holder, f"{section}.{key}") for key, holder in content[section].items()}
        for section in ("rows", "tuned", "claims")
        if isinstance(content.get(section), dict)
    }
    return content | cited
