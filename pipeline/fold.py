"""What folding a row's batch norms into its convolutions brings: which fold, the same logits, and the speed.

    pipeline/python -m pipeline.fold both

Of several seeds the first is taken: they differ in their weights, not in what folds.
"""

import argparse
from collections.abc import Iterator
from statistics import median
from timeit import Timer

import torch
from torch import Tensor, nn

from pipeline.errors import UserError, command
from pipeline.images import prepared
from pipeline.measures import inference
from pipeline.measures.folding import Folded, fold
from pipeline.progress import bar
from pipeline.tracking import trained
from pipeline.tracking.trained import Trained

BATCHES = (1, 128)
"""Images at once: one answers a single request, the other serves many."""

ROUNDS = 7
"""Each speed is the median of so many measurements, taken in turn, so that whatever slows the machine slows both."""


def folded(network: nn.Sequential) -> tuple[nn.Sequential, Folded]:
    """A network as `inference.load` gives it, folded, and what became of its norms."""
    normalize, layers = network
    assert isinstance(layers, nn.Sequential)
    result = fold(layers)
    return nn.Sequential(normalize, result.network).eval(), result


def agreement(before: nn.Module, after: nn.Module, images: Tensor) -> str:
    """How far the logits of two networks are apart, in words."""
    with bar("comparing logits", 2 * len(images)) as show:
        old = inference.logits(before, images, show)
        new = inference.logits(after, images, lambda done: show(len(images) + done))
    apart, largest = float((new - old).abs().max()), float(old.abs().max())
    changed = int((new.argmax(1) != old.argmax(1)).sum())
    return (
        f"{len(images):,} test images: logits up to {largest:.1f} differ by {apart:.1e} at most,"
        f" and {changed} predictions differ"
    )


def seconds(network: nn.Module, images: Tensor) -> float:
    """Seconds of one call in test mode, the mean over calls of a fifth of a second together."""

    def call() -> None:
        network(images)
        if images.is_cuda:
            torch.cuda.synchronize()

    with torch.inference_mode():
        calls, taken = Timer(call).autorange()
    return taken / calls


def speeds(model: Trained, networks: tuple[nn.Module, nn.Module], images: Tensor) -> Iterator[tuple[int, list[float]]]:
    """Batch size, and images per second of each network, on one thread where a CPU computes."""
    torch.set_num_threads(1)
    batches = [batch for batch in BATCHES if batch > model.needs_company]
    with bar("measuring speed", len(batches) * ROUNDS) as show:
        for number, batch in enumerate(batches):
            some = images[torch.arange(batch) % len(images)].float()
            rounds = []
            for count in range(ROUNDS):
                rounds.append([seconds(network, some) for network in networks])
                show(number * ROUNDS + count + 1)
            yield batch, [batch / median(taken) for taken in zip(*rounds, strict=True)]


@command
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="pipeline/python -m pipeline.fold", description="Folds a row's batch norms for inference"
    )
    parser.add_argument("networks", help=trained.HELP)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where to compute (default: cpu)")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: there is no GPU that this torch can use; cpu is possible")
    model = trained.find(options.networks)
    seed = next(iter(model.weights))
    before = model.network(seed)
    after, result = folded(before)
    networks = before.to(options.device), after.to(options.device)
    images = prepared.test(model.data)[0].to(options.device)
    gone, norms = len(result.gone), len(result.gone) + len(result.kept)
    print(f"{model.name}, seed {seed}: {gone} of {norms} norms folded")
    for name, reason in result.kept.items():
        print(f"  {name} stays: {reason}")
    print(agreement(*networks, images))
    for batch, (old, new) in speeds(model, networks, images):
        print(f"batch {batch}: {old:,.0f} images/s before, {new:,.0f} folded, {new / old:.2f} times as many")


if __name__ == "__main__":
    main()
