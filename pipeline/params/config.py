"""params.yaml as typed, validated values. `python -m pipeline.config` prints every key with its meaning.

Stages after `plan` never read params.yaml: `plan` writes every row and data set with all defaults
filled in, and these files are what DVC tracks. So a change here retrains a row only where it
changes what the row means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pipeline import paths
from pipeline.errors import UserError
from pipeline.params import contrasts, vocabulary
from pipeline.params.complaints import complain, reference
from pipeline.params.quantities import QUANTITIES, quantity, target_of
from pipeline.params.schema import NAME, Fraction, Model, Positive, Seeds
from pipeline.params.tuning import Tuning
from pipeline.text import nearest, one_line, show

if TYPE_CHECKING:
    from models import Backbone, Sentence  # torch, which reading a plan does not need


class _Dataset(Model):
    validation: Fraction = Field(
        0.1, description="fraction of all but the test images that selects and does not train; each seed draws its own"
    )
    train_size: Positive | None = Field(
        None, description="number of training images, of which each seed draws its own; null for all that are left"
    )
    size: Positive | None = Field(None, description="images are resized to size × size pixels; null keeps them")


class _Split(_Dataset):
    split_seed: int = Field(0, ge=0, description="seed of the choice of test images, which is the same for all seeds")


class Digits(_Split):
    """scikit-learn's handwritten digits: 1797 grey images of 8×8 pixels, part of the package."""

    source: Literal["digits"]
    test: Fraction = Field(0.5, gt=0, description="fraction of all images that becomes the test set, per class")


class Torchvision(_Dataset):
    """A data set that torchvision downloads and checks."""

    source: Literal["torchvision"]
    name: Literal["CIFAR10", "CIFAR100", "MNIST", "FashionMNIST"] = Field(description="torchvision's class name")
    path: str | None = Field(
        None, min_length=1, description="as of a folder, with train/ and test/: read instead, where it is there"
    )


class Folder(_Split):
    """Images in a directory or archive: train/<class>/* and test/<class>/*, or <class>/* alone."""

    source: Literal["folder"]
    path: str = Field(
        min_length=1,
        description="directory, .tar, .tar.gz, .tar.bz2, .tar.xz or .zip, with or without this ending; in the folder"
        " that DISHARMONY_IMAGES names (.images without it) or relative to the project; ~ allowed",
    )
    test: Fraction = Field(
        0.2, gt=0, description="fraction that becomes the test set where the images have no train/ and test/"
    )


Dataset = Annotated[Digits | Torchvision | Folder, Field(discriminator="source")]


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


Schedule = Annotated[NoSchedule | Plateau | Cosine | Step, Field(discriminator="name")]


class EarlyStopping(Model):
    """Training ends when what selects has stopped improving."""

    patience: Positive = Field(description="epochs without improvement")
    min_delta: float = Field(0.0, ge=0, description="smallest change that counts as improvement")


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


PARTS = ("block", "each", "end", "head")
"""The keys that hold a row's sentence."""


class Row(Model):
    """One experiment: a network, how it is trained, and on what."""

    study: str = Field(pattern=NAME, description="a key of studies")
    dataset: str = Field(pattern=NAME, description="a key of datasets")
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
            from models import PRESETS

            if value not in PRESETS:
                raise ValueError(f"unknown preset{nearest(value, PRESETS)}")
            return vars(PRESETS[value])
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

    def parts(self) -> dict[str, str]:
        """What is written of the sentence, by part."""
        return {part: words for part in PARTS if (words := getattr(self, part))}

    def words(self) -> list[str]:
        """All words of the sentence, each once, in the order of the network."""
        return list(dict.fromkeys(" ".join(self.parts().values()).split()))

    def reads(self, setting: str) -> bool:
        """Whether a norm of the sentence reads this setting of `norm`."""
        known = vocabulary.words()
        return any(setting in known[word].settings for word in self.words() if word in known)

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


Named = Annotated[str, Field(pattern=NAME)]


class Answer(Model):
    """A sentence of a study's answer, with what was measured in its braces."""

    says: str = Field(min_length=1, description="the sentence, with a name in braces for each number: costs {cost}")
    of: dict[Named, str] = Field(
        min_length=1, description="by that name a metric and a sum of rows, such as 'accuracy: plain - bn'"
    )

    @model_validator(mode="after")
    def _names_are_told(self) -> Answer:
        try:
            told = {name for _, name, _, _ in Formatter().parse(self.says) if name is not None}
        except ValueError as error:
            raise ValueError(f"says: {error}") from None
        if told != self.of.keys():
            raise ValueError(f"says has {_braces(told)} and of has {_braces(self.of)}; each name in both")
        return self


def _braces(names: Iterable[str]) -> str:
    return " ".join(f"{{{name}}}" for name in sorted(names)) or "none"


class Study(Model):
    """Rows that are compared with each other: one report, one MLflow experiment."""

    title: str = Field(min_length=1, description="heading of the report")
    question: str = Field(min_length=1, description="what the study asks, one or two sentences")
    targets: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        default=[], description="validation accuracies, fractions; the report and claims count the epochs to each"
    )
    answers: list[Answer] = Field(
        default=[], max_length=3, description="what answers the question, beside what batch norm and dropout add"
    )
    note: str | None = Field(
        default=None, min_length=1, description="what a reader must know of how the study was made"
    )

    @field_validator("targets")
    @classmethod
    def _rising(cls, targets: list[float]) -> list[float]:
        if targets != sorted(set(targets)):
            raise ValueError("each target once, in rising order")
        return targets


class Claim(Model):
    """What somebody says, and the comparison in our rows that would show it."""

    says: str = Field(min_length=1, description="the statement in one sentence")
    source: str = Field(min_length=1, description="who says it, and where")
    tests: dict[Named, str] = Field(
        min_length=1, description="by study the contrast that is true where the claim is; pipeline/contrasts.py"
    )


class Params(Model):
    """The whole of params.yaml. Keys at the top that start with _ are for YAML anchors."""

    datasets: dict[Named, Dataset] = Field(min_length=1)
    studies: dict[Named, Study] = Field(min_length=1)
    rows: dict[Named, Row] = Field(min_length=1)
    tuned: dict[Named, TunedRow] = Field({}, description="rows whose values a tuning chooses")
    claims: dict[Named, Claim] = Field({}, description="statements that the reports check")

    def of_study(self, study: str) -> dict[str, Row]:
        """All rows of a study, in the order of params.yaml."""
        return {name: row for name, row in (self.rows | self.tuned).items() if row.study == study}


def read_params(path: Path = paths.PARAMS) -> Params:
    """Reads and checks all of params.yaml.

    Raises:
        UserError: one line that names the file or the key's full path.
    """
    try:
        # The reader that DVC uses, so that both see the same values.
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise UserError(f"{path.name}{place}: not YAML: {one_line(error.problem or error.context)}") from None
    except (YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"{path.name}: not YAML: {one_line(error)}") from None
    except OSError as error:
        raise UserError(f"{path.name}: {error.strerror}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path.name}: holds {show(content)}; datasets, studies and rows are needed")
    content = {key: value for key, value in content.items() if not str(key).startswith("_")}
    try:
        params = Params.model_validate(content)
    except ValidationError as error:
        raise UserError(complain(Params, content, error)) from None
    except RecursionError:
        raise UserError(f"{path.name}: refers to itself") from None
    _check_references(params)
    return params


def _check_references(params: Params) -> None:
    """What single values cannot show: names that refer to each other, and sentences that make networks."""
    for name, row in params.rows.items():
        _check_row(f"rows.{name}", row, params)
    for name, tuned in params.tuned.items():
        if name in params.rows:
            raise UserError(f"tuned.{name}: rows has a row of that name; every name once")
        _check_row(f"tuned.{name}", tuned, params)
        _check_tuned(f"tuned.{name}", tuned, params)
    for name in params.studies:
        if not params.of_study(name):
            raise UserError(f"studies.{name}: no row belongs to it; write one with 'study: {name}' or remove it")
        for place, answer in enumerate(params.studies[name].answers):
            for part, text in answer.of.items():
                _check_contrast(params, name, text, f"studies.{name}.answers.{place}.of.{part}", contrasts.parse_sum)
    for name, claim in params.claims.items():
        for study, contrast in claim.tests.items():
            _check_contrast(params, study, contrast, f"claims.{name}.tests.{study}", contrasts.parse)


def _check_row(key: str, row: Row, params: Params) -> None:
    from models import SentenceError

    if contrasts.NUMBER.fullmatch(key.partition(".")[2]):
        raise UserError(f"{key}: a claim would take this name for a number; put a letter in front")
    for part, value, known in (("study", row.study, params.studies), ("dataset", row.dataset, params.datasets)):
        if value not in known:
            raise UserError(f"{key}.{part}: no {part} '{value}'{nearest(value, known)}")
    dataset = params.datasets[row.dataset]
    looks = row.keep == "best" or row.early_stopping or row.schedule.name == "plateau"
    if row.select_on == "validation" and not dataset.validation and looks:
        raise UserError(
            f"{key}.select_on: validation, but datasets.{row.dataset}.validation is 0;"
            " hold images out there, or select_on: test"
        )
    if row.batch % row.trainer.devices:
        raise UserError(f"{key}.batch: {row.batch} is not a multiple of trainer.devices {row.trainer.devices}")
    try:
        backbone, sentence = row.network()
        backbone.check(sentence)
    except SentenceError as error:
        raise UserError(f"{key}.{error.part}: {vocabulary.complaint(error)}") from None


def _check_tuned(key: str, row: TunedRow, params: Params) -> None:
    from pipeline.params import space

    if row.select_on == "test":
        raise UserError(f"{key}.select_on: test; a row that selects on test images cannot be tuned")
    if not params.datasets[row.dataset].validation:
        raise UserError(f"{key}.dataset: datasets.{row.dataset}.validation is 0; tuning needs validation images")
    if seen := sorted(set(row.seeds) & set(row.tuning.seeds)):
        raise UserError(f"{key}.seeds: {seen[0]} is also a seed of the tuning; the row trains with seeds it never saw")
    for where, corner in space.corners(key, row):
        _check_row(where, corner, params)


def _check_contrast(
    params: Params, study: str, text: str, path: str, parse: Callable[[str], contrasts.Contrast]
) -> None:
    """Whether a contrast can be evaluated in a study."""
    if study not in params.studies:
        raise UserError(f"{path}: no study '{study}'{nearest(study, params.studies)}")
    try:
        contrast = parse(text)
    except contrasts.ContrastError as error:
        raise UserError(f"{path}: {error}") from None
    if quantity(contrast.metric) is None:
        raise UserError(f"{path}: no metric '{contrast.metric}'{nearest(contrast.metric, QUANTITIES)}")
    targets = params.studies[study].targets
    if (target := target_of(contrast.metric)) and target not in targets:
        known = ", ".join(map(str, targets)) or "none"
        raise UserError(f"{path}: {target} is no target of the study; studies.{study}.targets has {known}")
    rows = list(params.of_study(study))
    for name in contrast.rows:
        if name not in rows:
            raise UserError(f"{path}: no row '{name}' in study {study}{nearest(name, rows)}")


if __name__ == "__main__":
    for key, default, meaning in reference(Params):
        print(f"{key:48} {default:14} {meaning}")
