"""The story over all studies, and what of it stands in README.md."""

from typing import Any

from pipeline.reporting import index


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
