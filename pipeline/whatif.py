"""What if a value of a row were another? Trains that beside the study, on the same seeds, and compares.

    make try ROW=both SET=optimizer.lr=0.01
    pipeline/python -m pipeline.whatif both "dropout=0.4 optimizer.lr=0.01"

params.yaml, the row's outputs and the report stay as they are. The runs lie in the run store, so that trying the same
again, or writing the value into params.yaml, trains nothing anew.
"""

import shlex
import sys
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline import paths
from pipeline.errors import UserError, command
from pipeline.findings.evidence import difference
from pipeline.findings.measured import Result, load_row
from pipeline.findings.stats import Estimate
from pipeline.findings.wording import interval
from pipeline.images import prepared
from pipeline.params import bases, references, space
from pipeline.params.complaints import complain
from pipeline.params.planned import PlannedStudy, read_study
from pipeline.params.quantities import COLUMNS
from pipeline.params.reading import read_params
from pipeline.params.rows import Row
from pipeline.params.studies import Params
from pipeline.running import beside, code, stages, store
from pipeline.running.pool import ThisMachine
from pipeline.running.rows import check_fit, describe
from pipeline.text import nearest, show
from pipeline.training import results

USAGE = """usage: make try ROW=both SET=optimizer.lr=0.01, or SET='dropout=0.4 each="conv bn act"'"""

KEPT = ("study", "dataset", "seeds", "published", "from")
"""What makes a row comparable with the one that it comes from, and what is no value of a run."""

SAID = ("norm.", "dropout", "activation")
"""Values that only some sentences read."""

SHOWN = (
    ("validation accuracy, %", "final_val_accuracy", 1),
    ("test accuracy, %", "test_accuracy", 1),
    ("test loss", "test_loss", 3),
)
"""What is compared: its name, column of seeds.csv and digits."""


@command
def main() -> None:
    if len(sys.argv) != 3 or not all(sys.argv[1:]):
        raise UserError(USAGE)
    name, words = sys.argv[1:]
    params = read_params()
    if name not in params.rows:
        raise UserError(f"ROW: no row '{name}'{nearest(name, params.rows)}")
    row = changed(params, name, words)
    stages.repro([f"train@{name}"], quiet=True)  # what it is compared with
    study = read_study(row.study)
    before = load_row(study, name, params.rows[name], paths.RUNS / row.study / name)
    after = trained(study, name, row)
    seeds = ", ".join(map(str, row.seeds))
    print(f"\n{name} as it is and with {words}; for each seed ({seeds}) the same images and the same draws:\n")
    print(comparison(before, after))
    print(
        f"\nTo keep it, write it into rows.{name} of params.yaml, or into a new row beside it.\n"
        "To see a whole report with it, and go back with git:"
        f" .venv/bin/dvc exp run {experiment(name, words)}"
        f" report@{row.study}"
    )


def experiment(name: str, words: str) -> str:
    """The options by which `dvc exp run` sets the values of a row, as a shell reads them."""
    return " ".join(f"-S {shlex.quote(f'++rows.{name}.{word}')}" for word in shlex.split(words))


def changed(params: Params, name: str, words: str) -> Row:
    """The row with other values.

    Args:
        params: as read.
        name: of the row.
        words: `key=value`, several with spaces between them.

    Raises:
        UserError: a key or value that a row cannot have.
    """
    values: dict[Any, Any] = params.rows[name].model_dump()
    pairs = settings(words)
    for key, value in pairs:
        first = key.partition(".")[0]
        if first in KEPT:
            raise UserError(f"SET: {first}: is the same for both that are compared; write another row instead")
        nested = value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        values = bases.over(values, nested)
    try:
        row = Row.model_validate(values)
        references.check(params.model_copy(update={"rows": params.rows | {name: row}}))
    except ValidationError as error:
        raise UserError(f"SET: {complain(Row, values, error)}") from None
    except UserError as error:
        raise UserError(f"SET: {str(error).removeprefix(f'rows.{name}.')}") from None
    for key, _ in pairs:
        if key.startswith(SAID) and not space.has(row, key):
            raise UserError(f"SET: {key}: no layer of {name} reads it, so nothing would change")
    return row


def settings(words: str) -> list[tuple[str, Any]]:
    """Keys with their values, which are YAML.

    Raises:
        UserError: words that are no such pairs.
    """
    pairs = []
    try:
        for word in shlex.split(words):
            key, equals, value = word.partition("=")
            if not key or not equals:
                raise UserError(f"SET: found {show(word)}; {USAGE}")
            pairs.append((key, YAML(typ="safe", pure=True).load(value)))
    except (KeyError, ValueError, YAMLError):
        raise UserError(f"SET: found {show(words)}; {USAGE}") from None
    # Names first: another optimizer or schedule leaves the values of the old one out.
    return sorted(pairs, key=lambda pair: not pair[0].endswith(".name"))


def trained(study: PlannedStudy, name: str, row: Row) -> Result:
    """The runs of a row that is in no plan.

    Raises:
        UserError: it does not fit its images or this machine, or a run crashed.
    """
    data = paths.prepared(row.dataset)
    check_fit("SET", row, prepared.info(data))
    digests = {"data": prepared.digest(data), "code": code.of_run(row)}
    runs = describe(name, row, **digests)
    beside.train(f"{name} changed", runs, ThisMachine())
    folder = paths.STORE / "tried" / name
    spec = digests | {"row": row.model_dump(exclude={"published"})}
    with store.held(f"{name}.tried", f"comparing other values of {name}"):
        results.write(spec, {run.seed: run.folder for run in runs}, data, folder, folder.with_name(f".draft-{name}"))
        return load_row(study, name, row, folder)


def comparison(before: Result, after: Result) -> str:
    """What both measure, the paired difference, and what may be said of it."""
    lines = [f"{'':24}{'as it is':>16}{'changed':>16}{'difference':>16}"]
    differences: dict[str, Estimate | None] = {}
    for label, column, digits in SHOWN:
        known = COLUMNS[column]
        found = differences[column] = difference(known, after, before)
        shown = [interval(result.estimate(column), digits, known.scale) for result in (before, after)]
        shown.append(interval(found, digits, known.scale, sign=True))
        lines.append(f"{label:24}" + "".join(f"{text:>16}" for text in shown))
    if after.failures:
        lines.append(f"{len(after.failures)} of {len(after.runs)} runs failed: {after.failures[0].failure}")
    return "\n".join([*lines, "", _verdict(differences["final_val_accuracy"])])


def _verdict(found: Estimate | None) -> str:
    advice = "Values are chosen by validation images: who keeps what does best on the test images has trained on them."
    if found is None or found.half_width is None:
        return f"One seed says nothing about chance.\n{advice}"
    sure = abs(found.mean) > found.half_width
    word = ("better" if found.mean > 0 else "worse") if sure else "not surely better or worse"
    return f"On the validation images it is {word} (95 %, paired by seed).\n{advice}"


if __name__ == "__main__":
    main()
