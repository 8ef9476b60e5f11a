"""The layers in plain NumPy, written from their formulas: what the package's layers are checked against.

The rate is the share that is dropped, q = 1 − rate. Arrays are float64, N×C×H×W or N×C.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Moments = tuple[float, float, float, float]  # the raw moments E[x], E[x²], E[x³], E[x⁴]

ALPHA = -1.7580993408473766  # −λα, at which SELU saturates (Klambauer et al. 2017)


def check_rate(rate: float) -> None:
    """Raises ValueError for a rate outside [0, 1)."""
    if not 0 <= rate < 1:
        raise ValueError(f"a rate of {rate}")


def inverted_dropout(x: Array, kept: Array, rate: float, training: bool) -> Array:
    """Srivastava et al. 2014, section 10; `kept` is 1 where a value stays and 0 where it is dropped."""
    check_rate(rate)
    return x * kept / (1 - rate) if training else x


def classic_dropout(x: Array, kept: Array, rate: float, training: bool) -> Array:
    """Srivastava et al. 2014, section 4."""
    check_rate(rate)
    return x * kept if training else x * (1 - rate)


def multiplicative_noise(x: Array, noise: Array, rate: float, training: bool) -> Array:
    """Gaussian dropout and Uout, with the noise r around 0 as the latter's paper writes it."""
    check_rate(rate)
    return x * (1 + noise) if training else x


def alpha_dropout(x: Array, kept: Array, rate: float, training: bool) -> Array:
    """Klambauer et al. 2017."""
    check_rate(rate)
    a, b = alpha_affine(rate)
    return a * (x * kept + ALPHA * (1 - kept)) + b if training else x


def alpha_affine(rate: float) -> tuple[float, float]:
    """The factor and the summand that keep mean 0 and variance 1."""
    q = 1 - rate
    a = (q + ALPHA**2 * q * (1 - q)) ** -0.5
    return a, -a * (1 - q) * ALPHA


def normalize(x: Array, axes: tuple[int, ...], scale: Array, shift: Array, eps: float) -> Array:
    """Mean, biased variance, normalization, scale and shift: all normalizations, over their axes."""
    mean = x.mean(axes, keepdims=True)
    variance = ((x - mean) ** 2).mean(axes, keepdims=True)
    normalized = (x - mean) / np.sqrt(variance + eps)
    return normalized * scale + shift


def of_channels(values: Array, x: Array) -> Array:
    """One value per channel, in a shape that goes with x."""
    return values.reshape(-1, *[1] * (x.ndim - 2))


def group_norm(x: Array, groups: int, scale: Array, shift: Array, eps: float) -> Array:
    """Normalization over the channels and pixels of each group; scale and shift are per channel."""
    images, channels, *pixels = x.shape
    per = channels // groups
    shape = (groups, per, *[1] * len(pixels))
    grouped = x.reshape(images, groups, per, *pixels)
    axes = tuple(range(2, grouped.ndim))
    return normalize(grouped, axes, scale.reshape(shape), shift.reshape(shape), eps).reshape(x.shape)


class BatchNorm:
    """Ioffe and Szegedy 2015, algorithms 1 and 2, with running statistics in either convention.

    torch: new = (1 − m)·old + m·batch. TensorFlow and Keras: new = m·old + (1 − m)·batch. The variance
    that normalizes is biased, the one that the running variance takes up is not.
    """

    def __init__(self, features: int, momentum: float, convention: Literal["torch", "keras"], eps: float) -> None:
        self.keep = 1 - momentum if convention == "torch" else momentum
        self.mean, self.variance, self.eps = np.zeros(features), np.ones(features), eps

    def train(self, x: Array, scale: Array, shift: Array) -> Array:
        """Normalizes with the batch and moves the running statistics."""
        axes = (0, *range(2, x.ndim))
        self.mean = self.keep * self.mean + (1 - self.keep) * x.mean(axes)
        self.variance = self.keep * self.variance + (1 - self.keep) * x.var(axes, ddof=1)
        return normalize(x, axes, of_channels(scale, x), of_channels(shift, x), self.eps)

    def test(self, x: Array, scale: Array, shift: Array) -> Array:
        """Normalizes with the running statistics."""
        mean, variance, scale, shift = (of_channels(each, x) for each in (self.mean, self.variance, scale, shift))
        return (x - mean) / np.sqrt(variance + self.eps) * scale + shift


def normal_moments(mean: float, variance: float) -> Moments:
    """Of a normal distribution."""
    c, v = mean, variance
    return c, c**2 + v, c**3 + 3 * c * v, c**4 + 6 * c**2 * v + 3 * v**2


def noise_moments(word: str, rate: float) -> Moments:
    """Of what a dropout multiplies its input with."""
    q, beta = 1 - rate, rate
    match word:
        case "drop" | "drop2d":
            return 1, q**-1, q**-2, q**-3
        case "drop-classic":
            return q, q, q, q
        case "gauss":
            return normal_moments(1, rate / q)
        case "uout":
            return 1, 1 + beta**2 / 3, 1 + beta**2, 1 + 2 * beta**2 + beta**4 / 5
    raise ValueError(word)


def output_moments(word: str, rate: float, mean: float, variance: float) -> Moments:
    """Of a dropout's output in training, for normal inputs of that mean and variance."""
    if word == "alpha":
        a, b = alpha_affine(rate)
        kept = normal_moments(a * mean + b, a**2 * variance)
        first, second, third, fourth = ((1 - rate) * x + rate * (a * ALPHA + b) ** k for k, x in enumerate(kept, 1))
    else:
        pairs = zip(normal_moments(mean, variance), noise_moments(word, rate), strict=True)
        first, second, third, fourth = (x * m for x, m in pairs)  # moments of independent factors multiply
    return first, second, third, fourth


def standard_errors(moments: Moments, count: int) -> tuple[float, float, float, float]:
    """Mean and variance of a distribution, and the standard errors of both in a sample of that size.

    They are √(σ²/n) and √((μ₄ − σ⁴)/n), μ₄ being the fourth central moment.
    """
    mean, second, third, fourth = moments
    variance = second - mean**2
    central = fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4
    return mean, variance, (variance / count) ** 0.5, ((central - variance**2) / count) ** 0.5
