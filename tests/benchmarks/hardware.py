"""What a table of figures was measured on, and when."""

import datetime
import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from pipeline.running.slots import cores


def name() -> str:
    """The device in a few words: the GPU, or the processor and its cores."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    path = Path("/proc/cpuinfo")
    models = re.findall(r"^model name\s*: (.*)$", path.read_text(), re.M) if path.exists() else []
    return f"{models[0] if models else platform.machine()}, {cores()} cores"


def slug() -> str:
    """The device as a file name."""
    return re.sub(r"[^a-z0-9]+", "-", name().lower()).strip("-")


def header(keras: Path | None = None) -> list[str]:
    """Device, versions and date as Markdown.

    Args:
        keras: the Python of the environment that has Keras.
    """
    packages = [f"{package} {version(package)}" for package in ("torch", "torchvision", "pytorch-lightning")]
    if keras and keras.exists():
        packages.append(_keras_versions(keras))
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in _flags()]
    return [
        f"- {name()}" + (f" ({', '.join(flags)})" if flags else ""),
        f"- Python {platform.python_version()}, {', '.join(packages)}",
        f"- {datetime.datetime.now(datetime.UTC).date()}, {platform.system()}; load of the machine at the start"
        f" {os.getloadavg()[0]:.1f}",
    ]


def _keras_versions(python: Path) -> str:
    script = "from importlib.metadata import version as v; print(f'Keras {v(\"keras\")}, TensorFlow', end=' ')\n"
    script += "try: print(v('tensorflow-cpu'))\nexcept Exception: print(v('tensorflow'))"
    return subprocess.run([python, "-c", script], capture_output=True, text=True, check=False).stdout.strip()


def _flags() -> set[str]:
    path = Path("/proc/cpuinfo")
    return set(path.read_text().split()) if path.exists() else set()
