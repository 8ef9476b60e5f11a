"""What single values of params.yaml cannot show: names that refer to each other, and sentences that make networks."""

from collections.abc import Callable

from pipeline.errors import UserError
from pipeline.params import contrasts, facts, limits, space, vocabulary
from pipeline.params.complaints import Fault
from pipeline.params.quantities import QUANTITIES, quantity, target_of
from pipeline.params.rows import Row, TunedRow
from pipeline.params.studies import Claim, Params
from pipeline.text import nearest

RESERVED = ("benchmarks", "index", "mlflow", "primer", "readme")
"""What reports/ holds beside the reports of studies, which would replace it."""


def check(params: Params) -> None:
    """Checks all of it.

    Raises:
        Fault: the first thing that is wrong.
    """
    _check_names(params)
    for name, dataset in params.datasets.items():
        limits.check_dataset(f"datasets.{name}", dataset)
    for name, row in params.rows.items():
        _check_row(f"rows.{name}", row, params)
    for name, tuned in params.tuned.items():
        if name in params.rows:
            raise Fault(f"tuned.{name}", "rows has a row of that name; every name once")
        _check_row(f"tuned.{name}", tuned, params)
        _check_tuned(f"tuned.{name}", tuned, params)
    for name in params.studies:
        if name.lower() in RESERVED:
            raise Fault(f"studies.{name}", f"reports/ has a '{name.lower()}' that is no study; another name is needed")
        if not params.of_study(name):
            raise Fault(f"studies.{name}", f"no row belongs to it; write one with 'study: {name}' or remove it")
        _check_looks(name, params)
        for place, answer in enumerate(params.studies[name].answers):
            for part, text in answer.of.items():
                _check_contrast(f"studies.{name}.answers.{place}.of.{part}", text, name, params, contrasts.parse_sum)
    for name, claim in params.claims.items():
        _check_claim(f"claims.{name}.tests", claim, params)


def _check_looks(study: str, params: Params) -> None:
    """Whether the rows of a study that is judged at given numbers of seeds have one of these."""
    looks = params.studies[study].looks
    for name, row in params.of_study(study).items() if looks else ():
        if (seeds := len(row.seeds)) not in looks:
            key = f"{'rows' if name in params.rows else 'tuned'}.{name}.seeds"
            known = ", ".join(map(str, looks))
            raise Fault(key, f"found {seeds}; the study is judged at {known} seeds (looks), and at no other number")


def _check_names(params: Params) -> None:
    """Whether every name is a file's of its own on systems that do not tell a from A."""
    for sections in (("datasets",), ("studies",), ("rows", "tuned")):
        seen: dict[str, str] = {}
        for path in (f"{section}.{name}" for section in sections for name in getattr(params, section)):
            name = path.partition(".")[2]
            if (other := seen.setdefault(name.lower(), name)) != name:
                raise Fault(path, f"differs from '{other}' in case alone; some systems take both for one file")


def _check_row(key: str, row: Row, params: Params) -> None:
    if contrasts.NUMBER.fullmatch(key.partition(".")[2]):
        raise Fault(key, "a claim would take this name for a number; put a letter in front")
    for part, value, known in (("study", row.study, params.studies), ("dataset", row.dataset, params.datasets)):
        if value not in known:
            raise Fault(f"{key}.{part}", f"no {part} '{value}'{nearest(value, known)}")
    looks = row.keep == "best" or row.early_stopping or row.schedule.name == "plateau"
    if row.select_on == "validation" and not params.datasets[row.dataset].validation and looks:
        raise Fault(
            f"{key}.select_on",
            f"validation, but datasets.{row.dataset}.validation is 0; hold images out there, or select_on: test",
        )
    if row.batch % row.trainer.devices:
        raise Fault(f"{key}.batch", f"{row.batch} is not a multiple of trainer.devices {row.trainer.devices}")
    limits.check_row(key, row, params.datasets[row.dataset])
    facts.known("it makes a network", row.said(), lambda: _check_network(key, row))


def _check_network(key: str, row: Row) -> None:
    import torch

    from models import SentenceError

    try:
        with vocabulary.of_words():
            backbone, sentence = row.network()
            with torch.device("meta"):  # nothing is allocated
                backbone.check(sentence)
            vocabulary.try_own(backbone, sentence)
    except SentenceError as error:
        raise Fault(f"{key}.{error.part}", vocabulary.complaint(error)) from None
    except UserError as error:
        raise Fault(key, str(error)) from None


def _check_tuned(key: str, row: TunedRow, params: Params) -> None:
    if row.select_on == "test":
        raise Fault(f"{key}.select_on", "test; a row that selects on test images cannot be tuned")
    if not params.datasets[row.dataset].validation:
        raise Fault(f"{key}.dataset", f"datasets.{row.dataset}.validation is 0; tuning needs validation images")
    if seen := sorted(set(row.seeds) & set(row.tuning.seeds)):
        raise Fault(f"{key}.seeds", f"{seen[0]} is also a seed of the tuning; the row trains with seeds it never saw")
    for where, corner in space.corners(key, row):
        _check_row(where, corner, params)


def _check_claim(key: str, claim: Claim, params: Params) -> None:
    for studies, text in claim.tests.items():
        path = f"{key}.{studies}"
        for study in studies.split() or [studies]:
            if study not in params.studies:
                raise Fault(path, f"no study '{study}'{nearest(study, params.studies)}")
            if claim.by_study()[study] != text:
                raise Fault(path, f"{study} has another test as well")
            _check_contrast(path, text, study, params, contrasts.parse)


def _check_contrast(
    path: str, text: str, study: str, params: Params, parse: Callable[[str], contrasts.Contrast]
) -> None:
    """Whether a contrast can be evaluated in a study."""
    try:
        contrast = parse(text)
    except contrasts.ContrastError as error:
        raise Fault(path, str(error)) from None
    found = quantity(contrast.metric)
    if found is None:
        raise Fault(path, f"no metric '{contrast.metric}'{nearest(contrast.metric, QUANTITIES)}")
    for constant in (part.constant for part in contrast.parts):
        if found.scale == 100 and abs(constant) > 1:
            raise Fault(path, f"found {abs(constant):g} beside an {contrast.metric}, which is a fraction, such as 0.02")
    targets = params.studies[study].targets
    if (target := target_of(contrast.metric)) and target not in targets:
        known = ", ".join(map(str, targets)) or "none"
        raise Fault(path, f"{target} is no target of the study; studies.{study}.targets has {known}")
    names = params.names(study)
    for name in contrast.rows:
        if name not in names:
            raise Fault(path, f"no row '{name}' in study {study}{nearest(name, names)}")
