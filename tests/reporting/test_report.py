"""The report says what the outputs hold: nothing more, nothing else, and the same bytes each time."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from outputs import CLASSES, make_row, make_study, prepare, write_diagnosis, write_outputs
from safetensors.torch import load_file

from pipeline import paths, report
from pipeline.errors import UserError
from pipeline.findings import gallery
from pipeline.findings.findings import Findings
from pipeline.findings.measured import Result
from pipeline.images import prepared
from pipeline.params.planned import PlannedStudy
from pipeline.params.rows import Row
from pipeline.params.studies import Source
from pipeline.reporting import charts, curve_sections, index, panels, sections
from pipeline.reporting.grid import grid
from pipeline.reporting.markdown import markdown
from pipeline.storage import write_json

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data sets of two classes."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("digits", "cifar", "other"):
        prepare(folder / name, images=6, classes=CLASSES)
    return folder


@pytest.fixture(autouse=True)
def prepared_data(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every report finds the test images that its gallery shows."""
    monkeypatch.setattr(paths, "DATA", data_folder)


Measure = Callable[..., list[list[Result]]]


@pytest.fixture
def measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Gives the ranked results of rows with these accuracies by seed."""
    monkeypatch.setattr(paths, "STORE", tmp_path / "store")

    def ranked(rows: dict[str, tuple[Row, Sequence[float | None]]]) -> list[list[Result]]:
        for name, (row, accuracies) in rows.items():
            write_outputs(tmp_path / "runs" / name, row, accuracies)
        return report.load(make_study({name: row for name, (row, _) in rows.items()}), tmp_path / "runs")

    return ranked


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose plan, runs and reports lie in a temporary folder."""
    for name in ("PLAN", "RUNS", "DIAGNOSIS", "REPORTS", "STORE"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    return tmp_path


def plan_study(root: Path, rows: dict[str, Row]) -> PlannedStudy:
    """A study as the stage `plan` writes it, with its diagnosis."""
    study = make_study(rows)
    folder = root / "plan" / "studies"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "s.json").write_text(study.model_dump_json())
    (root / "plan" / "claims").mkdir(exist_ok=True)
    (root / "plan" / "claims" / "s.json").write_text("{}")
    write_diagnosis(root / "diagnosis" / "s", rows)
    return study


def run_stage(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """What `python -m pipeline.report` does with these words."""
    monkeypatch.setattr(sys, "argv", ["report", *words])
    report.main()


def written(rows: Mapping[str, tuple[Row, Sequence[float | None]]], groups: list[list[Result]]) -> str:
    """The report in Markdown."""
    found = Findings(make_study({name: row for name, (row, _) in rows.items()}), groups, gallery.load(groups), [])
    return markdown(found, sections.report(found))


def line_of(text: str, name: str, section: str = "Test accuracy") -> list[str]:
    """The cells of a row's line in the first table below a heading."""
    body = re.split(rf"(?:# |<strong>){section}", text, maxsplit=1)[1]
    line = next(line for line in body.splitlines() if line.startswith(f"| `{name}`"))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def fingerprint(folder: Path) -> dict[str, str]:
    """MD5 of every file under a folder, by path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.md5(path.read_bytes()).hexdigest() for path in files}


WINNER = (0.90, 0.91, 0.92)


def test_failed_runs_are_shown(measure: Measure) -> None:
    """Else runs that diverged vanish, and a row looks better than it is."""
    rows = {
        "dead": (make_row(), (None, None, None)),
        "half": (make_row(), (0.5, None, 0.7)),
        "sound": (make_row(), (0.5, 0.5, 0.5)),
    }
    groups = measure(rows)
    text = written(rows, groups)
    reason = "training loss not finite in epoch 2"
    assert line_of(text, "half")[2] == "56.67 ± 28.68"
    assert line_of(text, "half")[-2] == f"1 of 3 failed; the first, seed 1: {reason}"
    assert line_of(text, "dead")[:3] == ["`dead`", "2", "50.00 ± 0.00"]
    assert line_of(text, "dead")[-2] == f"3 of 3 failed; the first, seed 0: {reason}"
    assert line_of(text, "dead", "Test images")[1] == "0.6931 ± 0.0000"
    assert line_of(text, "dead", "Comparisons")[1].startswith("50.00")
    assert [result.name for result in groups[0]] == ["half", "dead", "sound"]


def test_leaking_rows_are_marked(measure: Measure) -> None:
    """Else an accuracy that was selected on test images passes for an honest one."""
    rows = {"leaky": (make_row(select_on="test"), WINNER), "honest": (make_row(), WINNER)}
    text = written(rows, measure(rows))
    assert "| `leaky` † |" in text
    assert "difference to `honest`, points" in text
    assert "`honest` †" not in text
    assert "\n† Selected on test images" in text


def test_published_beside_measured(measure: Measure) -> None:
    """Else the difference to a publication has the wrong sign, unit or source."""
    published = {"accuracy": 0.95, "loss": 0.5, "source": "A | B"}
    rows = {"a": (make_row(published=published), (0.90, 0.91, 0.92)), "b": (make_row(), WINNER)}
    text = written(rows, measure(rows))
    section = text.split("Published beside measured")[1].split("<details>")[0]
    assert line_of(text, "a", "Published")[1:] == [
        "3 runs on 1,000 training images, selected on validation images",
        r"A \| B",
        "accuracy, %",
        "95.00",
        "91.00 ± 2.48",
        "−4.00",
    ]
    assert "| loss, nats | 0.5000 | 0.1250 ± 0.0000 | −0.3750 |" in section
    assert "`b`" not in section
    assert "| AUC |" not in section


def test_what_was_copied_and_how_a_study_was_made_are_told(measure: Measure) -> None:
    """Else a reader takes a network like the published one for it, or rows that were looked at before for evidence."""
    rows = {"a": (make_row(), WINNER)}
    study = make_study({name: row for name, (row, _) in rows.items()})
    sources = [Source(cite="A | B", copied="the network", left_open="the batch", taken="32"), Source(cite="C")]
    noted = study.study.model_copy(update={"note": "Chosen after a look."})
    found = Findings(study.model_copy(update={"sources": sources, "study": noted}), measure(rows), [], [])
    text = markdown(found, sections.report(found))
    assert "\n**Note.** Chosen after a look.\n" in text
    section = text.split("Published beside measured")[1].split("<details>")[0]
    assert "- A \\| B; copied: the network; left open: the batch; taken: 32.\n" in section
    assert "- C: nobody has written down what was copied." in section


def test_data_sets_are_ranked_apart(measure: Measure, tmp_path: Path) -> None:
    """Else accuracies on different test images are compared."""
    rows = {
        "a": (make_row(), WINNER),
        "c": (make_row(dataset="cifar"), (0.5, 0.6, 0.7)),
        "b": (make_row(), (0.1, 0.2, 0.3)),
    }
    study = make_study({name: row for name, (row, _) in rows.items()})
    groups = measure(rows)
    text = written(rows, groups)
    assert [[result.name for result in group] for group in groups] == [["a", "b"], ["c"]]
    (told,) = re.findall(r"^\*\*Answer\.\*\* (.*)$", text, re.M)
    assert (
        told.startswith("`a` has the highest mean test accuracy on `digits`, 91.00")
        and "accuracy on `cifar`, 60.00" in told
    )
    assert line_of(text, "c", "Test accuracy on cifar")[1] == "1"
    report.write(study, groups, tmp_path / "reports")
    assert (tmp_path / "reports" / "s.md").read_text() == text


def test_tables_are_whole(measure: Measure) -> None:
    """Else a bar in a class name or a source tears a table apart."""
    rows = {
        "a": (make_row(published={"auc": 0.9, "source": "x|y `z`"}), WINNER),
        "b": (make_row(augment="pad-crop-flip"), WINNER),
    }
    text = written(rows, measure(rows))
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 9
    for lines in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert r"dog\|wolf" in text
    assert "| `a` | none |" in text
    assert "| AUC as Keras estimates it | 0.9000 |" in text
    assert "`batch: 32`" in text


def test_a_report_says_on_which_processors_its_bytes_come_back(measure: Measure) -> None:
    """Else a reviewer on another machine takes other roundings for another result, or the reverse."""

    def line(**kinds: str) -> str:
        rows = {name: (make_row(trainer={"arithmetic": kind}), WINNER) for name, kind in kinds.items()}
        text = written(rows, measure(rows))
        return next(line for line in text.splitlines() if line.startswith("- Arithmetic: "))

    assert line(a="portable", b="portable").endswith(
        "portable; the CPU of any x86-64 Linux machine with AVX2 gives the same bytes."
    )
    assert line(a="native", b="native").startswith("- Arithmetic: native; ")
    assert "but for `b`: native" in line(a="portable", b="native")


def test_removed_rows_are_ignored(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else a row that was removed stays in its report for ever."""
    for name in ("kept", "other", "former"):
        write_outputs(project / "runs" / "s" / name, make_row(), WINNER)
    plan_study(project, {"kept": make_row(), "other": make_row()})
    run_stage(monkeypatch, "s")
    written = [path.read_text() for path in (project / "reports").rglob("*.*") if path.is_file()]
    assert "former" not in "".join(written) + capsys.readouterr().out


def test_show_prints_the_same_and_writes_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else `make quickstart` shows something else than the stage did, or touches an output that DVC tracks."""
    for name in ("a", "b"):
        write_outputs(project / "runs" / "s" / name, make_row(), WINNER)
    plan_study(project, {"a": make_row(), "b": make_row()})
    (project / "README.md").write_text(f"# T\n\n{index.ANSWERS}\nold\n{index.ANSWERS_END}\n\nText\n")
    write_json(project / "reports" / "old" / "summary.json", {"name": "old"})
    run_stage(monkeypatch, "s")
    shutil.rmtree(project / "reports" / "old")
    printed = capsys.readouterr().out
    files = sorted(fingerprint(project / "reports"))
    figures = [f"s/{name}.svg" for name in ("accuracy", "auc", "gallery", "learning-rate", "loss", "runs", "shift")]
    assert files == sorted(["README.md", "index.html", "s.html", "s.md", "s/results.csv", "s/summary.json", *figures])
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*")}
    run_stage(monkeypatch, "--show", "s")
    assert capsys.readouterr().out == printed
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*")} == before
    assert "91.00 ± 2.48" in printed
    (told,) = re.findall(r"^\*\*Answer\.\*\* (.*)$", (project / "reports" / "s.md").read_text(), re.M)
    assert told.replace("`", "") in printed  # the same sentences everywhere
    assert json.loads((project / "reports" / "s" / "summary.json").read_text())["answer"] == told
    for name in ("s.html", "index.html"):
        assert re.sub(r"`([^`]*)`", r"<code>\1</code>", told) in (project / "reports" / name).read_text()
    answers = f"{index.ANSWERS}\n- [Some study](reports/s.md): {told}\n{index.ANSWERS_END}"
    assert (project / "README.md").read_text() == f"# T\n\n{answers}\n\nText\n"
    assert "or reports/s.md\n" in printed
    assert f"All of it:        {(project / 'reports' / 's.html').as_uri()}" in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("seeds.csv", None, "runs/s/a/seeds.csv: missing; run '.venv/bin/dvc repro report@s'"),
        ("curves.csv", None, "runs/s/a/curves.csv: missing; run '.venv/bin/dvc repro report@s'"),
        ("logits.safetensors", None, "runs/s/a/logits.safetensors: missing; run '.venv/bin/dvc repro report@s'"),
        (
            "logits.safetensors",
            "{",
            "runs/s/a/logits.safetensors: damaged; run '.venv/bin/dvc checkout --force train@a'",
        ),
        ("spec.json", None, "runs/s/a/spec.json: missing; run '.venv/bin/dvc repro report@s'"),
        ("spec.json", "{", "runs/s/a/spec.json: damaged; run '.venv/bin/dvc checkout --force train@a'"),
        ("spec.json", "[]", "runs/s/a/spec.json: damaged; run '.venv/bin/dvc checkout --force train@a'"),
        ("curves.csv", "seed\n0\n", "runs/s/a/curves.csv: damaged; run '.venv/bin/dvc checkout --force train@a'"),
        ("curves.csv", 'seed,epoch\n"0', "runs/s/a/curves.csv: damaged; run '.venv/bin/dvc checkout --force train@a'"),
        ("seeds.csv", "seed,status\n0\n", "runs/s/a/seeds.csv: damaged; run '.venv/bin/dvc checkout --force train@a'"),
        (
            "seeds.csv",
            "seed,status,reason\nx,finished,\n",
            "runs/s/a/seeds.csv: damaged; run '.venv/bin/dvc checkout --force train@a'",
        ),
    ],
)
def test_bad_outputs_are_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: str | None, message: str
) -> None:
    """Else a missing or damaged file gives a traceback, or a report with holes."""
    plan_study(project, {"a": make_row()})
    write_outputs(project / "runs" / "s" / "a", make_row(), WINNER)
    path = project / "runs" / "s" / "a" / file
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(SystemExit) as stopped:
        run_stage(monkeypatch, "s")
    assert stopped.value.code == f"error: {message}"
    assert not (project / "reports").exists()


def test_curves_that_were_cut_off_are_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a truncated file gives curves that end early, as if training had."""
    plan_study(project, {"a": make_row()})
    write_outputs(project / "runs" / "s" / "a", make_row(), WINNER)
    path = project / "runs" / "s" / "a" / "curves.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(SystemExit, match=r"curves\.csv: damaged"):
        run_stage(monkeypatch, "s")


@pytest.mark.parametrize("changes", [{"epochs": 4}, {"seeds": [0, 1, 2, 3]}])
def test_outputs_of_an_older_row_are_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    """Else a report describes a row that was never trained like that."""
    plan_study(project, {"a": make_row(**changes)})
    write_outputs(project / "runs" / "s" / "a", make_row(), WINNER)
    with pytest.raises(
        SystemExit, match=r"runs/s/a: of an older version of the row; run '\.venv/bin/dvc repro report@s'"
    ):
        run_stage(monkeypatch, "s")


def test_wrong_words_are_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a typo on the command line gives a traceback, or a report shown before it is there says nothing."""
    plan_study(project, {"a": make_row()})
    write_outputs(project / "runs" / "s" / "a", make_row(), WINNER)
    for words, message in (
        (["t"], "no 't' in the plan; known: s"),
        ([], "usage:"),
        (["--show"], "usage:"),
        (["--show", "s"], "reports/s.md: missing; run '.venv/bin/dvc repro report@s'"),
    ):
        with pytest.raises(SystemExit, match=message):
            run_stage(monkeypatch, *words)


def test_a_folder_of_somebody_else_is_not_replaced(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a study by the name of a folder below reports/ would delete what lies there."""
    write_outputs(project / "runs" / "s" / "a", make_row(), WINNER)
    plan_study(project, {"a": make_row()})
    notes = project / "reports" / "s" / "notes.md"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    with pytest.raises(SystemExit) as caught:
        run_stage(monkeypatch, "s")
    assert "studies.s: its report would replace" in str(caught.value)
    assert notes.read_text() == "mine"


def test_a_failed_report_leaves_the_old_one(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an interruption leaves figures of one version beside the text of another."""
    write_outputs(project / "runs" / "s" / "a", make_row(), WINNER)
    plan_study(project, {"a": make_row()})
    run_stage(monkeypatch, "s")
    before = fingerprint(project / "reports")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(curve_sections, "curves_figure", interrupt)
    with pytest.raises(SystemExit):
        run_stage(monkeypatch, "s")
    assert fingerprint(project / "reports") == before


def test_same_outputs_same_bytes(tmp_path: Path) -> None:
    """Else an unchanged dvc.lock after a rerun proves nothing: hashes, the clock or a configuration leak in."""
    rows = {"a": make_row(published={"accuracy": 0.9}), "b": make_row(select_on="test"), "c": make_row(dataset="other")}
    for name, row in rows.items():
        write_outputs(tmp_path / "runs" / name, row, WINNER)
    (tmp_path / "study.json").write_text(make_study(rows).model_dump_json())
    (tmp_path / "matplotlibrc").write_text("axes.linewidth: 3\npath.simplify: False\nfont.family: serif\n")
    code = (
        "import pathlib, sys; from pipeline import paths, report; from pipeline.params import planned;"
        "root = pathlib.Path(sys.argv[1]);"
        "paths.DATA = pathlib.Path(sys.argv[3]);"
        "study = planned.PlannedStudy.model_validate_json((root / 'study.json').read_bytes());"
        "report.write(study, report.load(study, root / 'runs'), root / sys.argv[2])"
    )
    prints = []
    for number, configuration in enumerate(({}, {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc")})):
        environment = os.environ | {"PYTHONHASHSEED": str(number), "DVC_ROOT": str(tmp_path)} | configuration
        command = [sys.executable, "-c", code, str(tmp_path), f"reports-{number}", str(paths.DATA)]
        subprocess.run(command, env=environment, cwd=ROOT, check=True)
        prints.append(fingerprint(tmp_path / f"reports-{number}"))
    assert prints[0] == prints[1]
    assert len(prints[0]) == 14


def test_the_gallery_shows_what_the_logits_say(measure: Measure) -> None:
    """Else a picture is shown with the class or the confidence of another one, or for a row that failed."""
    groups = measure({"a": (make_row(), WINNER), "b": (make_row(), (0.5, None, 0.5)), "dead": (make_row(), [None] * 3)})
    (shown,) = gallery.load(groups)
    images, labels = prepared.test_arrays(paths.prepared("digits"))
    logits = load_file(groups[0][1].folder / "logits.safetensors")
    mean = torch.stack([logits["seed-0"], logits["seed-2"]]).double().softmax(2).mean(0)
    assert [exhibit.number for exhibit in shown.first] == [0, 1]
    for exhibit in shown.first + shown.disputed:
        assert exhibit.label == CLASSES[labels[exhibit.number]]
        assert np.array_equal(exhibit.pixels, images[exhibit.number, 0])
        assert [said.row for said in exhibit.said] == ["a", "b"]
        predicted = int(mean[exhibit.number].argmax())
        assert exhibit.said[1].predicted == CLASSES[predicted]
        assert exhibit.said[1].confidence == pytest.approx(float(mean[exhibit.number, predicted]))
        assert exhibit.said[1].right == (predicted == labels[exhibit.number])
        assert exhibit.said[1].networks == 2
    (alone,) = gallery.load([groups[0][:1]])
    assert len(alone.first) == 2 and alone.disputed == []
    assert gallery.load([groups[0][2:]]) == []


def test_the_gallery_refuses_other_images(measure: Measure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Else a report shows images that no row was tested on, under numbers that look like theirs."""
    (group,) = measure({"a": (make_row(), WINNER)})
    group[0].spec["data"] = "d" * 32
    with pytest.raises(UserError, match=r"digits: not the images that a was trained on; run '\.venv/bin/dvc repro'"):
        gallery.load([group])
    monkeypatch.setattr(paths, "DATA", tmp_path / "nowhere")
    with pytest.raises(
        UserError, match=r"nowhere/digits/fit\.safetensors: not there; run '.venv/bin/dvc repro prepare@digits'"
    ):
        gallery.load([group])


def test_figures_of_odd_studies(measure: Measure, tmp_path: Path) -> None:
    """Else a figure fails, or warns, where runs differ in length, have no validation images or all failed."""
    rows = {
        "single": (make_row(seeds=[0]), [0.5]),
        "unvalidated": (make_row(), WINNER),
        "dead": (make_row(), (None, None, None)),
        "long-name-" * 8: (make_row(dropout=0.0), WINNER),
    }
    groups = measure(rows)
    for column in ("val_accuracy", "val_loss", "val_auc"):
        groups[0][1].curves[column] = [[float("nan")], [], [float("nan")] * 3]
    report.write(make_study({name: row for name, (row, _) in rows.items()}), groups, tmp_path / "reports")
    only_dead = [[result for result in groups[0] if result.name == "dead"]]
    report.write(make_study({"dead": make_row()}), only_dead, tmp_path / "dead")
    assert len(list((tmp_path / "dead" / "s").glob("*.svg"))) == 1


def test_curves_are_summarized_over_seeds() -> None:
    """Else a mean jumps where a seed stops early, or the band is not the range that the caption names."""
    mean, low, high = panels.summarize(panels.aligned([[1.0, 2.0, 3.0], [3.0]]))
    assert mean.tolist() == [2.0, 2.5, 3.0]
    assert low.tolist() == [1.0, 2.0, 3.0]
    assert high.tolist() == [3.0, 3.0, 3.0]


def test_dots_stay_on_the_axis_and_readable(measure: Measure) -> None:
    """Else the wide interval of two seeds presses all runs into a corner, or a run lies outside the figure."""
    pair = make_row(seeds=[0, 1], published={"accuracy": 0.99})
    (group,) = measure({"a": (pair, (0.9, 0.94)), "b": (make_row(), (0.91, 0.92, 0.93))})
    figure = charts.dots_figure(group)
    left, right = figure.axes[0].get_xlim()
    assert 80 < left < 90
    assert 99 < right <= 100


def test_rows_that_are_a_grid_are_found(measure: Measure) -> None:
    """Else a study of rates and norms is a list, or rows stand in a cell that is not theirs."""
    rows = {
        f"{name}-{batch}": (make_row(each=each, batch=batch, optimizer={"name": "sgd", "lr": batch / 1000}), WINNER)
        for name, each in (("plain", "conv act"), ("bn", "conv bn act"))
        for batch in (2, 8, 32)
    }
    (group,) = measure(rows)
    found = grid(group)
    assert found is not None
    assert (found.across, found.columns) == ("batch", [2, 8, 32])  # and not the rate, which follows from it
    cells = {name: {column: row.name for column, row in line.items()} for name, line in found.lines.items()}
    assert cells == {name: {batch: f"{name}-{batch}" for batch in (2, 8, 32)} for name in ("plain", "bn")}
    assert grid(group[:5]) is None
    assert "(s/grid.svg)" in written(rows, [group])


def test_optimizers_are_no_column_of_learning_rates(measure: Measure) -> None:
    """Else rows that another optimizer trains stand under its rate, as if that were all that differs."""
    rows = {
        f"{name}-{optimizer}": (make_row(each=each, optimizer={"name": optimizer, "lr": rate}), WINNER)
        for name, each in (("plain", "conv act"), ("bn", "conv bn act"), ("ln", "conv ln act"))
        for optimizer, rate in (("sgd", 0.01), ("adam", 0.001))
    }
    (group,) = measure(rows)
    assert grid(group) is None
