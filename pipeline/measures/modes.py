"""A network in training mode: what dropout and batch statistics do to its predictions."""

import copy

import torch
from torch import Tensor, nn

from pipeline.images.draws import Subset
from pipeline.training import streams

SUBJECTS = 256
"""Test images whose predictions are followed at most."""

DEALS = 10
"""How often each of them is put into a new company."""


def others(batch: int) -> int:
    """How many training images keep them company: as many as the subjects, or four batches of them."""
    return max(SUBJECTS, 4 * batch)


def with_batch_statistics(network: nn.Sequential) -> nn.Sequential:
    """A copy in which batch norms take the statistics of the batch, as in training, while dropout is off."""
    network = copy.deepcopy(network)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.train()
    return network


def noisy_logits(network: nn.Sequential, images: Subset, batch: int, seed: int) -> tuple[Tensor, Tensor]:
    """Predictions in training mode: dropout at work and batch statistics, in a random order.

    Args:
        network: in test mode, from images to logits; it stays as it is.
        images: N of them.
        batch: images per batch; the remainder is left out, as in training.
        seed: of the order and of dropout.

    Returns:
        M logits, M×K, and which of the images they belong to, M.
    """
    network = copy.deepcopy(network).train()
    torch.manual_seed(streams.derive(seed, "diagnose dropout"))
    order = torch.randperm(len(images), generator=streams.generator(seed, "diagnose order"))
    order = order[: len(images) // batch * batch]
    with torch.inference_mode():
        logits = [network(images[some.to(images.labels.device)][0]).cpu() for some in order.split(batch)]
    return torch.cat(logits), order


def company(
    network: nn.Sequential, subjects: Tensor, labels: Tensor, others: Tensor, batch: int, seed: int
) -> dict[str, float]:
    """How the prediction of an image varies with the images beside it, where norms take the statistics of the batch.

    Subjects and others are dealt into full batches, `DEALS` times. Dropout is off, so nothing else varies.

    Args:
        network: in test mode, from images to logits; it stays as it is.
        subjects: N×C×H×W test images, of which the first are followed.
        labels: N true classes.
        others: training images.
        batch: images per batch.
        seed: of the deals.

    Returns:
        `company_sd`, the standard deviation of the true class's probability over the deals; `company_changed`, the
        share of deals whose predicted class is not the image's most frequent one; both are means over the subjects.
        Nothing where all images fit into one batch, whose company is always the same.
    """
    pool = torch.cat([subjects, others])
    pool = pool[: len(pool) // batch * batch]
    if len(pool) < 2 * batch:
        return {}
    followed = min(len(subjects), len(pool))
    network = with_batch_statistics(network)
    draws = streams.generator(seed, "diagnose company")
    dealt = [_deal(network, pool, batch, draws)[:followed] for _ in range(DEALS)]
    probabilities = torch.stack(dealt).double().softmax(2)
    true = probabilities[:, torch.arange(followed), labels[:followed]]
    predicted = probabilities.argmax(2)
    return {
        "company_sd": true.std(0).mean().item(),
        "company_changed": (predicted != predicted.mode(0).values).double().mean().item(),
    }


def _deal(network: nn.Sequential, pool: Tensor, batch: int, draws: torch.Generator) -> Tensor:
    """Logits of all images, in the order of the pool, each in a company of chance."""
    order = torch.randperm(len(pool), generator=draws)
    with torch.inference_mode():
        dealt = torch.cat([network(pool[some.to(pool.device)]).cpu() for some in order.split(batch)])
    logits = torch.empty_like(dealt)
    logits[order] = dealt
    return logits
