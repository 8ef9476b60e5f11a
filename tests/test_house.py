"""The folders say what their files may import, and dvc.yaml what can change a stage's outputs."""

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent

GROUND = ("errors", "paths", "text", "arithmetic", "progress", "storage")
FLOORS = (
    ("models", "words"),
    GROUND[:3],
    GROUND[3:],
    ("params",),
    ("images",),
    ("training",),
    ("running",),
    ("measures", "tuning"),
    ("findings",),
    ("reporting", "tracking"),
    ("commands",),
)
"""From the ground up: a file imports its own folder and what stands below; neighbours of a floor not each other."""

LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}

DECIDES = {"models", "words", "training"}
"""Rooms that decide the numbers of a run import nothing that does not: these, the images, what a row means, and the
ground."""

HARMLESS = {"params", "images", *GROUND}

STAGES = {
    "plan": (["plan"], {"images", "running"}),
    "prepare": (["prepare"], {"params", "running", "models", "words"}),
    "diagnose": (
        ["diagnose"],
        {"params", "models", "words", "training", "measures", "running", "findings", "tuning", "images"},
    ),
    "report": (["report"], {"running", "tracking", "training", "measures", "models", "words", "images"}),
    "primer": (["primer"], {"params", "running", "tracking", "training", "tuning", "words", "images"}),
}


def files() -> Iterator[Path]:
    for folder in ("pipeline", "models", "words"):
        yield from (ROOT / folder).rglob("*.py")


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(path): path for path in files()}


def room(name: str) -> str:
    """Where a module lies: a folder, a file of the ground, or a command."""
    first, _, rest = name.partition(".")
    if first != "pipeline":
        return first
    head = rest.split(".")[0]
    return head if head in LEVEL or not head else "commands"


def imports(path: Path, typing: bool = True) -> set[str]:
    """The project's modules that a file imports, anywhere in it."""
    tree = ast.parse(path.read_text())
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if not typing and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped |= set(ast.walk(node))
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in MODULES else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name in MODULES}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_file_imports_only_what_stands_below_it(name: str) -> None:
    """Broken: nobody could say what a change reaches; a folder's name would no longer be true."""
    here = room(name)
    for other in imports(MODULES[name]):
        there = room(other)
        assert there == here or not there or LEVEL[there] < LEVEL[here], f"{name} imports {other}"


@pytest.mark.parametrize("name", sorted(name for name in MODULES if room(name) in DECIDES))
def test_what_decides_numbers_imports_nothing_else(name: str) -> None:
    """Broken: polishing what runs, shows or logs could change a number and retrain nothing."""
    strangers = {other for other in imports(MODULES[name]) if room(other) not in DECIDES | HARMLESS | {""}}
    assert not strangers


def test_no_files_import_each_other_in_a_circle() -> None:
    """Broken: two files would be one in two pieces."""
    graph = {name: imports(path, typing=False) - {name} for name, path in MODULES.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises with the circle


def test_commands_import_no_command() -> None:
    """Broken: what two of them share would lie above both."""
    for name, path in MODULES.items():
        if room(name) == "commands":
            assert not [other for other in imports(path) if room(other) == "commands" and other != name], name


def dependencies(stage: str) -> set[str]:
    definition = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"][stage]
    return set(definition.get("do", definition)["deps"])


@pytest.mark.parametrize("stage", STAGES)
def test_stages_depend_on_the_folders_that_decide_their_outputs(stage: str) -> None:
    """Broken: an edit that changes outputs would run nothing again. Exempt rooms arrive in the plan, or only run,
    find or log; of the primer, they are only what pages of studies need."""
    start, exempt = STAGES[stage]
    named = {dep.removeprefix("pipeline/").removesuffix(".py") for dep in dependencies(stage)}
    seen: set[str] = set()
    waiting = [f"pipeline.{name}" for name in start]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += imports(MODULES[name])
    needed = {room(name) for name in seen} - {"", "commands"} - set(GROUND) - exempt
    assert needed <= named
    assert set(start) <= named


def test_training_depends_on_its_plan_and_images_alone() -> None:
    """Broken: a comment, or a word that a row does not say, would retrain it."""
    assert dependencies("train") == {
        "plan/rows/${key}.json",
        "data/${item.dataset}/fit.safetensors",
        "data/${item.dataset}/test.safetensors",
    }


def test_what_the_makefile_runs_is_there() -> None:
    """Broken: a target that nobody calls often, such as `make plot`, would name a script that was moved."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    scripts = set(re.findall(r"(?:pipeline|tests|\.ci)/[\w/.-]+", text))
    modules = {f"{name.replace('.', '/')}.py" for name in re.findall(r"-m (pipeline\.[\w.]+)", text)}
    assert {"pipeline/reporting/assets/plot.sh", "pipeline/new.py"} <= scripts | modules
    assert not [path for path in scripts | modules if not (ROOT / path).exists()]
