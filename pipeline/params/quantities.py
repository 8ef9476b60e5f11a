"""What can be compared of a run: the names that contrasts use, what they mean, and what a run that diverged counts."""

import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

LEARNS = 0.1
"""A row that gets less of the way from guessing to no error learns nothing."""

USABLE = 0.9
"""A learning rate is usable that learns this share of what the best rate of its arrangement learns."""


class Measured(Protocol):
    """What was measured for a row, as `measured.Result` holds it."""

    row: Any
    spec: dict[str, Any]
    curves: dict[str, list[list[float]]]
    diagnosis: Any

    @property
    def finished(self) -> list[int]: ...

    def values(self, column: str) -> dict[int, float]: ...


@dataclass(frozen=True)
class Quantity:
    """A number of every run.

    Args:
        meaning: in words, as a table shows it.
        read: its values by seed, of the runs that finished; or the column of seeds.csv that has them.
        unit: of the number times `scale`.
        scale: from the stored number to a reader's: 100 for fractions.
        digits: decimals that a reader wants.
        base: of the logarithm that the number is, for a reader who wants the factor; None of one that is none.
        matters: the smallest difference that does, in the stored unit: what a verdict calls negligible is surely less,
            and "at least as good" (>=) allows so much.
        step: of its values where they come in steps, such as one test image or one epoch; None where they do not.
        of_failed: what a run counts that diverged: to leave it out would reward the row that diverges. It
            recognizes nothing, so it counts as a guess. None: it has no such number, and its seed is left out.
        counts_as: how a sentence says that.
        tells_failure: whether it tells itself which runs failed or only guess.
    """

    meaning: str
    read: Callable[[Any], dict[int, float]] | str
    unit: str = ""
    scale: float = 1.0
    digits: int = 4
    base: float | None = None
    matters: float = 0.005
    step: Callable[[Any], float] | None = None
    of_failed: Callable[[Any], float] | None = None
    counts_as: str = ""
    tells_failure: bool = False

    def values(self, result: Any) -> dict[int, float]:
        """Its values by seed, of the runs that finished."""
        return result.values(self.read) if isinstance(self.read, str) else self.read(result)

    def resolution(self, result: Any) -> float:
        """The step of a row's values, in the stored unit; 0 where there is none."""
        return self.step(result) if self.step else 0.0


def _guessed_accuracy(result: Measured) -> float:
    return 1 / len(result.spec["classes"])


def _guessed_loss(result: Measured) -> float:
    return math.log(len(result.spec["classes"]))


def _image(split: str) -> Callable[[Measured], float]:
    """The share of one image of a split: accuracies come in steps of it."""
    return lambda result: 1 / max(1, result.spec["images"][split])


_fraction = partial(Quantity, unit="points", scale=100.0, digits=2)
_accuracy = partial(_fraction, of_failed=_guessed_accuracy, counts_as="guesses")
_nats = partial(Quantity, unit="nats")
_loss = partial(_nats, of_failed=_guessed_loss, counts_as="guesses")
_auc = partial(Quantity, of_failed=lambda _: 0.5, counts_as="guesses")
_epochs = partial(Quantity, unit="epochs", digits=1, matters=0.5, step=lambda _: 1.0)


def _unsteadiness(result: Measured) -> dict[int, float]:
    """Mean change of the validation loss from one epoch to the next, up or down, in the second half of training."""
    halves = (losses[len(losses) // 2 :] for losses in result.curves["val_loss"])
    changes = [[abs(after - before) for before, after in itertools.pairwise(losses)] for losses in halves]
    means = {seed: math.fsum(change) / len(change) for seed, change in _by_seed(result, changes).items() if change}
    return {seed: mean for seed, mean in means.items() if math.isfinite(mean)}


def _epochs_to(target: float, result: Measured) -> dict[int, float]:
    """Epochs until the validation accuracy reaches a target; of a run that never does, one more than it may train."""
    curves = _by_seed(result, result.curves["val_accuracy"]).items()
    validated = {seed: curve for seed, curve in curves if not all(map(math.isnan, curve))}
    return {seed: float(epochs_to(curve, target) or result.row.epochs + 1) for seed, curve in validated.items()}


def epochs_to(curve: Sequence[float], target: float) -> int | None:
    """The first epoch, counted from 1, after which a value is at least the target; None if none is."""
    return next((epoch for epoch, value in enumerate(curve, 1) if value >= target), None)


def _diagnosed(column: str, less: str | None = None) -> Callable[[Measured], dict[int, float]]:
    """A column of the diagnosis, or its difference to another; nothing where the study was not diagnosed."""

    def read(result: Measured) -> dict[int, float]:
        if result.diagnosis is None:
            return {}
        values, others = result.diagnosis.values(column), result.diagnosis.values(less) if less else {}
        return {seed: value - others.get(seed, 0.0) for seed, value in values.items()}

    return read


def _log_shift(result: Measured) -> dict[int, float]:
    """A shift is a ratio, and the shifts of a stack multiply: what adds up, and what a mean and a t test take, is its
    logarithm."""
    shifts = result.diagnosis.shifts("ratio") if result.diagnosis else {}
    return {seed: math.log(value) for seed, value in shifts.items()}


def _usable_rate(result: Any) -> dict[int, float]:
    """Logarithm of the highest learning rate that is usable, by seed, of the row's arrangement; where it learns nothing
    at any rate, one step under the lowest."""
    if not result.rates:
        return {}
    learned = {rate: sibling.measure(QUANTITIES["val_accuracy"]) for rate, sibling in result.rates.items()}
    found = {}
    for seed in set.intersection(*(set(by_seed) for by_seed in learned.values())):
        gains = {rate: by_seed[seed] - result.chance for rate, by_seed in learned.items()}
        best = max(gains.values())
        fit = [rate for rate, gain in gains.items() if gain >= USABLE * best]
        learns = best >= LEARNS * (1 - result.chance)
        found[seed] = math.log10(max(fit)) if learns else math.log10(min(gains)) - _rate_step(result)
    return found


def _rate_step(result: Any) -> float:
    """The widest distance between two of the learning rates that an arrangement was trained at, as a logarithm."""
    return max(math.log10(high / low) for low, high in itertools.pairwise(result.rates)) if result.rates else 0.0


def _by_seed(result: Measured, values: list[Any]) -> dict[int, Any]:
    return dict(zip(result.finished, values, strict=True))


QUANTITIES = {
    "accuracy": _accuracy("test accuracy", "test_accuracy", step=_image("test")),
    "loss": _loss("test loss", "test_loss"),
    "auc": _auc("test AUC", "test_auc"),
    "auc_macro": _auc("test AUC, mean over classes", "test_auc_macro"),
    "ece": _fraction("expected calibration error of the test images", "test_ece"),
    "train_accuracy": _accuracy("training accuracy in test mode", "final_train_accuracy", step=_image("train")),
    "train_loss": _loss("training loss in test mode", "final_train_loss"),
    "train_auc": _auc("training AUC in test mode", "final_train_auc"),
    "val_accuracy": _accuracy("validation accuracy", "final_val_accuracy", step=_image("validation")),
    "val_loss": _loss("validation loss", "final_val_loss"),
    "val_auc": _auc("validation AUC", "final_val_auc"),
    "gap_accuracy": _fraction("training accuracy − validation accuracy", "gap_accuracy", step=_image("validation")),
    "gap_loss": _nats("training loss − validation loss", "gap_loss"),
    "epochs": _epochs("epochs trained", "epochs"),
    "best_epoch": _epochs("epoch of the kept weights", "best_epoch"),
    "unsteadiness": _nats("mean change of the validation loss per epoch, second half of training", _unsteadiness),
    "shift": Quantity(
        "natural logarithm of the variance shift, the mean over layers of max(real/moving, moving/real)",
        _log_shift,
        unit="ln",
        base=math.e,
        digits=3,
        matters=0.02,
    ),
    "regained_accuracy": _fraction(
        "test accuracy gained by running the statistics again",
        _diagnosed("test_accuracy_moving", less="test_accuracy_before"),
        step=_image("test"),
    ),
    "usable_rate": Quantity(
        "decimal logarithm of the highest usable learning rate of the row's arrangement",
        _usable_rate,
        unit="decades",
        digits=1,
        base=10.0,
        matters=0.5,
        step=_rate_step,
        tells_failure=True,
    ),
    "failed": _fraction(
        "share of runs that diverged",
        lambda result: dict.fromkeys(result.finished, 0.0),
        matters=0.05,
        step=lambda _: 1.0,
        of_failed=lambda _: 1.0,
        tells_failure=True,
    ),
}
"""By name. A number that another stage measures for each run becomes comparable by a line here."""

ACCURACY = QUANTITIES["accuracy"]

COLUMNS = {found.read: found for found in QUANTITIES.values() if isinstance(found.read, str)}
"""The quantities that are columns of seeds.csv, by column."""

TARGET = re.compile(r"epochs_to_(0?\.\d+)")
CLASS = "class_accuracy_"


def target_of(name: str) -> float | None:
    """The accuracy that a quantity counts the epochs to; None if it counts none."""
    target = TARGET.fullmatch(name)
    return float(target[1]) if target else None


def of_column(name: str) -> Quantity | None:
    """The quantity that a column of seeds.csv holds, None if there is none."""
    return quantity(name) if name.startswith(CLASS) else COLUMNS.get(name)


def quantity(name: str) -> Quantity | None:
    """The quantity of that name, None if there is none.

    Beside those of QUANTITIES, `epochs_to_0.9` for a target of the study, and `class_accuracy_<class>`.
    """
    if name.startswith(CLASS):
        meaning = f"test accuracy of class {name.removeprefix(CLASS)}"
        return _accuracy(meaning, name, step=lambda result: len(result.spec["classes"]) * _image("test")(result))
    if target := target_of(name):
        meaning = f"epochs to {100 * target:g} % validation accuracy"
        return _epochs(
            meaning,
            partial(_epochs_to, target),
            of_failed=lambda result: result.row.epochs + 1,
            counts_as="one epoch more than they may train",
        )
    return QUANTITIES.get(name)
