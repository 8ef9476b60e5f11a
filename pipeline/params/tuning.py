"""The `tuning` block of params.yaml: what is tried for a row, how often, and who proposes it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.schema import Model, Positive, Seeds

Value = bool | int | float | str
"""Of a parameter."""

Number = Annotated[int | float, Field(ge=-1e100, le=1e100)]
MOST_STEPS = 10**6

WILCOXON_SEEDS = 3
"""Two seeds, both worse, have p = 1/4, which search.WORSE calls enough; it saves something before the last seed."""


class Parameter(Model):
    """The values that a tuning tries for one key of a row: a range or a list."""

    low: Number | None = Field(None, description="lower end of a range")
    high: Number | None = Field(None, description="upper end of a range, itself included")
    step: Number | None = Field(None, gt=0, description="distance of neighbouring values; null for any value")
    log: bool = Field(False, description="values are spread evenly over their logarithms")
    choices: list[bool | int | float | str] | None = Field(
        None, min_length=2, description="values without an order, in place of a range"
    )

    @model_validator(mode="after")
    def _range_or_list(self) -> Parameter:
        if self.choices is not None:
            if self.log or (self.low, self.high, self.step) != (None, None, None):
                raise ValueError("choices go without low, high, step and log")
            if len({(type(choice), choice) for choice in self.choices}) < len(self.choices):
                raise ValueError("every choice once")
        elif self.low is None or self.high is None:
            raise ValueError("low and high are needed, or choices")
        elif self.low >= self.high:
            raise ValueError(f"an empty range: low {self.low} is not under high {self.high}")
        elif self.log and self.low <= 0:
            raise ValueError(f"a log range over zero: low {self.low} must be over 0")
        elif self.step is not None:
            if self.log:
                raise ValueError("step goes without log")
            steps = (self.high - self.low) / self.step
            if steps > MOST_STEPS:
                raise ValueError(f"{steps:.3g} steps of {self.step}; {MOST_STEPS:,} at most")
            if abs(steps - round(steps)) > 1e-9 * steps:
                raise ValueError(f"{self.low} to {self.high} is not a whole number of steps of {self.step}")
        return self


class Tuning(Model):
    """How the values of a row are chosen on validation images before it trains (Optuna)."""

    trials: Positive = Field(description="sets of values that are tried")
    epochs: Positive = Field(description="of each seed of a trial at most; as many as the row's where it is not given")
    seeds: Seeds = Field(description="runs of a trial; its score is their mean")
    seed: int = Field(0, ge=0, lt=2**31, description="of what the sampler draws")
    objective: Literal["val_loss", "val_accuracy"] = Field(
        "val_loss", description="score of the weights that the row keeps, on validation images"
    )
    sampler: Literal["tpe", "qmc", "random", "gp"] = Field(
        "tpe", description="who proposes values; tpe and gp begin as qmc does"
    )
    pruner: Literal["none", "median", "hyperband", "wilcoxon"] = Field(
        "none",
        description="who ends trials early: median and hyperband by their epochs, mostly in the first seed; wilcoxon"
        " by the later half of the first seed's, then by seeds",
    )
    parallel: Positive = Field(
        4,
        description="trials side by side at most; each is proposed from those that lie at least so far before it,"
        " so that the number of workers changes no result",
    )
    space: dict[str, Parameter] = Field(
        min_length=1, description="what is tuned: the key's path in the row, such as optimizer.lr"
    )

    def step(self, place: int, epoch: int | None = None) -> int:
        """The number under which a pruner sees what a trial has reached.

        Args:
            place: of the seed, from 0 on.
            epoch: from 1 on; None for the end of the seed, by which wilcoxon compares.
        """
        return place * self.epochs + epoch if epoch else self.epochs + 1 + place

    @model_validator(mode="after")
    def _wilcoxon_needs_seeds(self) -> Tuning:
        if self.pruner == "wilcoxon" and len(self.seeds) < WILCOXON_SEEDS:
            raise ValueError(
                f"pruner wilcoxon needs {WILCOXON_SEEDS} seeds or more, as it ends trials between their seeds"
            )
        return self
