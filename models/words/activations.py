"""Activations. A row names one, and its sentence says `act`; each may also be said by its own name."""

from torch import nn

from models.vocabulary import Word

WORDS = {
    "relu": Word(lambda place: nn.ReLU(), activation=True),
    "elu": Word(lambda place: nn.ELU(), activation=True),
    "gelu": Word(lambda place: nn.GELU(), activation=True),
    "silu": Word(lambda place: nn.SiLU(), activation=True),
    "selu": Word(lambda place: nn.SELU(), activation=True),
    "sigmoid": Word(lambda place: nn.Sigmoid(), activation=True),
    "tanh": Word(lambda place: nn.Tanh(), activation=True),
}
