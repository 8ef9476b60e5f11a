"""RMSprop against torch's, from which it differs by its root alone."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.training.rmsprop import RMSprop


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9}, {"weight_decay": 0.1, "alpha": 0.9, "eps": 1e-3}])
def test_steps_are_those_of_torch(settings: dict[str, Any]) -> None:
    """Broken: rows with rmsprop would train with another optimizer than they say."""
    ours = nn.Linear(7, 5)
    theirs = copy.deepcopy(ours)
    optimizers = (
        RMSprop(ours.parameters(), 0.01, **settings),
        torch.optim.RMSprop(theirs.parameters(), 0.01, **settings),
    )
    for _ in range(20):
        images = torch.randn(6, 7)
        for network, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            network(images).square().sum().backward()
            optimizer.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_a_weight_without_gradient_stays() -> None:
    """Broken: a unit that is never active would turn into nan, as its mean square is 0."""
    weight = nn.Parameter(torch.ones(3))
    weight.grad = torch.zeros(3)
    RMSprop([weight], 0.01).step()
    assert weight.tolist() == [1.0, 1.0, 1.0]
