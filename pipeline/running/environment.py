"""What a machine computes with, for who compares results of two: versions beside the locked ones, and the processor.

None of it goes into a DVC output, where it would differ from machine to machine.
"""

import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

COMPUTING = (
    "torch", "torchvision", "pytorch-lightning", "torchmetrics", "numpy", "scipy", "scikit-learn", "pillow",
    "safetensors", "optuna",
)  # fmt: skip
"""Packages that a number can depend on."""


def locked(text: str) -> dict[str, str]:
    """Versions by package that a requirements file pins for this interpreter and platform."""
    versions = {}
    for line in text.splitlines():
        if not line or line[0] in " #":  # hashes and comments
            continue
        try:
            pin = Requirement(line.removesuffix("\\").strip())
        except InvalidRequirement:
            continue
        if pin.marker is None or pin.marker.evaluate():
            versions[pin.name] = str(pin.specifier).removeprefix("==")
    return versions


def installed(packages: tuple[str, ...] = COMPUTING) -> dict[str, str]:
    """Versions of those packages that are installed, without their build tags."""
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package).split("+")[0]
        except metadata.PackageNotFoundError:
            continue
    return versions


def describe(lock: str) -> Iterator[str]:
    """Line by line what computes here, and what of it is not as locked.

    Args:
        lock: text of a requirements file.
    """
    yield f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {processor()}"
    yield from versions(installed(), locked(lock))


def versions(here: Mapping[str, str], pinned: Mapping[str, str]) -> Iterator[str]:
    """Versions in use, first those that are not as locked."""
    same = [f"{name} {version}" for name, version in here.items() if pinned.get(name) == version]
    others = [
        f"{name} {version} ({f'locked: {pinned[name]}' if name in pinned else 'not locked'})"
        for name, version in here.items()
        if pinned.get(name) != version
    ]
    if others:
        yield f"Not as in requirements.lock: {', '.join(others)}"
    if same:
        yield f"As in requirements.lock: {', '.join(same)}"


def processor() -> str:
    """Processor and the instructions that torch uses of it; GPUs where there are any."""
    import torch

    names = [torch.cuda.get_device_name(device) for device in range(torch.cuda.device_count())]
    cpu = f"{cpu_name()} with {torch.backends.cpu.get_cpu_capability()}, one thread per run"
    return "; ".join([cpu, *names])


def cpu_name() -> str:
    """The processor's model."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
