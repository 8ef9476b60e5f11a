"""Every layer that a word can become, against its NumPy reference in float64."""

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import Array
from torch import Tensor, nn

from models import Dropout, Norm, Place, vocabulary
from models.words.classic_dropout import ClassicDropout
from models.words.gaussian_dropout import GaussianDropout
from models.words.uniform_dropout import UniformDropout

# Seeds are drawn and not arrays: what can go wrong depends on the shape, the rate and the spread.
SEEDS = st.integers(0, 2**32 - 1)
RATES = st.floats(0, 0.99)
EPS = st.floats(1e-8, 1e-1)
SPATIAL = st.tuples(st.integers(2, 5), st.integers(1, 6), st.integers(1, 5), st.integers(2, 5))
FLAT = st.tuples(st.integers(2, 5), st.integers(2, 9))
SHAPES = st.one_of(SPATIAL, FLAT)
OFTEN = settings(max_examples=200)
DROPOUTS = ["drop", "drop-classic", "drop2d", "gauss", "uout", "alpha"]
OWN: list[type[Dropout]] = [ClassicDropout, GaussianDropout, UniformDropout]


def make(word: str, shape: tuple[int, ...], rate: float = 0.0, norm: Norm | None = None) -> nn.Module:
    """The layer of a word for float64 tensors of a shape."""
    pixels = int(np.prod(shape[2:])) * (len(shape) > 2)
    place = Place("each", word, shape[1], pixels, rate, norm or Norm())
    layer = vocabulary.words()[word].layer(place)
    assert layer is not None
    return layer.double()


def draw(shape: tuple[int, ...], seed: int) -> Array:
    """Inputs whose mean and spread differ widely between seeds."""
    numbers = np.random.default_rng(seed)
    return numbers.normal(numbers.uniform(-10, 10), 10 ** numbers.uniform(-3, 2), shape)


def affine(layer: nn.Module, seed: int) -> tuple[Array, Array]:
    """Gives a layer a random scale and shift."""
    numbers = np.random.default_rng([seed, 1])
    assert isinstance(layer.weight, Tensor)
    scale, shift = numbers.normal(1, 1, (2, len(layer.weight)))
    layer.load_state_dict({"weight": torch.tensor(scale), "bias": torch.tensor(shift)}, strict=False)
    return scale, shift


def seeded(layer: nn.Module, x: Tensor, seed: int) -> Tensor:
    """A layer's output with the noise of a seed."""
    torch.manual_seed(seed)
    return layer(x)


def gradient(output: Tensor, inputs: Tensor) -> Tensor:
    """The gradient of the output's sum."""
    return torch.autograd.grad(output.sum(), inputs)[0]


def close(measured: Tensor, expected: Array) -> None:
    np.testing.assert_allclose(measured.detach().numpy(), expected, rtol=1e-10, atol=1e-10)


@OFTEN
@given(SHAPES, st.floats(0.01, 1), EPS, st.integers(1, 3), SEEDS)
def test_batch_norm(shape: tuple[int, ...], momentum: float, eps: float, batches: int, seed: int) -> None:
    """Broken: training, running statistics or test mode would not be those that a row's momentum and eps name."""
    layer = make("bn", shape, norm=Norm(momentum, eps))
    scale, shift = affine(layer, seed)
    torch_like = reference.BatchNorm(shape[1], momentum, "torch", eps)
    keras_like = reference.BatchNorm(shape[1], 1 - momentum, "keras", eps)
    references = (torch_like, keras_like)
    for batch in range(batches):
        x = draw(shape, seed + batch)
        output = layer.train()(torch.tensor(x))
        for expected in references:
            close(output, expected.train(x, scale, shift))
    state, x = layer.state_dict(), draw(shape, seed + batches)
    output = layer.eval()(torch.tensor(x))
    for expected in references:
        close(state["running_mean"], expected.mean)
        close(state["running_var"], expected.variance)
        close(output, expected.test(x, scale, shift))


@OFTEN
@given(SHAPES, SEEDS)
def test_batch_norm_without_running_statistics(shape: tuple[int, ...], seed: int) -> None:
    """Broken: `running_stats: false` would still normalize with history in test mode."""
    layer = make("bn", shape, norm=Norm(running_stats=False))
    scale, shift = affine(layer, seed)
    assert set(layer.state_dict()) == {"weight", "bias"}
    x = draw(shape, seed)
    expected = reference.BatchNorm(shape[1], 0.1, "torch", 1e-5).train(x, scale, shift)
    close(layer.train()(torch.tensor(x)), expected)
    close(layer.eval()(torch.tensor(x)), expected)


@pytest.mark.parametrize(("word", "axes"), [("ln", (1, 2, 3)), ("in", (2, 3))])
@OFTEN
@given(shape=SPATIAL, eps=EPS, seed=SEEDS)
def test_layer_and_instance_norm_on_images(
    word: str, axes: tuple[int, ...], shape: tuple[int, ...], eps: float, seed: int
) -> None:
    """Broken: a mean and a variance would be taken over other values than the literature's."""
    layer, x = make(word, shape, norm=Norm(eps=eps)), draw(shape, seed)
    scale, shift = (reference.of_channels(values, x) for values in affine(layer, seed))
    for mode in (layer.train(), layer.eval()):
        close(mode(torch.tensor(x)), reference.normalize(x, axes, scale, shift, eps))


@OFTEN
@given(shape=FLAT, eps=EPS, seed=SEEDS)
def test_layer_norm_on_features(shape: tuple[int, ...], eps: float, seed: int) -> None:
    """Broken: the head of a row with `ln` would be normalized otherwise than over an image's features."""
    layer, x = make("ln", shape, norm=Norm(eps=eps)), draw(shape, seed)
    scale, shift = affine(layer, seed)
    close(layer(torch.tensor(x)), reference.normalize(x, (1,), scale, shift, eps))


@OFTEN
@given(shape=SHAPES, groups=st.integers(1, 4), eps=EPS, seed=SEEDS)
def test_group_norm(shape: tuple[int, ...], groups: int, eps: float, seed: int) -> None:
    """Broken: channels would be grouped otherwise than as neighbours, or the groups share a scale."""
    shape = (shape[0], groups * shape[1], *shape[2:])
    layer, x = make("gn", shape, norm=Norm(eps=eps, groups=groups)), draw(shape, seed)
    scale, shift = affine(layer, seed)
    close(layer(torch.tensor(x)), reference.group_norm(x, groups, scale, shift, eps))


@pytest.mark.parametrize("word", ["drop", "drop2d", "drop-classic"])
@OFTEN
@given(shape=SHAPES, rate=RATES, seed=SEEDS)
def test_dropout(word: str, shape: tuple[int, ...], rate: float, seed: int) -> None:
    """Broken: values or gradients would be scaled wrongly in one of the modes, or drop2d drop parts of channels."""
    formula = reference.classic_dropout if word == "drop-classic" else reference.inverted_dropout
    layer, x = make(word, shape, rate), draw(shape, seed)
    kept = (seeded(layer, torch.ones(shape, dtype=torch.float64), seed) != 0).double().numpy()
    if word == "drop2d":
        channels = kept.reshape(*shape[:2], -1)
        assert (channels == channels[:, :, :1]).all()
    inputs = torch.tensor(x, requires_grad=True)
    output = seeded(layer, inputs, seed)
    close(output, formula(x, kept, rate, True))
    close(gradient(output, inputs), formula(np.ones(shape), kept, rate, True))
    close(layer.eval()(inputs), formula(x, kept, rate, False))


@pytest.mark.parametrize("word", ["gauss", "uout"])
@OFTEN
@given(shape=SHAPES, rate=RATES, seed=SEEDS)
def test_multiplicative_noise(word: str, shape: tuple[int, ...], rate: float, seed: int) -> None:
    """Broken: the noise would enter otherwise than as a factor 1 + r, leave its range, or be there in test mode."""
    layer, x = make(word, shape, rate), draw(shape, seed)
    noise = seeded(layer, torch.ones(shape, dtype=torch.float64), seed).numpy() - 1
    assert word == "gauss" or (np.abs(noise) <= rate + 1e-15).all()
    inputs = torch.tensor(x, requires_grad=True)
    output = seeded(layer, inputs, seed)
    close(output, reference.multiplicative_noise(x, noise, rate, True))
    close(gradient(output, inputs), 1 + noise)
    close(layer.eval()(inputs), reference.multiplicative_noise(x, noise, rate, False))


@OFTEN
@given(SHAPES, RATES, SEEDS)
def test_alpha_dropout(shape: tuple[int, ...], rate: float, seed: int) -> None:
    """Broken: dropped values would not be SELU's saturation, or the mean and variance not be kept."""
    layer, x = make("alpha", shape, rate), draw(shape, seed)
    ones = torch.ones(shape, dtype=torch.float64)
    kept = (seeded(layer, ones, seed) != seeded(layer, -ones, seed)).double().numpy()
    close(seeded(layer, torch.tensor(x), seed), reference.alpha_dropout(x, kept, rate, True))
    close(layer.eval()(torch.tensor(x)), x)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_rates_outside_are_refused(rate: float) -> None:
    """Broken: a rate of one would divide by zero, or scale all values to nothing without a word."""
    with pytest.raises(ValueError, match="a rate of"):
        reference.check_rate(rate)
    for kind in OWN:
        with pytest.raises(ValueError, match="a rate of"):
            kind(rate)


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_noise_is_of_the_inputs_kind(kind: type[Dropout], dtype: torch.dtype) -> None:
    """Broken: half precision and other devices would fail or be copied, channels-last inputs be laid out anew."""
    x = torch.randn(2, 3, 4, 5, dtype=dtype).to(memory_format=torch.channels_last)
    output = kind(0.5)(x)
    assert output.dtype == dtype
    assert output.is_contiguous(memory_format=torch.channels_last)
    assert kind(0.5)(x.to("meta")).device.type == "meta"


@pytest.mark.parametrize("word", DROPOUTS)
def test_nothing_is_drawn_where_nothing_is_dropped(word: str) -> None:
    """Broken: a rate of 0 or an evaluation would change values, or move the noise of the epoch that follows."""
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    test_mode = make(word, (2, 3, 4, 5), 0.5).eval()
    assert torch.equal(test_mode(x), x * 0.5 if word == "drop-classic" else x)
    assert torch.equal(torch.get_rng_state(), before)
    for layer in (make(word, (2, 3, 4, 5), 0.0), make(word, (2, 3, 4, 5), 0.0).eval()):
        assert torch.equal(layer(x), x)
