"""RMSprop with a square root that is the same on all processors."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


class RMSprop(torch.optim.Optimizer):
    """Gradients divided by the root of their mean square (Hinton 2012, lecture 6e); momentum as in Graves 2013.

    What `torch.optim.RMSprop` does, which takes `torch.sqrt`. On CPUs that is MKL's: it begins with the instruction
    rsqrtps, whose last digits are the processor's maker's own, and a fifth of its results are off by one in the last
    place. `torch.rsqrt` divides by a true root.

    Args:
        params: of a network.
        lr: learning rate.
        alpha: decay of the mean square.
        eps: added to the root.
        weight_decay: L2 penalty added to the gradient.
        momentum: of the steps.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float | torch.Tensor,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Changes all parameters by their gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._change(parameter, parameter.grad, self.state[parameter], group)
        return loss

    def _change(
        self, parameter: nn.Parameter, gradient: torch.Tensor, state: dict[str, torch.Tensor], group: dict[str, Any]
    ) -> None:
        if not state:
            state["square"], state["step"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        if group["weight_decay"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        square = state["square"].mul_(group["alpha"]).addcmul_(gradient, gradient, value=1 - group["alpha"])
        root = square.rsqrt().reciprocal_().add_(group["eps"])
        step = state["step"].mul_(group["momentum"]).addcdiv_(gradient, root)
        parameter.sub_(group["lr"] * step)
