"""Every claim of params.yaml with its verdicts on what was run: an index over all studies.

    pipeline/python -m pipeline.claims

Verdicts come from the outputs of stage `train` as they lie in runs/; a study's report holds the same, with pictures.
"""

import sys

from rich.console import Console
from rich.table import Table

from pipeline.errors import command
from pipeline.findings.verdicts import Verdict, judge_available
from pipeline.params.reading import read_params
from pipeline.params.studies import Params
from pipeline.reporting.claims_section import in_favour, tally


def verdicts_of(params: Params) -> dict[str, list[Verdict]]:
    """Verdicts by study, on the rows that have results; what is wrong with others goes to stderr."""
    found = {}
    for name in params.studies:
        found[name], _, complaints = judge_available(params, name)
        for complaint in complaints:
            print(f"not counted: {complaint}", file=sys.stderr)
    return found


def index(params: Params, verdicts: dict[str, list[Verdict]]) -> Table:
    """One line per claim and study, in the order of params.yaml."""
    found = Table(box=None, pad_edge=False)
    for name in ("claim", "study", "verdict", "in its favour, 95 % interval"):
        found.add_column(name, no_wrap=name != "claim", overflow="fold")
    found.add_column("why it is open")
    for name, claim in params.claims.items():
        for study in claim.by_study():
            (verdict,) = (verdict for verdict in verdicts[study] if verdict.case.name == name)
            found.add_row(name, study, verdict.decision, in_favour(verdict), verdict.reason)
    return found


@command
def main() -> None:
    params = read_params()
    verdicts = verdicts_of(params)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 10_000
    console.print(index(params, verdicts))
    tests = [verdict for study in verdicts.values() for verdict in study]
    console.print(f"{len(params.claims)} claims, {len(tests)} tests: {tally(tests)}")


if __name__ == "__main__":
    main()
