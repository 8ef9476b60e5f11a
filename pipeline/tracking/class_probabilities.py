"""The predictor of a served model: pixels in, the probability of every class by its name out.

This file travels inside each logged model and is imported there without the project, so it imports none of it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mlflow import pytorch
from mlflow.models import Model

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class ClassProbabilities:
    """What `mlflow models serve` asks.

    Args:
        network: takes pixels 0..255, N×C×H×W float32, and gives N×K logits.
        classes: K names.
    """

    def __init__(self, network: torch.nn.Module, classes: list[str]) -> None:
        self.network, self.classes = network, classes

    def predict(self, images: "np.ndarray[Any, Any]", params: dict[str, Any] | None = None) -> "pd.DataFrame":
        """One line per image, one column per class; a line sums to 1."""
        import pandas as pd

        with torch.inference_mode():
            shares = self.network(torch.from_numpy(images)).softmax(1)
        return pd.DataFrame(shares.numpy(), columns=self.classes)


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> ClassProbabilities:
    """What MLflow calls with the folder of the network's file, and settings that a CPU needs none of."""
    folder = Path(path).parent
    columns = Model.load(folder).signature.outputs.inputs
    return ClassProbabilities(pytorch.load_model(str(folder)), [column.name for column in columns])
