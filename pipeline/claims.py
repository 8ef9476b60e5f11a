"""Every claim of params.yaml with its verdicts on what was run, a line each: an index over all studies.

    pipeline/python -m pipeline.claims

Verdicts come from the outputs of stage `train` as they lie in runs/; a study's report holds the same, with pictures.
"""

import shutil
import sys

from pipeline.errors import command
from pipeline.findings.decisions import Decision
from pipeline.findings.verdicts import Verdict, judge_available
from pipeline.params.reading import read_params
from pipeline.params.studies import Params
from pipeline.reporting.claims_section import MARKS, in_favour, tally


def verdicts_of(params: Params) -> dict[str, list[Verdict]]:
    """Verdicts by study, on the rows that have results; what is wrong with others goes to stderr."""
    found = {}
    for name in params.studies:
        found[name], _, complaints = judge_available(params, name)
        for complaint in complaints:
            print(f"not counted: {complaint}", file=sys.stderr)
    return found


def index(verdicts: dict[str, list[Verdict]]) -> list[str]:
    """A line for each claim and study, those first that were run; the ends of lines may be cut off."""
    tests = [(study, verdict) for study, found in verdicts.items() for verdict in found]
    tests.sort(key=lambda test: test[1].decision is Decision.NOT_RUN)
    longest = max((len(study) for study, _ in tests), default=0)
    return [_line(verdict, f"{study:<{longest}}") for study, verdict in tests]


def _line(verdict: Verdict, study: str) -> str:
    mean, _, ends = in_favour(verdict).partition(" (")
    interval = f" ({ends}" if ends else ""
    reason = f"; {verdict.reason}" if verdict.reason else ""
    name, decision = verdict.case.name, verdict.decision
    return f"{MARKS[decision]} {decision:<12} {study} {mean:<13} {name}{interval}{reason}"


@command
def main() -> None:
    params = read_params()
    verdicts = verdicts_of(params)
    # In a terminal a claim is a line; where nobody watches, the line is whole.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in index(verdicts):
        print(line if width is None or len(line) <= width else f"{line[: width - 1]}…")
    tests = [verdict for study in verdicts.values() for verdict in study]
    print(f"{len(params.claims)} claims, {len(tests)} tests: {tally(tests)}")


if __name__ == "__main__":
    main()
