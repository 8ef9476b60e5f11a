"""What `make new` writes into params.yaml: the rule, and that nothing else changes."""

import difflib

import pytest
from dvc.utils.serialize import dumps_yaml, parse_yaml, parse_yaml_for_update

from models import Backbone, Sentence
from pipeline import paths
from pipeline.errors import UserError
from pipeline.params import proposal
from pipeline.params.reading import read_params

ADDED = {
    "datasets": {"mine": {"source": "folder", "path": "/a folder/with: all {kinds} of #signs"}},
    "studies": {"mine": {"title": "t", "question": "q", "rows": {"from": "adam narrow", "seeds": [0, 1], "epochs": 2}}},
    "rows": {"mine-bn": {"study": "mine", "dataset": "mine", "from": "bn"}},
}
FLOW = {"datasets": 1, "studies": 2, "rows": 1}


def test_entries_are_added_at_the_end_of_their_sections_and_nothing_else_changes() -> None:
    """Broken: comments or the order of params.yaml would be lost, or another row be changed, by adding a study."""
    before = paths.PARAMS.read_text()
    after, shown = proposal.spliced(before, ADDED, FLOW)
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    assert not [line for line in lines if line.startswith("-")]
    assert all(line[2:] in shown for line in lines if line.startswith("+"))
    old, new = (parse_yaml(text, "params.yaml") for text in (before, after))
    assert new == old | {key: old[key] | ADDED[key] for key in ADDED}
    assert all(list(new[key])[-1] == list(ADDED[key])[-1] for key in ADDED)


def test_what_is_added_lies_as_dvc_would_write_it() -> None:
    """Broken: the next `dvc exp run -S` would move lines that nobody changed."""
    after, _ = proposal.spliced(paths.PARAMS.read_text(), ADDED, FLOW)
    again = dumps_yaml(parse_yaml_for_update(after, "params.yaml"))
    assert [line for line in again.splitlines() if "mine" in line] == [
        line for line in after.splitlines() if "mine" in line
    ]


def test_a_section_in_braces_is_refused() -> None:
    """Broken: a file of another layout would be torn apart."""
    with pytest.raises(UserError, match=r"params\.yaml: rows: must begin on a line of its own"):
        proposal.spliced("rows: {a: {}}\n", {"rows": {"b": {}}}, FLOW)


@pytest.mark.parametrize("side", [8, 15, 16, 28, 32, 48, 64, 100, 224])
@pytest.mark.parametrize("images", [20, 200, 5_000, 60_000, 1_000_000])
def test_every_proposed_backbone_fits_its_images(side: int, images: int) -> None:
    """Broken: a folder of photos would be refused after the study was written."""
    sentence = Sentence(each="conv bn act", end="pool drop", head="dense bn act drop")
    made = Backbone(**proposal.backbone(images, side))
    made.check(sentence)
    assert made.least_side(sentence) <= side
    assert 10 <= proposal.epochs(images) <= 40


def test_a_study_with_a_rate_for_each_place_keeps_its_backbone() -> None:
    """Broken: rates of another number of places would be refused."""
    params = read_params()
    content = parse_yaml(paths.PARAMS.read_text(), "params.yaml")
    fitted = {"backbone": proposal.backbone(200, 64), "epochs": 12}
    rated = next(name for name, row in params.rows.items() if row.study == "vgg2" and isinstance(row.dropout, list))
    for name, fits in ((rated, False), ("both", True)):
        like, label = params.rows[name].study, name.removeprefix("vgg2-")
        shared, rows = proposal.section(content, {label: params.rows[name]}, like, "mine", [label], fitted)
        assert (shared.get("backbone") == fitted["backbone"]) is fits
        assert shared["epochs"] == 12
        assert rows[f"mine-{label}"]["dataset"] == rows[f"mine-{label}"]["study"] == "mine"
        assert "trainer" not in shared
