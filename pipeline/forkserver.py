"""The server from which workers are forked: it imports torch and Lightning once, for all of them.

Light, so that a stage can start it before its own imports: both then happen side by side.
"""

import multiprocessing
import os
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext


def context() -> ForkServerContext:
    """The multiprocessing context of workers."""
    return multiprocessing.get_context("forkserver")


def start(preload: str = "pipeline.run") -> None:
    """Starts the server, unless it runs; `preload` names the module that it imports for all."""
    # Workers inherit both: one thread each, and the workspace that deterministic cuBLAS kernels need.
    os.environ |= {"OMP_NUM_THREADS": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    context().set_forkserver_preload([preload])
    forkserver.ensure_running()
