"""The story over all studies: each answer, what contradicts what is said elsewhere, what is settled, what is open."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pipeline.findings.decisions import Decision
from pipeline.findings.findings import Findings
from pipeline.findings.verdicts import Verdict
from pipeline.findings.wording import cell
from pipeline.reporting.claims_section import MARKS, tally, why
from pipeline.reporting.section import Section, Words

TITLE = "Batch normalization, dropout, or both, and in which order?"
LEAD = (
    "What the studies of this repository answer, and what they say to claims made elsewhere. A row is one network and"
    " how it is trained, several times. A point is one in a hundred test images; ± is half of a number's own 95 %"
    " interval; (not sure) marks a number that chance alone can explain, all numbers of its answer taken together."
)
PRIMER = "New to these layers? The [primer](primer.md) shows what they do, on small examples."

ANSWERS, ANSWERS_END = "<!-- what studies answer, as their reports say it -->", "<!-- answers end -->"
"""Marks in README.md between which the reports write."""

FIRST = re.compile(r"^.*?[.](?=\s|$)", re.DOTALL)
"""The first sentence of a text."""

Summary = dict[str, Any]
"""What the index says of a study, as `summary` gives it."""


def summary(found: Findings) -> Summary:
    """What the index says of a study."""
    return {
        "name": found.study.name,
        "title": found.title,
        "question": found.question,
        "answer": found.answer,
        "note": found.note,
        "demonstration": found.study.study.demonstration,
        "rows": len(found.results),
        "runs": sum(len(result.runs) for result in found.results),
        "failed": sum(len(result.failures) for result in found.results),
        "tally": tally(found.verdicts),
        "claims": list(map(claim, found.verdicts)),
    }


def claim(verdict: Verdict) -> dict[str, str]:
    """What the index says of a claim that a study tests."""
    return {
        "name": verdict.case.name,
        "says": verdict.case.claim.says,
        "source": verdict.case.claim.source,
        "test": verdict.case.claim.test,
        "decision": str(verdict.decision),
        "why": why(verdict),
    }


OPEN = {Decision.UNDECIDED, Decision.NOT_RUN}

HEADINGS = {
    "Contradicted: what is said elsewhere, and does not hold here": {Decision.CONTRADICTED},
    "Supported: what is said elsewhere, and holds here": {Decision.SUPPORTED},
    "Too small to matter": {Decision.NEGLIGIBLE},
    "Open: more seeds are needed, or the study has not been run": OPEN,
    "It depends: one study decides otherwise than another": set[Decision](),
}
"""Claims by what their studies decide; those whose studies decide differently come under the heading without any."""


def ranked(summaries: Iterable[Summary]) -> list[Summary]:
    """Studies as a reader should meet them: demonstrations last, and what decides the most claims first."""

    def place(one: Summary) -> tuple[bool, int]:
        decided = [claim for claim in one["claims"] if Decision(claim["decision"]) not in OPEN]
        return one["demonstration"], -len(decided)

    return sorted(summaries, key=place)


def evidence(summaries: Sequence[Summary]) -> Sequence[Summary]:
    """All but demonstrations; where there is nothing else, these."""
    return [one for one in summaries if not one["demonstration"]] or summaries


def with_answers(readme: str, summaries: Sequence[Summary]) -> str:
    """README.md with the first sentence of what studies answer between its marks, if it has them; of demonstrations,
    with that of their note, only where there is nothing else.

    Args:
        readme: as it is.
        summaries: what `summary` gives of each.
    """
    told = "".join(f"- [{one['title']}](reports/{one['name']}.md): {_first(one)}\n" for one in evidence(summaries))
    return re.sub(f"(?<={ANSWERS}\n).*?(?={ANSWERS_END})", lambda _: told, readme, count=1, flags=re.DOTALL)


def _first(found: Summary) -> str:
    """The first sentence of an answer, and of a demonstration's note."""
    texts = (found["answer"], found["note"] if found["demonstration"] else "")
    return " ".join(sentence for text in texts for sentence in FIRST.findall(text))


def sections(summaries: Sequence[Summary]) -> list[Section]:
    """The index.

    Args:
        summaries: of all studies that have a report.
    """
    studies = map(_study, summaries) if summaries else ["No study has been run yet: `make quickstart`."]
    return [Section("Studies", [Words(text) for text in (PRIMER, *studies)]), *_claims(evidence(summaries))]


def _study(found: Summary) -> str:
    failed = f", {found['failed']} failed" if found["failed"] else ""
    claims = f"; claims: {found['tally']}" if found["tally"] else ""
    head = f"### [{cell(found['title'])}]({found['name']}.md)\n\n{cell(found['question'])}"
    note = f"**Note.** {found['note']}" if found["note"] else ""
    size = f"{found['rows']} rows, {found['runs']} runs{failed}{claims}."
    return "\n\n".join(filter(None, [head, f"**Answer.** {found['answer']}", note, size]))


def _claims(summaries: Sequence[Summary]) -> Iterator[Section]:
    """A section for each heading under which a claim falls.

    Args:
        summaries: of studies that are evidence.
    """
    tests: dict[str, list[tuple[str, dict[str, str]]]] = {}
    for found in summaries:
        for claim in found["claims"]:
            tests.setdefault(claim["name"], []).append((found["name"], claim))
    placed = {name: _heading({Decision(claim["decision"]) for _, claim in test}) for name, test in tests.items()}
    for heading in HEADINGS:
        lines = [_claim(test) for name, test in tests.items() if placed[name] == heading]
        if lines:
            yield Section(heading, [Words("\n".join(lines))])


def _heading(decisions: set[Decision]) -> str:
    decided = decisions - OPEN or OPEN
    return next(heading for heading, known in HEADINGS.items() if known == decided or not known)


def _claim(tests: Sequence[tuple[str, dict[str, str]]]) -> str:
    claim = tests[0][1]
    found = (
        f"{MARKS[Decision(each['decision'])]} [{study}]({study}.md) {each['decision']}, {each['why']}"
        for study, each in tests
    )
    return f"- {cell(claim['says'])} ({cell(claim['source'])}) {' '.join(found)}"
