"""Pictures of runs, as matplotlib figures; who saves them decides where."""

import csv
from pathlib import Path

import torch
from matplotlib.figure import Figure

from pipeline.training.columns import EPOCH


def curves_figure(path: Path) -> Figure:
    """Accuracy, loss and AUC of a run by epoch."""
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    figure = Figure(figsize=(9, 3))
    figure.subplots_adjust(left=0.05, right=0.99, bottom=0.15, top=0.9)
    for axes, name in zip(figure.subplots(1, 3), EPOCH, strict=True):
        for split, style in (("train", ":"), ("val", "-")):
            values = [float(line[f"{split}_{name}"]) for line in lines]
            axes.plot([int(line["epoch"]) for line in lines], values, style, label=split)
        axes.set(title=name, xlabel="epoch")
        axes.legend()
    return figure


def confusion_figure(counts: torch.Tensor, classes: list[str]) -> Figure:
    """A confusion matrix as shares of each true class."""
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    side, names = max(2.5, 0.45 * len(classes)), 0.55 + 0.09 * max(map(len, classes))  # inches
    width, height = names + side + 0.1, names + side + 0.35
    # A solver that looks for the room of the names takes as long as drawing.
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(left=names / width, bottom=names / height, right=1 - 0.1 / width, top=1 - 0.35 / height)
    axes = figure.subplots()
    axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true", title="test images")
    axes.set_xticks(range(len(classes)), classes, rotation=90)
    axes.set_yticks(range(len(classes)), classes)
    if len(classes) <= 20:
        for i, j in torch.nonzero(counts).tolist():
            axes.text(
                j,
                i,
                str(int(counts[i, j])),
                ha="center",
                va="center",
                fontsize=7,
                color="white" if shares[i, j] > 0.5 else "black",
            )
    return figure
