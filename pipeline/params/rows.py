"""One experiment: a row of params.yaml with all that it inherits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.params import facts, vocabulary
from pipeline.params.optimizers import EarlyStopping, NoSchedule, Optimizer, Schedule
from pipeline.params.schema import Fraction, Model, Name, Positive, Seeds
from pipeline.params.tuning import Tuning
from pipeline.text import nearest

if TYPE_CHECKING:
    from models import Backbone, Sentence  # torch, which reading a plan does not need


PARTS = ("block", "each", "end", "head")
"""The keys that hold a row's sentence."""


def _named(preset: str) -> dict[str, Any]:
    from models import PRESETS

    if preset not in PRESETS:
        raise ValueError(f"unknown preset{nearest(preset, PRESETS)}")
    return vars(PRESETS[preset])


class BackboneSpec(Model):
    """Depth and widths of the network."""

    widths: list[Positive] = Field(min_length=1, max_length=10, description="channels of each block")
    convs: list[Positive] = Field(min_length=1, max_length=10, description="convolutions of each block")
    dense: list[Positive] = Field(description="features of each hidden dense layer; [] for none")


class NormSpec(Model):
    """Settings of all normalization layers of a network."""

    momentum: float = Field(
        0.1, gt=0, le=1, description="bn: weight of the newest batch in the running mean and variance; Keras's is 1 - m"
    )
    eps: float = Field(1e-5, gt=0, description="added to the variance before the root, in its unit")
    running_stats: bool = Field(
        True, description="bn: test mode normalizes with running statistics; false: with the batch's, as in training"
    )
    groups: Positive = Field(8, description="gn: number of groups; divides the features of every layer it stands at")


class Trainer(Model):
    """Where a run computes. It is part of the row: other hardware gives other roundings."""

    accelerator: Literal["auto", "cpu", "gpu"] = Field("auto", description="auto takes a GPU where there is one")
    devices: Positive = Field(1, description="devices, hence processes, of one run; more than one takes strategy ddp")
    strategy: Literal["auto", "ddp"] = Field("auto", description="ddp: each device takes its share of every batch")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field("32-true", description="Lightning's precision")
    arithmetic: Literal["portable", "native"] = Field(
        "portable", description="portable: the same bytes on all x86-64 CPUs with AVX2; native: all that this CPU has"
    )
    channels_last: bool = Field(
        True, description="channels innermost in memory: faster on CPUs, and on GPUs in half precision"
    )
    compile: bool = Field(False, description="torch.compile: a minute at the start, fewer kernels after it")
    sync_batchnorm: bool = Field(
        False, description="bn takes the statistics of the whole batch and not of a device's share; GPUs only"
    )

    @model_validator(mode="after")
    def _devices_fit(self) -> Trainer:
        if (self.devices > 1) != (self.strategy == "ddp"):
            raise ValueError(
                f"{self.devices} devices with strategy {self.strategy}; ddp goes with more than one device"
            )
        if self.arithmetic == "portable" and (self.precision != "32-true" or self.compile):
            found = "compile" if self.compile else f"precision {self.precision}"
            raise ValueError(f"{found} depends on the processor; write arithmetic: native")
        if self.sync_batchnorm and (self.devices == 1 or self.accelerator == "cpu"):
            raise ValueError("sync_batchnorm needs several GPUs: devices over 1, accelerator not cpu")
        return self


class Published(Model):
    """What a publication reports for a row; the report sets it beside the measured value."""

    accuracy: float | None = Field(None, ge=0, le=1, description="test accuracy, a fraction")
    loss: float | None = Field(None, ge=0, description="test cross-entropy, nats")
    auc: float | None = Field(None, ge=0, le=1, description="area under the ROC curve, micro average, a fraction")
    shift: list[Annotated[float, Field(ge=1)]] | None = Field(
        None, min_length=2, max_length=2, description="mean variance shift over layers, the least and the greatest"
    )
    source: str | None = Field(None, description="where it was published")

    @field_validator("shift")
    @classmethod
    def _least_first(cls, shift: list[float] | None) -> list[float] | None:
        if shift and shift[0] > shift[1]:
            raise ValueError("the least before the greatest")
        return shift


class Row(Model):
    """One experiment: a network, how it is trained, and on what. `from` is resolved before a row is made of it."""

    bases: str | None = Field(
        None, alias="from", exclude=True, description="bases with spaces between them; pipeline/params/bases.py"
    )
    study: Name = Field(description="a key of studies")
    dataset: Name = Field(description="a key of datasets")
    backbone: BackboneSpec = Field(description="depth and widths, or the name of a preset: vgg2, vgg11 or vgg16")
    each: str = Field("", description="words for every convolution, `conv` or `conv-valid` among them")
    end: str = Field("", description="words that close a block, `pool` among them")
    block: str = Field("", description="words of a whole block, convolutions and `pool` among them, for each and end")
    head: str = Field("", description="words for every hidden dense layer, `dense` among them")
    activation: str = Field("relu", description="what `act` stands for: relu, elu, gelu, silu, selu, sigmoid or tanh")
    dropout: float | list[float] = Field(0.5, description="drop rate, or one per dropout position in network order")
    norm: NormSpec = NormSpec.model_validate({})
    optimizer: Optimizer
    schedule: Schedule = NoSchedule()
    early_stopping: EarlyStopping | None = Field(None, description="null trains all epochs")
    epochs: Positive = Field(description="passes over the training images at most")
    batch: int = Field(ge=2, description="images per step over all devices; the remainder of an epoch is left out")
    label_smoothing: Fraction = Field(0.0, description="share of the target spread over all classes")
    augment: Literal["none", "pad-crop-flip"] = Field("none", description="pad by 1/8, crop at random, flip left-right")
    select_on: Literal["validation", "test"] = Field(
        "validation", description="images that choose the epoch; test leaks, and the report says so"
    )
    select_by: Literal["loss", "accuracy"] = Field("loss", description="what chooses the epoch and stops early")
    keep: Literal["best", "last"] = Field(
        "best", description="weights that are tested: the chosen epoch's or the last epoch's"
    )
    max_loss: float = Field(1e3, gt=0, description="a run whose mean training loss passes this has diverged, nats")
    trainer: Trainer = Trainer.model_validate({})
    seeds: Seeds = Field(description="one run each")
    published: Published | None = Field(None, description="what was published for this row")

    @field_validator("backbone", mode="before")
    @classmethod
    def _preset(cls, value: Any) -> Any:
        if isinstance(value, str):
            return facts.known("preset", value, lambda: _named(value))
        return value

    def network(self) -> tuple[Backbone, Sentence]:
        """What `models.build` needs.

        Raises:
            SentenceError: the sentence has no meaning.
            UserError: a file of words has an error.
        """
        from models import Backbone, Norm, Sentence

        vocabulary.words()
        norm = Norm(**self.norm.model_dump())
        sentence = Sentence(activation=self.activation, dropout=self.dropout, norm=norm, **self.parts())
        return Backbone(self.backbone.widths, self.backbone.convs, self.backbone.dense), sentence

    def said(self) -> dict[str, Any]:
        """What decides the network, as JSON."""
        return self.model_dump(include={"backbone", *PARTS, "activation", "dropout", "norm"})

    def sources(self) -> list[str]:
        """The paths of the files that define the words of the sentence."""
        return facts.known("sources", self.said(), lambda: [str(path) for path in self.network()[1].sources()])

    def parts(self) -> dict[str, str]:
        """What is written of the sentence, by part."""
        return {part: words for part in PARTS if (words := getattr(self, part))}

    def words(self) -> list[str]:
        """All words of the sentence, each once, in the order of the network."""
        return list(dict.fromkeys(" ".join(self.parts().values()).split()))

    def reads(self, setting: str) -> bool:
        """Whether a norm of the sentence reads this setting of `norm`."""

        def read() -> bool:
            known = vocabulary.words()
            return any(setting in known[word].settings for word in self.words() if word in known)

        return facts.known(f"reads {setting}", self.words(), read)

    def training(self) -> dict[str, Any]:
        """The part of the row that decides the numbers of one run: all but names, seeds and publications."""
        return self.model_dump(exclude={"study", "dataset", "seeds", "published"})


class TunedRow(Row):
    """A row whose values a tuning chooses; what it writes for them itself does not count."""

    tuning: Tuning

    @model_validator(mode="before")
    @classmethod
    def _trials_as_long_as_the_row(cls, content: Any) -> Any:
        """What learns early would win shorter trials."""
        if isinstance(content, dict) and isinstance(content.get("tuning"), dict) and "epochs" in content:
            return content | {"tuning": {"epochs": content["epochs"]} | content["tuning"]}
        return content
