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
from pipeline.params import vocabulary
from pipeline.params.reading import read_params
from pipeline.params.rows import PARTS
from pipeline.text import console, nearest

IMAGE = (3, 32, 32)
"""Channels, height and width of images that are not known."""


@command
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="pipeline/python -m pipeline.network", description="Layers, shapes and parameter counts of a network"
    )
    parser.add_argument("network", help="a row of params.yaml, or a sentence 'each: …, end: …, head: …'")
    parser.add_argument("--backbone", default="vgg2", choices=PRESETS, help="of a sentence (default: %(default)s)")
    parser.add_argument("--dropout", type=float, default=0.5, help="rate of a sentence (default: %(default)s)")
    parser.add_argument("--activation", default="relu", help="`act` of a sentence (default: %(default)s)")
    parser.add_argument("--image", help="channels×height×width (default: a row's data once prepared, else 3x32x32)")
    parser.add_argument("--classes", type=positive, default=10, help="number of classes (default: %(default)s)")
    options = parser.parse_args()
    vocabulary.words()
    try:
        if ":" in options.network:
            backbone, image = PRESETS[options.backbone], IMAGE
            sentence = parse(options.network, options.activation, options.dropout)
        else:
            backbone, sentence, image = from_row(options.network)
        image = parse_image(options.image) if options.image else image
        network = build(backbone, sentence, image, options.classes)
    except SentenceError as error:
        raise UserError(f"{error.part}: {vocabulary.complaint(error)}") from None
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


def from_row(name: str) -> tuple[Backbone, Sentence, tuple[int, int, int]]:
    """The network of a row of params.yaml, and the shape of its images, `IMAGE` as long as they are not prepared."""
    params = read_params()
    rows = params.rows | params.tuned
    if name not in rows:
        raise UserError(f"network: no row '{name}' in params.yaml{nearest(name, rows)}")
    data = paths.prepared(rows[name].dataset)
    return *rows[name].network(), prepared.info(data).shape if data.exists() else IMAGE


def parse_image(text: str) -> tuple[int, int, int]:
    """C, H and W from '3x32x32'."""
    sizes = text.replace("×", "x").split("x")
    if len(sizes) != 3 or not all(size.isdecimal() and int(size) for size in sizes):
        raise UserError(f"--image: found '{text}'; channels, height and width such as 3x32x32")
    channels, height, width = map(int, sizes)
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
