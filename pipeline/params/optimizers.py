"""How a row's weights move: its optimizer, the schedule of its rate, and when it stops."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.params.schema import Fraction, Model, Positive


class _Optimizer(Model):
    lr: float = Field(gt=0, description="learning rate at the start")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty added to the gradient; decoupled from it in adamw")


class SGD(_Optimizer):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    momentum: Fraction = Field(0.0, description="momentum")
    nesterov: bool = Field(False, description="Nesterov's momentum")

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SGD:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum over 0")
        return self


class Adam(_Optimizer):
    """Adam, or AdamW with decoupled weight decay."""

    name: Literal["adam", "adamw"]
    beta1: Fraction = Field(0.9, description="decay of the mean of gradients")
    beta2: Fraction = Field(0.999, description="decay of the mean of squared gradients")
    eps: float = Field(1e-8, gt=0, description="added to the denominator")


class RMSprop(_Optimizer):
    """RMSprop."""

    name: Literal["rmsprop"]
    momentum: Fraction = Field(0.0, description="momentum")
    alpha: Fraction = Field(0.99, description="decay of the mean of squared gradients")
    eps: float = Field(1e-8, gt=0, description="added to the denominator")


Optimizer = Annotated[SGD | Adam | RMSprop, Field(discriminator="name")]


class NoSchedule(Model):
    """The learning rate stays."""

    name: Literal["none"] = "none"


class Plateau(Model):
    """The rate falls when the loss that selects stops falling."""

    name: Literal["plateau"]
    factor: float = Field(0.5, gt=0, lt=1, description="the rate is multiplied by this")
    patience: Positive = Field(3, description="epochs without improvement after which it falls, counted as Keras does")
    cooldown: int = Field(0, ge=0, description="epochs after a fall in which none is counted")
    min_lr: float = Field(0.0, ge=0, description="floor of the rate")
    min_delta: float = Field(1e-4, ge=0, description="smallest change of the loss that counts as improvement")


class Cosine(Model):
    """The rate falls to min_lr along half a cosine over all epochs (Loshchilov and Hutter 2017)."""

    name: Literal["cosine"]
    min_lr: float = Field(0.0, ge=0, description="rate after the last epoch")


class Step(Model):
    """The rate is multiplied by factor after each milestone."""

    name: Literal["step"]
    milestones: list[Positive] = Field(min_length=1, description="epochs after which the rate falls")
    factor: float = Field(0.1, gt=0, lt=1, description="the rate is multiplied by this")

    @field_validator("milestones")
    @classmethod
    def _rising(cls, values: list[int]) -> list[int]:
        if values != sorted(set(values)):
            raise ValueError("each once, in rising order")
        return values


Schedule = Annotated[NoSchedule | Plateau | Cosine | Step, Field(discriminator="name")]


class EarlyStopping(Model):
    """Training ends when what selects has stopped improving."""

    patience: Positive = Field(description="epochs without improvement")
    min_delta: float = Field(0.0, ge=0, description="smallest change that counts as improvement")
