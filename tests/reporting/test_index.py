"""The story over all studies, and what of it stands in README.md."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.reporting import index
from pipeline.running import report_folders

ROOT = Path(__file__).parent.parent.parent


def summary(name: str, note: str, *decisions: str) -> dict[str, Any]:
    claims = [{"name": f"c{i}", "decision": decision} for i, decision in enumerate(decisions)]
    return {
        "name": name,
        "title": name.upper(),
        "answer": f"{name} is 0.5 points ahead.",
        "note": note,
        "demonstration": "demonstration" in note,
        "claims": claims,
    }


def test_what_decides_most_comes_first_and_demonstrations_last() -> None:
    """Broken: a reader would meet a demonstration, or a study that settles nothing, before an answer."""
    studies = [
        summary("a", "Seeds were added.", "undecided", "undecided", "not run"),
        summary("b", "A demonstration.", "supported", "supported"),
        summary("c", "", "supported", "contradicted", "undecided"),
    ]
    assert [one["name"] for one in index.ranked(studies)] == ["c", "a", "b"]
    assert [one["name"] for one in index.evidence(studies)] == ["a", "c"]
    assert index.evidence(studies[1:2]) == studies[1:2]


def readme(*studies: dict[str, Any]) -> str:
    return index.with_answers(f"T\n{index.ANSWERS}\nold\n{index.ANSWERS_END}\nEnd\n", studies)


def test_readme_says_the_first_sentence_of_what_is_evidence() -> None:
    """Broken: the first screen would be filled by numbers, or show a demonstration as if it were evidence."""
    shown = summary("a", "A demonstration at 0.5 points. The rate was chosen after a look.")
    evidence = summary("b", "Seeds were added.")
    evidence["answer"] += " And more."
    assert readme(shown, evidence) == (
        f"T\n{index.ANSWERS}\n- [B](reports/b.md): b is 0.5 points ahead.\n{index.ANSWERS_END}\nEnd\n"
    )
    assert "- [A](reports/a.md): a is 0.5 points ahead. A demonstration at 0.5 points.\n" in readme(shown)


IN_SHORT = {
    "Where to put dropout": {
        ("shift-small", "dropout-before-bn-is-worse"): "supported",
        ("shift-small", "dropout-behind-the-last-bn-does-no-harm"): "supported",
    },
    "Both or one": {
        ("vgg2-small", "both-worse-than-either"): "contradicted",
        ("vgg2-small", "bn-replaces-dropout"): "contradicted",
        ("vgg16-small", "bn-replaces-dropout"): "supported",
    },
    "In which order within a block": {
        ("order-small", "bn-before-act-is-better"): "supported",
        ("order-small", "without-dropout-it-generalizes-worse"): "supported",
    },
}
"""What README says in short, and the verdicts that it says it of."""


@pytest.mark.parametrize("line", IN_SHORT)
def test_what_readme_says_in_short_is_what_the_reports_decide(line: str) -> None:
    """Broken: the first lines that anybody reads would outlive the results that they stand on."""
    found = {
        (one["name"], claim["name"]): claim["decision"]
        for one in report_folders.summaries(ROOT / "reports")
        for claim in one["claims"]
    }
    assert f"- **{line}:**" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert {test: found[test] for test in IN_SHORT[line]} == IN_SHORT[line]
