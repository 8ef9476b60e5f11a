"""How large a row and a data set may be: what no machine holds is refused before anything is built or read."""

from collections.abc import Sequence

from pipeline.params.complaints import Fault
from pipeline.params.datasets import Dataset
from pipeline.params.rows import Row

LAYERS = 1000
WEIGHTS = 10**9
"""4 GB in float32, four times as much with gradients and Adam's two moments."""

VALUES = 10**10
"""40 GB in float32: outputs of the convolutions for one batch."""


def check_row(key: str, row: Row, dataset: Dataset) -> None:
    """Raises a Fault for a network that is too large, for images of the data set as far as their shape is known."""
    backbone, (_, channels, side) = row.backbone, dataset.shape()
    side = side or 2 ** len(backbone.widths)  # the smallest that leaves a pixel
    layers = sum(backbone.convs) + len(backbone.dense)
    weights, values = size(backbone.widths, backbone.convs, backbone.dense, (channels, side, side))
    for what, found, most in (("layers", layers, LAYERS), ("weights", weights, WEIGHTS)):
        if found > most:
            raise Fault(f"{key}.backbone", f"{found:,} {what}; {most:,} at most")
    if row.batch * values > VALUES:
        said = f"{row.batch * values:,} values leave the convolutions for a batch of {row.batch:,}; {VALUES:,} at most"
        raise Fault(f"{key}.batch" if row.batch > 2 else f"{key}.backbone", said)


def size(
    widths: Sequence[int], convs: Sequence[int], dense: Sequence[int], shape: tuple[int, int, int]
) -> tuple[int, int]:
    """How large a backbone is for images of a shape, C×H×W: weights, and values that its convolutions put out."""
    weights, values = 0, 0
    channels, height, width = shape
    for features, layers in zip(widths, convs, strict=False):
        weights += 9 * features * (channels + (layers - 1) * features)
        values += layers * features * height * width
        channels, height, width = features, height // 2, width // 2
    inputs = channels * height * width
    for outputs in dense:
        weights, inputs = weights + inputs * outputs, outputs
    return weights, values


def check_dataset(key: str, dataset: Dataset) -> None:
    """Raises a Fault for a size at which a data set of known images is too large; of others it is seen when they are
    read."""
    images, channels, side = dataset.shape()
    if dataset.size and (gib := images * channels * side**2 / 2**30) > dataset.max_gib:
        most = f"{gib:,.1f} GiB of pixels, and max_gib is {dataset.max_gib:g}"
        raise Fault(f"{key}.size", f"{dataset.size}, which makes {most}")
