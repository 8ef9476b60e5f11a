"""What is measured of a run in every epoch, by name: apart from what measures it, which imports torch."""

EPOCH = ("accuracy", "loss", "auc")
"""What is measured every epoch, for training images and for those that select."""

CURVES = ("epoch", "lr", *(f"{split}_{name}" for split in ("train", "val") for name in EPOCH))
"""Columns of curves.csv. Rates are those in force during the epoch. Training metrics are taken in training
mode while the weights change, as is usual; `val` are the images that select, after the epoch."""
