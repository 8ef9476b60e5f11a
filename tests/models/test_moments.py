"""What dropout does to means and variances: the formulas that the argument about variance shift rests on.

Bounds are five standard errors of the sample at hand, beyond which a normal estimate falls once in
1.7 million; seeds are fixed, so that a test that passes keeps passing.
"""

import pytest
import torch
from reference import noise_moments, output_moments, standard_errors
from torch import Tensor, nn

from models import Backbone, Norm, Place, Sentence, build, vocabulary
from models.dropout import keep

ERRORS = 5
COUNT = 2**17
DROPOUTS = ["drop", "drop-classic", "drop2d", "gauss", "uout", "alpha"]


def make(word: str, rate: float) -> nn.Module:
    """The layer of a dropout word for feature maps, in training mode."""
    layer = vocabulary.words()[word].layer(Place("each", word, 64, 4, rate, Norm()))
    assert layer is not None
    return layer


def normal(mean: float, variance: float, shape: tuple[int, ...]) -> Tensor:
    return mean + variance**0.5 * torch.randn(shape, dtype=torch.float64)


@pytest.mark.parametrize("word", DROPOUTS)
@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize(("mean", "variance"), [(0, 1), (1, 0.25), (-2, 4)])
def test_mean_and_variance_of_the_output(word: str, rate: float, mean: float, variance: float) -> None:
    """Broken: a kind of dropout would be weaker or stronger than its rate says."""
    torch.manual_seed(1)
    output = make(word, rate)(normal(mean, variance, (COUNT // 64, 64, 2, 2)))
    sample = output[:, :, 0, 0]  # of one pixel per channel: those of a channel share their mask in drop2d
    expected = output_moments(word, rate, mean, variance)
    expected_mean, expected_variance, mean_error, variance_error = standard_errors(expected, sample.numel())
    assert abs(sample.mean().item() - expected_mean) < ERRORS * mean_error
    assert abs(sample.var().item() - expected_variance) < ERRORS * variance_error


@pytest.mark.parametrize("rate", [0.0001, 0.2, 1 / 3, 0.5, 0.75, 0.9999])
def test_masks_drop_with_exactly_the_rate(rate: float) -> None:
    """Broken: masks made of 8 bits would round the rate, or favour one of the eight values that share a word."""
    torch.manual_seed(3)
    kept = keep(torch.empty(2**22), rate)
    for lane in (kept, *kept.reshape(-1, 8).unbind(1)):
        deviation = (len(lane) * rate * (1 - rate)) ** 0.5
        assert abs((~lane).sum().item() - len(lane) * rate) <= ERRORS * deviation


@pytest.mark.parametrize("rate", [0.003, 0.2, 0.25, 0.998])
def test_as_many_values_drop_as_draws_on_their_own_would(rate: float) -> None:
    """Broken: what 8 bits leave of a rate would drop too evenly, or together, so that batches differ otherwise."""
    torch.manual_seed(6)
    counts, values = 4000, 1001
    dropped = torch.tensor([(~keep(torch.empty(values), rate)).sum().item() for _ in range(counts)]).double()
    variance = values * rate * (1 - rate)
    assert abs(dropped.mean().item() - values * rate) < ERRORS * (variance / counts) ** 0.5
    # The kurtosis of a binomial law, 3 + (1 − 6·rate·(1 − rate)) / variance, gives its sample variance this error.
    error = ((2 + (1 - 6 * rate * (1 - rate)) / variance) / counts) ** 0.5
    assert abs(dropped.var().item() / variance - 1) < ERRORS * error


def test_rates_under_8_bits_are_kept() -> None:
    """Broken: a rate between two steps of 2⁻⁸ would become one of them; here 2⁻¹⁷ would become 0."""
    torch.manual_seed(4)
    dropped = sum((~keep(torch.empty(2**24), 2**-17)).sum().item() for _ in range(4))
    assert abs(dropped - 512) < ERRORS * 512**0.5


def test_masked_values_are_independent() -> None:
    """Broken: neighbours would drop together, or the same values in every batch."""
    torch.manual_seed(5)
    kept = torch.stack([keep(torch.empty(2**18), 0.3) for _ in range(2)]).double() - 0.7
    for distance in (1, 2, 3, 4, 8):
        correlation = (kept[0, distance:] * kept[0, :-distance]).mean().item() / 0.21
        assert abs(correlation) < ERRORS / 2**9
    assert abs((kept[0] * kept[1]).mean().item() / 0.21) < ERRORS / 2**9


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((3,), torch.contiguous_format),
        ((5, 7), torch.contiguous_format),
        ((2, 3, 5, 5), torch.contiguous_format),
        ((2, 3, 5, 5), torch.channels_last),
    ],
)
def test_a_masked_tensor_keeps_its_layout(shape: tuple[int, ...], layout: torch.memory_format) -> None:
    """Broken: the next layer would copy the tensor, or a mask would be laid over other values than it says."""
    x = torch.ones(shape).contiguous(memory_format=layout).requires_grad_()
    output = make("drop", 0.5)(x)
    assert output.stride() == x.stride() and set(output.flatten().tolist()) == {0.0, 2.0}
    output.sum().backward()
    assert x.grad is not None and torch.equal(x.grad, output)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_masked_value_and_its_gradient_are_rounded_once(dtype: torch.dtype) -> None:
    """Broken: in half precision the scale of inverted dropout would be off by up to 0.4 %, the same way each time."""
    x = torch.randn(1000).to(dtype).requires_grad_()
    output = make("drop", 0.3)(x)
    kept = output != 0
    assert torch.equal(output[kept], (x.double() / 0.7).to(dtype)[kept])
    upstream = torch.randn(1000).to(dtype)
    output.backward(upstream)
    assert x.grad is not None and torch.equal(x.grad, (upstream.double() / 0.7).to(dtype) * kept)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_alpha_dropout_keeps_mean_0_and_variance_1(rate: float) -> None:
    """Broken: its reference would agree with a layer that is of no use to SELU."""
    mean, variance, _, _ = standard_errors(output_moments("alpha", rate, 0, 1), COUNT)
    assert (mean, variance) == pytest.approx((0, 1), abs=1e-12)


@pytest.mark.parametrize("word", ["drop", "drop-classic", "drop2d", "gauss", "uout"])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_test_mode_is_the_expectation_of_training(word: str, rate: float) -> None:
    """Broken: the layers behind would see other means in test mode than those that they learned with."""
    torch.manual_seed(2)
    x = torch.randn(1, 64, 1, 1, dtype=torch.float64)
    layer = make(word, rate)
    measured = layer.train()(x.expand(20_000, -1, -1, -1)).mean(0)
    _, _, error, _ = standard_errors(noise_moments(word, rate), 20_000)
    assert ((measured - layer.eval()(x)[0]).abs() < ERRORS * error * x[0].abs()).all()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_two_dropouts_differ_by_the_keep_rate_in_both_modes(rate: float) -> None:
    """Broken: `drop` and `drop-classic` would be two methods and not two ways to write one."""
    x = torch.randn(8, 64, 2, 2, dtype=torch.float64)
    inverted, classic = make("drop", rate), make("drop-classic", rate)
    outputs = []
    for layer in (inverted, classic):
        torch.manual_seed(3)
        outputs.append(layer(x))
    torch.testing.assert_close((1 - rate) * outputs[0], outputs[1], rtol=1e-12, atol=0)
    torch.testing.assert_close((1 - rate) * inverted.eval()(x), classic.eval()(x), rtol=1e-12, atol=0)


def shift(word: str, rate: float) -> float:
    """Variance in test mode over the running variance of a `bn` that follows a dropout, on standard normal images.

    From 65,536 maps of four pixels in each of four channels: its standard error is under 0.4 % at the rates used.
    """
    sentence = Sentence(f"{word} bn conv", "pool", dropout=rate, norm=Norm(momentum=1))  # running: the last batch's
    torch.manual_seed(4)
    images = torch.randn(2**16, 4, 2, 2)
    network = build(Backbone([4], [1], []), sentence, (4, 2, 2), 2)
    dropout, norm = network[0], network[1]
    norm(dropout(images))
    in_test_mode = dropout.eval()(images).var((0, 2, 3))
    return (in_test_mode.mean() / norm.state_dict()["running_var"].mean()).item()


@pytest.mark.parametrize("word", ["drop", "drop-classic", "drop2d", "gauss"])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 0.5, 0.7])
def test_shift_of_dropout_directly_before_bn_is_the_keep_rate(word: str, rate: float) -> None:
    """Broken: case (a) of Li et al. 2018 would not be what the study `shift` measures."""
    assert shift(word, rate) == pytest.approx(1 - rate, rel=0.02)


@pytest.mark.parametrize("beta", [0.1, 0.3, 0.5, 0.9])
def test_shift_of_uout_directly_before_bn(beta: float) -> None:
    """Broken: uniform dropout would not be the variance-stable form that its paper proposes."""
    assert shift("uout", beta) == pytest.approx(3 / (3 + beta**2), rel=0.02)


def test_alpha_dropout_shifts_no_variance_of_standard_normal_inputs() -> None:
    """Broken: with SELU, alpha dropout would shift variances as the others do."""
    assert shift("alpha", 0.5) == pytest.approx(1, rel=0.02)
