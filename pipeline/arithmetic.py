"""What a process computes with: portable, the same bytes on every x86-64 Linux machine with AVX2, or native.

torch, oneDNN, MKL, NumPy and OpenBLAS look at the processor and take other kernels on other ones, which add in another
order: an Intel machine with AVX-512 ends with other digits than an AMD machine. The variables below hold all of them to
what every processor with AVX2 has (Haswell 2013, Zen 2017, and later). All are needed. Elsewhere, nothing is set.
"""

import functools
import os
import platform
import sys
from pathlib import Path
from typing import Literal

TORCH = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # convolutions
    "MKL_CBWR": "COMPATIBLE",  # matrix products; with AVX2 as its value, other bytes on AMD than on Intel
}
"""What torch reads when it first computes, not when it is imported."""

NUMPY = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",  # of NumPy, and of SciPy, which has its own
    "OPENBLAS_NUM_THREADS": "1",  # sums are split by the number of threads, hence of cores
}
"""What NumPy and SciPy read when they are imported."""


def settle() -> None:
    """Makes this process and those that it starts portable. Called before NumPy is imported and torch computes."""
    if applies():
        os.environ |= TORCH | NUMPY


def choose(arithmetic: Literal["portable", "native"]) -> None:
    """Decides, in a process that has settled, what torch computes with. Called before it computes."""
    if arithmetic == "native":
        for name in TORCH:
            os.environ.pop(name, None)
    else:
        settle()


@functools.cache
def applies() -> bool:
    """Whether this is x86-64 Linux with AVX2; elsewhere numbers are the machine's own, whatever is asked for."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    return "avx2" in Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
