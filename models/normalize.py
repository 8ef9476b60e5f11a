"""Pixels to the numbers that a network sees."""

from torch import Tensor, nn


class Normalize(nn.Module):
    """uint8 or float pixels 0..255 to zero mean and unit deviation per channel of the training images.

    Args:
        mean: C, on the scale 0..1.
        std: C, on the scale 0..1.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * mean.view(-1, 1, 1), persistent=False)
        self.register_buffer("scale", 1 / (255 * std.view(-1, 1, 1)), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """N×C×H×W to the same shape, float32."""
        return (images.float() - self.mean) * self.scale
