# pyright: reportMissingImports=false, reportMissingModuleSource=false
"""Contestant: the row's network in Keras on TensorFlow, trained by `fit` from arrays that are normalized beforehand.

It runs in an environment of its own, which `make bench` builds, and so imports nothing of this project but the gate.
BENCH_THREADS sets its threads; without it TensorFlow takes all cores.
"""

import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from gate import Gate, compete

os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}

import keras
import tensorflow as tf
from keras import layers

if threads := int(os.environ.get("BENCH_THREADS", "0")):
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


class Slices(keras.callbacks.Callback):
    """Stops `fit` at the gate before each step."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.gate.step()


def build(row: dict[str, Any], classes: int) -> keras.Sequential:
    """The network of a row that says no other words than those of `layer`."""
    rates = iter(row["dropout"]) if isinstance(row["dropout"], list) else itertools.repeat(row["dropout"])

    def layer(word: str, features: int) -> keras.Layer:
        match word:
            case "conv":
                return layers.Conv2D(features, 3, padding="same")
            case "dense":
                return layers.Dense(features)
            case "bn":
                return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
            case "act":
                return layers.Activation(row["activation"])
            case "pool":
                return layers.MaxPooling2D()
            case "drop":
                return layers.Dropout(next(rates))
        raise ValueError(word)

    network: list[keras.Layer] = []
    for features, convs in zip(row["backbone"]["widths"], row["backbone"]["convs"], strict=True):
        for part, times in (("each", convs), ("end", 1)):
            network += [layer(word, features) for _ in range(times) for word in row[part].split()]
    network.append(layers.Flatten())
    for features in row["backbone"]["dense"]:
        network += [layer(word, features) for word in row["head"].split()]
    return keras.Sequential([*network, layers.Dense(classes)])


def read(data: Path) -> tuple[np.ndarray, np.ndarray]:
    """The training images as float32, N×H×W×C, and their labels, from a safetensors file."""
    content = (data / "fit.safetensors").read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])

    def array(name: str, kind: type) -> np.ndarray:
        begin, end = header[name]["data_offsets"]
        return np.frombuffer(content[start + begin : start + end], kind).reshape(header[name]["shape"])

    count = json.loads(header["__metadata__"]["dataset"])["counts"]["train"]
    images = array("images", np.uint8)[:count].transpose(0, 2, 3, 1).astype(np.float32)
    return (images / 255 - array("mean", np.float32).ravel()) / array("std", np.float32).ravel(), array(
        "labels", np.int64
    )[:count]


def train(row: dict[str, Any], data: Path, gate: Gate) -> None:
    images, labels = read(data)
    model = build(row, int(labels.max()) + 1)
    optimizer = keras.optimizers.SGD(row["optimizer"]["lr"], row["optimizer"]["momentum"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    model.fit(images, labels, batch_size=row["batch"], epochs=10**6, callbacks=[Slices(gate)], verbose=0)


if __name__ == "__main__":
    compete(train)
