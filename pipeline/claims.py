"""Every claim of params.yaml with its verdict in each study, a line each: an index over all studies.

    pipeline/python -m pipeline.claims

Verdicts come from the outputs of stage `train` as they lie in runs/, and, of studies that this machine has not run,
from their committed reports, which hold the same with pictures.
"""

import re
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

from pipeline import paths
from pipeline.errors import UserError, command
from pipeline.findings.decisions import Decision
from pipeline.findings.verdicts import judge_available
from pipeline.params.reading import read_params
from pipeline.params.studies import Params
from pipeline.reporting.claims_section import MARKS
from pipeline.reporting.index import claim
from pipeline.running import report_folders

Verdicts = Mapping[str, Sequence[Mapping[str, str]]]
"""What `reporting.index.claim` says of each claim, by study."""


def verdicts_of(params: Params) -> tuple[Verdicts, list[str]]:
    """Verdicts on the rows that have results; what is wrong with others goes to stderr. A committed verdict counts as
    long as its claim is tested as it was.

    Returns:
        The verdicts, and the studies whose come from their reports.
    """
    committed = {
        (one["name"], told["name"], told.get("test")): told
        for one in report_folders.summaries(paths.REPORTS)
        for told in one["claims"]
    }
    found, elsewhere = {}, []
    for study in params.studies:
        verdicts, results, complaints = judge_available(params, study)
        for complaint in complaints:
            print(f"not counted: {complaint}", file=sys.stderr)
        here = list(map(claim, verdicts))
        there = {} if results else {one["name"]: committed.get((study, one["name"], one["test"])) for one in here}
        found[study] = [there.get(one["name"]) or one for one in here]
        elsewhere += [study] * any(there.values())
    return found, elsewhere


def index(verdicts: Verdicts) -> list[str]:
    """A line for each claim and study, those first that were run; the ends of lines may be cut off."""
    tests = [(study, one) for study, found in verdicts.items() for one in found]
    tests.sort(key=lambda test: test[1]["decision"] == Decision.NOT_RUN)
    longest = max((len(study) for study, _ in tests), default=0)
    return [_line(one, f"{study:<{longest}}") for study, one in tests]


NUMBER = re.compile(r"[+−]?\d[^(;]*")
"""What the seeds show, without its interval and what else is said."""


def _line(one: Mapping[str, str], study: str) -> str:
    decision, why = Decision(one["decision"]), one["why"]
    number = found[0].strip(" .") if (found := NUMBER.match(why)) else ""
    rest = why.removeprefix(number) if number else f"; {why}"
    return f"{MARKS[decision]} {decision:<12} {study} {number:<13} {one['name']}{rest}"


@command
def main() -> None:
    if len(sys.argv) > 1:
        raise UserError("usage: pipeline/python -m pipeline.claims")
    params = read_params()
    verdicts, elsewhere = verdicts_of(params)
    # In a terminal a claim is a line; where nobody watches, the line is whole.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in index(verdicts):
        print(line if width is None or len(line) <= width else f"{line[: width - 1]}…")
    counts = Counter(one["decision"] for found in verdicts.values() for one in found)
    told = ", ".join(f"{counts[decision]} {decision}" for decision in Decision if decision in counts)
    print(f"{len(params.claims)} claims, {counts.total()} tests: {told}")
    if elsewhere:
        print(f"As committed in reports/, not run on this machine: {', '.join(elsewhere)}")


if __name__ == "__main__":
    main()
