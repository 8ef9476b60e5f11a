"""The sections on how the results came about and how to have them again."""

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.findings.findings import Findings
from pipeline.findings.measured import Result
from pipeline.findings.wording import NONE, marked, named, table
from pipeline.params import vocabulary
from pipeline.params.rows import PARTS, Row
from pipeline.reporting.section import Section, Words, details


def settings(found: Findings) -> Iterator[Section]:
    """What the rows share and where they differ, beside the sentence that the ranking shows."""
    shown = [_setting(result.row) for result in found.results]
    keys = list(dict.fromkeys(key for setting in shown for key in setting))
    differing = [key for key in keys if len({setting.get(key, NONE) for setting in shown}) > 1]
    shared = ", ".join(f"`{key}: {shown[0][key]}`" for key in keys if key not in differing)
    parts = [f"Common to all rows: {shared}."]
    if differing:
        head = ["row", *(f"`{key}`" for key in differing)]
        pairs = zip(found.results, shown, strict=True)
        lines = [[marked(result), *(setting.get(key, NONE) for key in differing)] for result, setting in pairs]
        parts.append(table(head, lines, numbers_from=len(head)))
    yield Section("Settings", [Words(part) for part in parts])


def _setting(row: Row) -> dict[str, str]:
    drops = set(row.words()).intersection(vocabulary.kinds()["dropouts"])
    values = row.model_dump(exclude={"study", "published", *PARTS} | (set() if drops else {"dropout"}))
    return {key: _shown(value) for key, value in flat(values).items()}


def flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Settings by their full keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return found


def _shown(value: Any) -> str:
    """A value as a reader would write it in params.yaml."""
    return "none" if value is None else str(value).lower()


def reproduction(found: Findings) -> Iterator[Section]:
    """How to have the study's results again, and, on the page, each row's."""
    study = found.study.name
    lines = [
        f"- Commit: the one that holds this file, `git log -1 --format=%H -- reports/{study}.md`.",
        f"- The same bytes: `.venv/bin/dvc repro -f report@{study} && git diff --exit-code dvc.lock` trains everything"
        " afresh; no difference means that every result is the same to the byte.",
    ]
    for group in found.groups:
        spec, dataset = group[0].spec, group[0].row.dataset
        train, validation, pool, test = (f"{spec['images'][key]:,}" for key in ("train", "validation", "pool", "test"))
        images = f"each seed draws {train} that train and {validation} that validate from {pool}; {test} test"
        content = f"as `datasets.{dataset}` of params.yaml says; {len(spec['classes'])} classes; {images}"
        lines.append(f"- Data `{dataset}`: {content}; MD5 {_digests(group, 'data')}.")
    lines.append(f"- Arithmetic: {_arithmetic(found.results)}")
    lines.append(f"- Code that can change a number: MD5 {_digests(found.results, 'code')}.")
    rows = [details(named(result), _row(study, result)) for result in found.results]
    command = Words(f"```sh\n.venv/bin/dvc repro report@{study}\n```")
    yield Section("How to reproduce", [command, Words("\n".join(lines)), *rows])


def _arithmetic(results: Sequence[Result]) -> str:
    """On which processors the bytes are the same."""
    native = [f"`{result.label}`" for result in results if result.row.trainer.arithmetic == "native"]
    everywhere = "portable; the CPU of any x86-64 Linux machine with AVX2 gives the same bytes"
    if not native:
        return f"{everywhere}."
    if len(native) == len(results):
        return "native; another kind of processor rounds otherwise."
    return f"{everywhere}, but for {', '.join(native)}: native, which another kind of processor rounds otherwise."


def _digests(results: Sequence[Result], key: str) -> str:
    """The digest of all rows, or each with its rows where outputs of several versions lie beside each other."""
    rows: dict[str, list[str]] = {}
    for result in results:
        rows.setdefault(result.spec[key], []).append(f"`{result.label}`")
    if len(rows) == 1:
        return f"`{next(iter(rows))}`"
    return "; ".join(f"`{digest}` ({', '.join(names)})" for digest, names in rows.items())


def _row(study: str, result: Result) -> str:
    name = result.name
    lines = [
        f"- Train it unless it is trained: `.venv/bin/dvc repro {result.stage}`",
        f"- Train it afresh: `.venv/bin/dvc repro --force --single-item {result.stage}`",
        f"- See its layers: `pipeline/python -m pipeline.network {name}`",
        f"- Data: MD5 `{result.spec['data']}`; code: MD5 `{result.spec['code']}`",
        f"- MLflow: experiment `{study}`, search `tags.row = '{name}' and tags.current = 'yes'`, one run per seed; what"
        f" they cost, and on which hardware, is attached to the run `summary of {study}`",
    ]
    lines += [f"- Seed {run.seed} failed: {run.failure}" for run in result.failures]
    return "\n".join(lines)
