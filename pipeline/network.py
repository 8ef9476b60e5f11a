"""The layers of a row, with shapes and parameter counts.

pipeline/python -m pipeline.network both
pipeline/python -m pipeline.network 'each: conv bn act, end: pool drop, head: dense act drop'
"""

import argparse

import torch
from rich.table import Table
from torch import nn

from models import PRESETS, Backbone, Norm, Sentence, SentenceError, build
from pipeline import paths
from pipeline.errors import UserError, command, positive
from pipeline.images import prepared
from pipeline.params import limits, vocabulary
from pipeline.params.reading import read_params
from pipeline.params.rows import PARTS
from pipeline.text import console, nearest

IMAGE = (3, 32, 32)
"""Channels, height and width of images that are not known."""

NAMELESS = ["?"] * 10
"""The classes of a data set that is not known."""

LARGEST = 2**22
"""Values of an image that is looked at: all layers' are in memory."""


@command
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="pipeline/python -m pipeline.network", description="Layers, shapes and parameter counts of a network"
    )
    parser.add_argument("network", help="a row of params.yaml, or a sentence 'each: …, end: …, head: …'")
    parser.add_argument("--backbone", choices=PRESETS, help="of a sentence (default: vgg2)")
    parser.add_argument("--dropout", type=float, help="rate of a sentence (default: 0.5)")
    parser.add_argument("--activation", help="`act` of a sentence (default: relu)")
    parser.add_argument("--image", help="channels×height×width (default: a row's data, else 3x32x32)")
    parser.add_argument(
        "--classes", type=positive, help="number of classes (default: a row's data once prepared, else 10)"
    )
    options = parser.parse_args()
    vocabulary.words()
    try:
        if ":" in options.network:
            backbone, info = PRESETS[options.backbone or "vgg2"], prepared.Info(NAMELESS, IMAGE, {})
            rate = 0.5 if options.dropout is None else options.dropout
            sentence = parse(options.network, options.activation or "relu", rate)
        else:
            for option in ("backbone", "dropout", "activation"):
                if getattr(options, option) is not None:
                    raise UserError(f"--{option}: of a sentence; row '{options.network}' says its own in params.yaml")
            backbone, sentence, info = from_row(options.network)
        image = parse_image(options.image) if options.image else info.shape
        classes = options.classes or len(info.classes)
        last = [*backbone.dense, classes]
        weights, _ = limits.size(backbone.widths, backbone.convs, last, image)
        if weights > limits.WEIGHTS:
            raise UserError(f"--image, --classes: {weights:,} weights; {limits.WEIGHTS:,} at most")
        with vocabulary.of_words():
            vocabulary.try_own(backbone, sentence)
            network = build(backbone, sentence, image, classes)
    except SentenceError as error:
        raise UserError(f"{error.part}: {vocabulary.complaint(error)}") from None
    console().print(f"images of {'×'.join(map(str, image))}, {classes} classes\n")
    show(network, image)


def parse(text: str, activation: str, dropout: float) -> Sentence:
    """A sentence from 'each: conv act, end: pool, head: dense act'.

    Raises:
        UserError: a part that is unknown, doubled or without a colon.
        SentenceError: the sentence has no meaning.
    """
    parts: dict[str, str] = {}
    for piece in text.split(","):
        part, colon, words = (item.strip() for item in piece.partition(":"))
        if part not in PARTS or not colon or part in parts:
            raise UserError(
                f"network: »{piece.strip()}«; a sentence is 'each: …, end: …, head: …' or 'block: …, head: …'"
            )
        parts[part] = words
    return Sentence(activation=activation, dropout=dropout, norm=Norm(), **parts)


def from_row(name: str) -> tuple[Backbone, Sentence, prepared.Info]:
    """The network of a row of params.yaml, and its data: as far as params.yaml says it while that is not prepared."""
    params = read_params()
    rows = params.rows | params.tuned
    if name not in rows:
        raise UserError(f"network: no row '{name}' in params.yaml{nearest(name, rows)}")
    row = rows[name]
    data = paths.prepared(row.dataset)
    if data.exists():
        return *row.network(), prepared.info(data)
    _, channels, side = params.datasets[row.dataset].shape()
    shape = (channels, side, side) if side else IMAGE
    return *row.network(), prepared.Info(NAMELESS, shape, {})


def parse_image(text: str) -> tuple[int, int, int]:
    """C, H and W from '3x32x32'."""
    sizes = text.replace("×", "x").split("x")
    if len(sizes) != 3 or not all(size.isdecimal() and int(size) for size in sizes):
        raise UserError(f"--image: found '{text}'; channels, height and width such as 3x32x32")
    channels, height, width = map(int, sizes)
    if channels * height * width > LARGEST:
        raise UserError(f"--image: found '{text}'; {LARGEST:,} values at most")
    return channels, height, width


def show(network: nn.Sequential, image: tuple[int, int, int]) -> None:
    """Prints name, layer, output shape and parameter count of every layer."""
    table = Table("layer", "kind", "output", "parameters", box=None)
    for column in (2, 3):
        table.columns[column].justify = "right"
    # Two images: batch normalization without running statistics refuses a single one.
    activations, total = torch.zeros(2, *image), 0
    network.eval()
    with torch.inference_mode():
        for name, layer in network.named_children():
            activations = layer(activations)
            count = sum(parameter.numel() for parameter in layer.parameters())
            total += count
            rate = f"({layer.p:g})" if hasattr(layer, "p") else ""
            table.add_row(
                name,
                type(layer).__name__ + rate,
                "×".join(map(str, activations.shape[1:])),
                f"{count:,}" if count else "",
            )
    table.add_row("total", "", "", f"{total:,}")
    console().print(table)


if __name__ == "__main__":
    main()
