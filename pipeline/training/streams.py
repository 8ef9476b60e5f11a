"""Random numbers by purpose: every draw of a run follows from (seed, what for, which epoch).

No draw depends on how many came before it. So a run that resumes at an epoch needs no saved
generator, and two rows with the same seed see the same initial weights, the same order of images
and the same crops, whatever dropout draws in between: their runs are paired.
"""

import hashlib

import torch


def derive(seed: int, purpose: str, *index: int) -> int:
    """A 63-bit seed that depends on all arguments (SHA-256, so that neighbours share nothing)."""
    text = "/".join(map(str, (seed, purpose, *index)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, purpose: str, *index: int) -> torch.Generator:
    """A generator on the CPU, so that all devices get the same draws."""
    return torch.Generator().manual_seed(derive(seed, purpose, *index))
