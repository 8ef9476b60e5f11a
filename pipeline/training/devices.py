"""Where a row computes."""

import torch

from pipeline.params.config import Row


def uses_gpu(row: Row) -> bool:
    """Whether a row computes on GPUs of this machine; `auto` does where there is one, and on the CPU elsewhere.

    Other accelerators are never taken by themselves: their kernels are not deterministic.
    """
    return row.trainer.accelerator == "gpu" or (row.trainer.accelerator == "auto" and torch.cuda.is_available())
