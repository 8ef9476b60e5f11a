"""Which network a study hands on, and what its description holds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.findings import measured
from pipeline.params.rows import Row
from pipeline.tracking import champion, group_colours, summary


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "b"),
        ({"b": {"leaking": True}}, "c"),
        ({"b": {"failed": True}}, "c"),
        ({name: {"failed": True} for name in "abc"}, "b"),
        ({name: {"leaking": True} for name in "abc"}, None),
        ({"b": {"validation": 0.7}}, "c"),
        ({"b": {"validation": 0.8, "loss": 0.3}}, "b"),
        ({"b": {"validation": 0.8, "loss": 0.7}}, "c"),
    ],
)
def test_the_champion_is_chosen_on_validation_images(
    changes: dict[str, dict[str, Any]], expected: str | None, make_row: Callable[..., Row]
) -> None:
    """Broken: test images would choose what is handed on, or a row that diverges now and then would be."""

    def result(name: str, validation: float, loss: float = 0.5, leaking: bool = False, failed: bool = False) -> Any:
        row = make_row(select_on="test" if leaking else "validation", seeds=[0, 1, 2])
        # The better on validation images, the worse on test images.
        numbers = [
            {"final_val_accuracy": value, "final_val_loss": loss, "test_accuracy": 1 - value}
            for value in (validation, validation + 0.01)
        ]
        runs = [measured.Run(seed, None, line) for seed, line in enumerate(numbers)]
        runs += [measured.Run(2, "diverged" if failed else None, {} if failed else numbers[0])]
        return measured.Result(name, row, Path(name), {"classes": ["x", "y", "z"]}, runs, {})

    known: dict[str, dict[str, Any]] = {"a": {"validation": 0.6}, "b": {"validation": 0.9}, "c": {"validation": 0.8}}
    group = [result(name, **(about | changes.get(name, {}))) for name, about in known.items()]
    found = champion.champion(group)
    assert (found.result.name if found else None) == expected
    if found:
        assert found.run.seed == 1


def test_descriptions_keep_whole_sections() -> None:
    """Broken: MLflow would cut a description in the middle of a table."""
    text = "# T\n\nA\n\n## B\n\nb\n\n## C\n\n" + "c" * 100
    assert summary.clipped(text, 200) == text
    assert summary.clipped(text, 80) == "# T\n\nA\n\n## B\n\nb\n\nThe rest is in the artifact `report`."
    assert len(summary.clipped("x" * 300, 100)) == 100


def test_a_description_is_the_first_layer() -> None:
    """Broken: MLflow's description would show pictures that it cannot, or end amid a part that is folded away."""
    text = "# T\n\nA\n\n![P](s/p.svg)\n\nB\n\n<details>\n<summary>F</summary>\n\nx\n\n</details>\n"
    assert summary.first_layer(text) == "# T\n\nA\n\n\nB\n\nThe rest is in the artifact `report`."
    assert summary.first_layer("# T\n\nA\n") == "# T\n\nA"


def test_rows_of_a_study_have_colours_of_their_own() -> None:
    """Broken: two rows of the quickstart would share one brown, as they do when grouped by the tag `row`."""
    rows = ("both", "dropout", "drop-after-last-bn", "bn", "plain", "drop-before-bn")
    assert (
        group_colours.colour("row", "drop-before-bn") == group_colours.colour("row", "drop-after-last-bn") == "#a6630c"
    )
    tag = group_colours.tag(rows)
    assert len({group_colours.colour(tag, row) for row in rows}) == len(rows)
    assert group_colours.tag(reversed(rows)) == tag
