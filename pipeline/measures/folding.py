"""Batch norms folded into the layers before them: the same logits from fewer layers, for inference only.

In test mode a batch norm multiplies and adds constants per feature, and so does a convolution or dense layer in
front of it once its weights are scaled (Jacob et al. 2018, arXiv 1712.05877, section 3.2):

    γ·(W∗x + b − μ) / √(σ² + eps) + β  =  (g·W)∗x + g·(b − μ) + β,   g = γ / √(σ² + eps)

Nothing may stand between them but what does nothing in test mode, as most dropouts.
"""

import copy
from dataclasses import dataclass

from torch import nn
from torch.nn.utils import fusion

from models.dropout import Dropout
from models.words.classic_dropout import ClassicDropout

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
NORMS = (*BATCH_NORMS, nn.InstanceNorm2d, nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True)
class Folded:
    """What became of a network.

    Args:
        network: gives the same logits in test mode; shares no parameter with the one that was folded.
        gone: names of the batch norms that are folded.
        kept: name of each norm that is not, and why.
    """

    network: nn.Sequential
    gone: list[str]
    kept: dict[str, str]


def fold(network: nn.Sequential) -> Folded:
    """Folds every batch norm that can be folded, and leaves out what does nothing in test mode.

    Args:
        network: layers as `build` gives them, in test mode. Layers of unknown kinds stay as they are.

    Raises:
        ValueError: the network is in training mode, where batch norms depend on the batch.
    """
    if any(layer.training for layer in network.modules()):
        raise ValueError("the network is in training mode; only in test mode are batch norms constant")
    folded = nn.Sequential()
    gone, kept = [], {}
    before = ""
    for name, layer in network.named_children():
        if _does_nothing(layer):
            continue
        absorbed = _absorbed(folded.get_submodule(before), layer)
        if absorbed is not None:
            folded.add_module(before, absorbed)
            gone += [name] if isinstance(layer, NORMS) else []
            continue
        if isinstance(layer, NORMS):
            kept[name] = _reason(layer, before, folded.get_submodule(before))
        folded.add_module(name, copy.deepcopy(layer))
        before = name
    return Folded(folded.eval(), gone, kept)


def _does_nothing(layer: nn.Module) -> bool:
    """Whether a layer is the identity in test mode."""
    if isinstance(layer, Dropout):
        return not layer.p or type(layer).quiet is Dropout.quiet
    return isinstance(layer, (nn.Dropout, nn.Dropout2d, nn.AlphaDropout))


def _absorbed(before: nn.Module, layer: nn.Module) -> nn.Module | None:
    """One layer that does what two do in test mode; None where there is none."""
    if not isinstance(before, (nn.Conv2d, nn.Linear)):
        return None
    if isinstance(layer, ClassicDropout):
        scaled = copy.deepcopy(before)
        for parameter in scaled.parameters():
            parameter.data *= 1 - layer.p
        return scaled
    if not isinstance(layer, BATCH_NORMS) or layer.running_var is None:
        return None
    return (
        fusion.fuse_conv_bn_eval(before, layer)
        if isinstance(before, nn.Conv2d)
        else fusion.fuse_linear_bn_eval(before, layer)
    )


def _reason(norm: nn.Module, before: str, layer: nn.Module) -> str:
    """Why a norm stays."""
    if not isinstance(norm, BATCH_NORMS):
        return "it takes the statistics of each image, and these are no constants"
    if norm.running_var is None:
        return "it has no running statistics and takes those of the batch, which are no constants"
    place = f"stands behind {before} ({type(layer).__name__})" if before else "is the first layer"
    return f"it {place}, and folds only into a convolution or dense layer directly before it"
