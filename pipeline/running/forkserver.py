"""The server from which workers are forked: it imports torch and Lightning once, for all of them.

Light, so that a stage can start it before its own imports: both then happen side by side.
"""

import multiprocessing
import os
from collections.abc import Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

from pipeline import arithmetic

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # one thread each
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # the workspace that deterministic cuBLAS kernels need
    "NVIDIA_TF32_OVERRIDE": "0",  # 32-true is float32, also in a GPU's convolutions
    # glibc returns each freed activation to the system, which hands it out again page by page, filled with zeros:
    # 3 to 15 % of a step on a CPU. Keeping what was freed, in huge pages, changes no number; other C libraries
    # do not read this.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1000000000000",
}
"""What workers inherit from the server."""


TRAINING = ("pipeline.running.light", "pipeline.training.run")
"""What those need who train or tune, in the order in which it is imported."""


def start(preload: Sequence[str] = TRAINING) -> ForkServerContext:
    """Starts the server, unless it runs, and gives the context of its processes.

    Args:
        preload: names the modules that it imports for all.
    """
    arithmetic.settle()
    os.environ |= ENVIRONMENT
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    forkserver.ensure_running()
    return context
