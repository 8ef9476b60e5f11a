"""Where a row computes."""

from pipeline.params.rows import Row


def uses_gpu(row: Row) -> bool:
    """Whether a row computes on GPUs of this machine; `auto` does where there is one, and on the CPU elsewhere.

    Other accelerators are never taken by themselves: their kernels are not deterministic.
    """
    if row.trainer.accelerator != "auto":
        return row.trainer.accelerator == "gpu"
    import torch  # seconds, which who stays on the CPU does not wait for

    return torch.cuda.is_available()
