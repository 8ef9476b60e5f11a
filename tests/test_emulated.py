"""Equal bytes on processors of different makers: a study here, and the same under qemu-user as an Intel and an AMD.

Both emulated processors have AVX2 and not AVX-512, which qemu does not know; instructions whose last digits are left to
the maker, such as rsqrtps, are a third one's there. Run by `make test-emulated`, for minutes.
"""

import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import pytest

from models import vocabulary
from pipeline import arithmetic
from pipeline.params import optimizers

ROOT = Path(__file__).parent.parent
QEMU = shutil.which("qemu-x86_64")
PROCESSORS = {"Intel": "Haswell", "AMD": "EPYC"}
STARTS = 5
OPTIMIZERS: list[dict[str, Any]] = [
    {"name": "adam", "lr": 0.003},
    {"name": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4},
    {"name": "adamw", "lr": 0.003, "weight_decay": 0.01},
    {"name": "rmsprop", "lr": 0.001, "momentum": 0.5},
]
SCHEDULES = [
    {"name": "cosine"},
    {"name": "none"},
    {"name": "plateau", "patience": 1},
    {"name": "step", "milestones": [1]},
]
BASE: dict[str, Any] = {
    "study": "words",
    "dataset": "stripes",
    "backbone": {"widths": [16, 24], "convs": [1, 2], "dense": [32]},
    "each": "conv bn act",
    "end": "pool drop",
    "head": "dense bn act drop",
    "dropout": 0.25,
    "norm": {"groups": 4, "momentum": 0.5},
    "optimizer": OPTIMIZERS[0],
    "epochs": 2,
    "batch": 10,
    "trainer": {"accelerator": "cpu"},
    "seeds": [0],
}
TUNING = {
    "trials": 7,
    "epochs": 1,
    "seeds": [100],
    "space": {"optimizer.lr": {"low": 1e-4, "high": 0.1, "log": True}, "dropout": {"low": 0.0, "high": 0.5}},
}

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(not arithmetic.applies(), reason="only x86-64 Linux with AVX2 has portable arithmetic"),
    pytest.mark.skipif(QEMU is None, reason="no qemu-x86_64, which Debian's package qemu-user has"),
]


def rows() -> dict[str, dict[str, Any]]:
    """Rows that say every word and name every optimizer and schedule."""
    words = vocabulary.words()
    norms = [name for name, word in words.items() if word.settings]
    drops = [name for name, word in words.items() if word.drops]
    acts = [name for name, word in words.items() if word.activation]
    others = [name for name in words if name not in (*norms, *drops, *acts)]
    kinds = norms, drops, acts, others, OPTIMIZERS, SCHEDULES
    made = {}
    for number in range(max(map(len, kinds))):
        norm, drop, act, other, optimizer, schedule = (kind[number % len(kind)] for kind in kinds)
        said = {"each": f"conv {norm} act", "end": f"pool {drop}", "head": f"dense {other} bn act", "activation": act}
        about = {"optimizer": optimizer, "schedule": schedule, "label_smoothing": 0.1 * (number % 2)}
        made[f"r{number}"] = BASE | said | about | {"augment": ("none", "pad-crop-flip")[number % 2]}
    return made


def params() -> dict[str, Any]:
    reported = BASE | {"study": "reported", "seeds": [0, 1]}
    return {
        "datasets": {"stripes": {"source": "digits"}},
        "studies": {name: {"title": name, "question": "?"} for name in ("words", "reported")},
        "rows": rows() | {"plain": reported | {"each": "conv act", "head": "dense act drop"}},
        "tuned": {"tuned": reported | {"tuning": TUNING}},
        "claims": {"c": {"says": "?", "source": "?", "tested": "?", "tests": {"reported": "accuracy: tuned > plain"}}},
    }


def study(folder: Path, *emulator: str) -> str:
    """Runs the study in a folder of its own; what it complained of, nothing if it ended well.

    qemu-user now and then breaks off with a segmentation fault of its own, elsewhere each time. The study then goes on
    as it would after any kill, which changes no byte.
    """
    for name in ("pipeline", "models", "words"):
        shutil.copytree(ROOT / name, folder / name)  # with what is compiled already
    (folder / "params.yaml").write_text(json.dumps(params()))
    # The real interpreter: qemu cannot follow a virtual environment's link to it, which is what makes it one.
    python = [str(Path(sys.executable).resolve()), "-X", "faulthandler"]
    environment = os.environ | {"PYTHONPATH": f"{folder}:{sysconfig.get_path('purelib')}", "OMP_NUM_THREADS": "1"}
    left = STARTS if emulator else 1
    while True:
        left -= 1
        done = subprocess.run(
            [*emulator, *python, str(ROOT / "tests" / "emulated_study.py")],
            cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        if done.returncode == 0:
            return ""
        if done.returncode != -signal.SIGSEGV or not left:
            return done.stderr[-3000:] or f"exit status {done.returncode}"


def digests(folder: Path) -> dict[str, str]:
    """All that DVC would track, by path."""
    files = [path for part in ("tuned", "runs", "diagnosis", "reports") for path in (folder / part).rglob("*")]
    found = {str(path.relative_to(folder)): path for path in sorted(files) if path.is_file()}
    return {name: hashlib.md5(path.read_bytes()).hexdigest() for name, path in found.items()}


def test_a_study_has_the_same_bytes_on_processors_of_different_makers(tmp_path: Path) -> None:
    """Broken: a newcomer's first run would change what is committed, as their processor is of another maker."""
    names = {optimizer["name"] for optimizer in OPTIMIZERS}
    assert names == {name for kind in (optimizers.SGD, optimizers.Adam, optimizers.RMSprop) for name in _names(kind)}
    assert QEMU
    emulators = {"here": ()} | {maker: (QEMU, "-cpu", model) for maker, model in PROCESSORS.items()}
    with ThreadPoolExecutor() as pool:
        started = {maker: pool.submit(study, tmp_path / maker, *emulators[maker]) for maker in emulators}
    assert {maker: future.result() for maker, future in started.items()} == dict.fromkeys(emulators, "")
    here = digests(tmp_path / "here")
    assert {path.split("/")[0] for path in here} == {"tuned", "runs", "diagnosis", "reports"}
    for maker in PROCESSORS:
        there = digests(tmp_path / maker)
        assert there.keys() == here.keys()
        assert not [path for path in here if there[path] != here[path]], f"{maker}, against {platform.processor()}"


def _names(kind: Any) -> tuple[str, ...]:
    return get_args(kind.model_fields["name"].annotation)
