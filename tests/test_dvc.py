"""dvc.yaml names exactly the code that can change a stage's outputs."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from pipeline.params.config import read_params

ROOT = Path(__file__).parent.parent

# What a stage imports and what cannot touch its outputs, each with the reason.
HARMLESS = {
    "models/__init__.py": "names only",
    "models/words/__init__.py": "holds nothing",
    "pipeline/measures/__init__.py": "holds nothing",
    "pipeline/params/__init__.py": "holds nothing",
    "pipeline/params/vocabulary.py": "words of error messages",
    "pipeline/__init__.py": "names only",
    "pipeline/complaints.py": "words of error messages",
    "pipeline/errors.py": "words of error messages",
    "pipeline/paths.py": "where files lie, not what is in them",
    "pipeline/progress.py": "shows progress",
    "pipeline/storage.py": "writes bytes that it is given",
}
PLANNED = {
    "pipeline/config.py": "its meaning arrives resolved, in the planned file that the stage depends on",
    "pipeline/plan.py": "reads that file",
    "pipeline/schema.py": "its meaning arrives resolved, too",
    "pipeline/tuning.py": "its meaning arrives resolved, too",
}
TUNED = {
    "pipeline/tuned.py": "reads best.json, which a tuned row depends on",
    "pipeline/space.py": "the row with the values that won is in that file",
}
CLAIMS = {
    "pipeline/contrasts.py": "of claims, which plan checks",
    "pipeline/quantities.py": "of claims, which plan checks",
}
FORKING = {"pipeline/forkserver.py": "starts processes"}
WORKING = FORKING | {
    "pipeline/workers.py": "starts processes",
    "pipeline/slots.py": "says which cores and GPUs a process may have",
    "pipeline/store.py": "finds folders by key",
}
LOGGING = {
    "pipeline/logbook.py": "sends what is logged",
    "pipeline/tracking.py": "gets that in a process of its own, and gives nothing back",
}
LOGS = "pipeline/tracking.py"
"""The process that logs; what it imports in turn is not looked at, because no output can depend on it."""

ORDERING = (
    WORKING
    | {
        "pipeline/code.py": "copies digests",
        "pipeline/train.py": "decides which runs train, not how",
        "pipeline/training.py": "checks that rows can be trained, and hands on what their runs wrote",
        "pipeline/cost.py": "notes seconds and the machine for the log",
        "pipeline/environment.py": "names the machine for the log",
    }
    | LOGGING
)
MODELS = {"models/normalize.py": "not used by this stage"} | {
    f"models/{name}.py": "checked by plan; what it means is in the planned file"
    for name in ("dropout", "place", "sentence", "shapes", "vgg", "vocabulary")
}
WORDS = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "models" / "words").glob("[!_]*.py"))]
"""Files that `models.vocabulary` finds by itself."""
READING = {
    "pipeline/measured.py": "finds which runs finished",
    "pipeline/diagnosed.py": "not asked for by this stage",
    "pipeline/predictions.py": "pictures of the report",
    "pipeline/stats.py": "intervals of the report",
}
TRAINING = {f"pipeline/{name}.py": "trains, which this stage leaves to others" for name in ("metrics", "module", "run")}
CHECKING = {"pipeline/store.py": "compares digests"}
TUNING = (
    WORKING
    | LOGGING
    | {
        "pipeline/training.py": "checks that rows can be trained",
        "pipeline/cost.py": "notes seconds and the machine for the log",
        "pipeline/environment.py": "names the machine for the log",
        "pipeline/tune.py": "decides which trials run, not what they are",
        "pipeline/trials.py": "keeps trials",
    }
)


def dependencies(stage: str) -> set[str]:
    """The files of code that dvc.yaml names for a stage."""
    definition = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"][stage]
    return {dep for dep in definition.get("do", definition)["deps"] if dep.endswith(".py")}


CODE = dict.fromkeys(dependencies("code"), "stands in plan/code.json")
STAGES = {
    "plan": (
        HARMLESS | {"models/normalize.py": "holds no row", "pipeline/tuned.py": "not used by this stage"},
        ["pipeline/plan.py"],
    ),
    "prepare": (
        HARMLESS | PLANNED | TUNED | CLAIMS | MODELS | dict.fromkeys(WORDS, "checked by plan"),
        ["pipeline/prepare.py"],
    ),
    "code": (
        HARMLESS | PLANNED | TUNED | CLAIMS | ORDERING,
        ["pipeline/code.py", "pipeline/train.py", "pipeline/run.py"],
    ),
    "tune": (HARMLESS | PLANNED | CLAIMS | TUNING | CODE, ["pipeline/tune.py"]),
    "diagnose": (HARMLESS | PLANNED | TUNED | CLAIMS | WORKING | READING | TRAINING, ["pipeline/diagnose.py"]),
    "report": (
        HARMLESS
        | PLANNED
        | MODELS
        | dict.fromkeys(WORDS, "checked by plan")
        | CHECKING
        | LOGGING
        | FORKING
        | {"pipeline/streams.py": "draws nothing for a report"},
        ["pipeline/report.py"],
    ),
}


def imports(path: str) -> set[str]:
    """The project's files that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("models", "pipeline"):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    files = {f"{name.replace('.', '/')}{end}" for name in found for end in (".py", "/__init__.py")}
    return {file for file in files if (ROOT / file).is_file()}


def closure(start: list[str]) -> set[str]:
    """All files that some files import, and what those import."""
    seen, waiting = set(start), list(start)
    while waiting:
        path = waiting.pop()
        found = {*imports(path), *(WORDS if path == "models/vocabulary.py" else ())}
        fresh = found - seen if path != LOGS else set()
        seen |= fresh
        waiting += fresh
    return seen


@pytest.mark.parametrize("stage", STAGES)
def test_code_dependencies_are_the_imports_less_what_cannot_touch_a_number(stage: str) -> None:
    """Broken: an edit that changes results would not retrain, or one that cannot would retrain everything."""
    harmless, start = STAGES[stage]
    assert dependencies(stage) == closure(start) - set(harmless)
    unused = set(harmless) - closure(start)
    assert unused <= set(HARMLESS | PLANNED | MODELS), f"exempt but not imported: {unused}"


def test_training_depends_on_the_code_by_its_digests() -> None:
    """Broken: an edit of code would not retrain, or DVC would check each source file once per row."""
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    assert stages["code"]["outs"] == ["plan/code.json"]
    deps = stages["train"]["do"]["deps"]
    assert "plan/code.json" in deps and not [dep for dep in deps if dep.endswith(".py")]


def test_all_studies_can_be_planned(tmp_path: Path) -> None:
    """Broken: `dvc repro` would stop at once or leave rows out: dvc.yaml and params.yaml do not fit each other."""
    for name in ("dvc.yaml", "params.yaml", "models", "pipeline", "words"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "--no-scm", "--quiet"], cwd=tmp_path, check=True)
    # Without -f, DVC's dry run ends at the first stage whose inputs are still to be made.
    planned = subprocess.run([*dvc, "repro", "--dry", "-f"], cwd=tmp_path, check=True, capture_output=True, text=True)
    params = read_params()
    stages = [f"prepare@{name}" for name in params.datasets]
    stages += [f"train@{name}" for name in params.rows] + [f"report@{name}" for name in params.studies]
    stages += [f"{stage}@{name}" for name in params.tuned for stage in ("tune", "train-tuned")]
    assert not [name for name in stages if f"Running stage '{name}':" not in planned.stdout]


def test_stages_import_mlflow_in_the_process_that_logs_alone() -> None:
    """Broken: MLflow's import would slow stages, or a result could depend on it."""
    importing = set()
    for path in closure([file for _, start in STAGES.values() for file in start]):
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "mlflow" for name in names):
                importing.add(path)
    assert importing == {LOGS}


def test_an_experiment_changes_the_optimizer_of_one_row(tmp_path: Path) -> None:
    """Broken: `dvc exp run -S rows.<row>.optimizer.lr=…` would change nothing, as it does where rows share their
    optimizer through an anchor, or change other rows as well."""
    changed = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", changed)
    before = read_params().rows
    wanted = {name: (number + 1) * 1e-6 for number, name in enumerate(before)}
    apply_overrides(str(changed), [f"rows.{name}.optimizer.lr={lr:.6f}" for name, lr in wanted.items()])
    after = read_params(changed).rows
    assert {name: row.optimizer.lr for name, row in after.items()} == pytest.approx(wanted)
    optimizers = {
        name: row.optimizer.model_copy(update={"lr": before[name].optimizer.lr}) for name, row in after.items()
    }
    assert {name: row.model_copy(update={"optimizer": optimizers[name]}) for name, row in after.items()} == before
