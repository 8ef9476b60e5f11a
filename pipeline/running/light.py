"""Imports Lightning without what it would take along and training never uses: a third of its time.

Lightning imports torchmetrics, for the sake of a base class, and this all of torchvision, scipy.signal and matplotlib
where they are installed, for metrics and plots that are not ours. Here they seem not to be while Lightning is imported;
who wants them imports them afterwards.
"""

import importlib.metadata
import sys
from collections.abc import Iterator
from contextlib import contextmanager

OPTIONAL = ("matplotlib", "scipy", "torchvision")


@contextmanager
def absent(*packages: str) -> Iterator[None]:
    """Packages seem not to be installed, to those who ask for their version or try to import them."""
    version, hidden = importlib.metadata.version, set(packages) - sys.modules.keys()

    def seen(name: str) -> str:  # some keep this function under a name of their own
        if name in hidden:
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    importlib.metadata.version = seen
    sys.modules |= dict.fromkeys(hidden)  # None: an import fails
    try:
        yield
    finally:
        importlib.metadata.version = version
        for name in hidden:
            del sys.modules[name]
        hidden.clear()


if "pytorch_lightning" not in sys.modules:
    with absent(*OPTIONAL):
        import pytorch_lightning  # noqa: F401
