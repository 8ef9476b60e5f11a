"""What trial comes next and whether it goes on: Optuna's samplers and pruners as functions of the trials before.

Place k of a tuning is proposed from the results of places 0 to k − `parallel`, from the values of those in
between, which may still be running, and from draws that follow from the tuning's seed and k. It is pruned
by comparison with places 0 to k − `parallel`. So a tuning has the same trials with any number of workers
up to `parallel`, on any number of machines, and after any kill; Optuna's own order of events decides
nothing, because every place gets a study in memory of its own.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from pipeline.params import space
from pipeline.params.rows import Row
from pipeline.params.tuning import Parameter, Tuning
from pipeline.training import streams

optuna.logging.set_verbosity(optuna.logging.ERROR)  # its notes on every trial are not for users

WORSE = 0.3
"""A trial ends when it would be worse than the best one so far, seed by seed, with less than this probability by chance
(one-sided Wilcoxon). To lose one of two equals costs nothing, and a seed as much as all that was tried of a bad trial;
so this is more than the customary 0.1, which no three seeds reach."""

Distributions = Mapping[str, BaseDistribution]
Direction = Literal["minimize", "maximize"]


def direction(tuning: Tuning) -> Direction:
    """Optuna's word for what is better."""
    return "minimize" if tuning.objective == "val_loss" else "maximize"


def chance(tuning: Tuning, classes: int) -> float:
    """The score of guessing among so many classes, which a run that has diverged is worth."""
    return math.log(classes) if tuning.objective == "val_loss" else 1 / classes


def distributions(row: Row, tuning: Tuning) -> dict[str, BaseDistribution]:
    """The parameters that a row has, as Optuna describes them."""
    present, _ = space.split(row, tuning.space)
    return {path: _distribution(row, path, parameter) for path, parameter in present.items()}


def _distribution(row: Row, path: str, parameter: Parameter) -> BaseDistribution:
    if parameter.choices is not None:
        return CategoricalDistribution(parameter.choices)
    low, high, step = parameter.low, parameter.high, parameter.step
    assert low is not None and high is not None
    # The row's own type decides, since 1 is a number of either kind.
    if isinstance(space.value_at(space.apply(row, {path: low}), path), int):
        return IntDistribution(int(low), int(high), parameter.log, int(step or 1))
    return FloatDistribution(low, high, parameter.log, step)


def propose(tuning: Tuning, known: Distributions, past: Sequence[FrozenTrial]) -> Trial:
    """The trial of the next place.

    Args:
        tuning: sampler, pruner and seed.
        known: what is tuned.
        past: the trials of all places before, in order; of the last `parallel` − 1 only the values are used.

    Returns:
        A trial with values; `report` and `should_prune` work by themselves.
    """
    place = len(past)
    finished = max(0, place - tuning.parallel + 1)
    study = optuna.create_study(
        study_name="tuning",  # hyperband derives brackets from it, so all rows of a study have the same
        direction=direction(tuning),
        sampler=_sampler(tuning, place),
        pruner=_pruner(tuning),
    )
    for trial in past[:finished]:
        study.add_trial(trial)
    for trial in past[finished:]:
        going = create_trial(state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions)
        study.add_trial(going)
    if tuning.sampler == "qmc" or (tuning.sampler != "random" and finished < _startup(tuning)):
        study.enqueue_trial(_quasi_random(tuning, known, place))
    return study.ask(dict(known))


def _sampler(tuning: Tuning, place: int) -> optuna.samplers.BaseSampler:
    """A sampler with no past of its own: what it knows is in the study."""
    seed, startup = streams.derive(tuning.seed, "trial", place) % 2**32, _startup(tuning)
    if tuning.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)
    if tuning.sampler == "gp":
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
    return optuna.samplers.RandomSampler(seed=seed)


def _startup(tuning: Tuning) -> int:
    """How many results tpe and gp wait for; until then they take points that fill the space evenly."""
    return min(10, max(1, tuning.trials // 4))


def _quasi_random(tuning: Tuning, known: Distributions, place: int) -> dict[str, Any]:
    """Point `place` of a scrambled Sobol sequence (Sobol 1967; Owen 1995).

    Optuna keeps the number of the point in the study, and takes one more whenever it is asked, also for a
    trial that is then killed; here it follows from the place.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.QMCSampler(scramble=True, seed=tuning.seed, warn_independent_sampling=False)
    study = optuna.create_study(sampler=sampler)
    # Without a finished trial the first point would be drawn at random.
    first = {path: _some_value(distribution) for path, distribution in known.items()}
    study.add_trial(create_trial(params=first, distributions=dict(known), value=0.0))
    return [study.ask(dict(known)).params for _ in range(place + 1)][-1]


def _some_value(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low


def _pruner(tuning: Tuning) -> optuna.pruners.BasePruner:
    if tuning.pruner == "median":
        # The first epochs say little of where a rate leads.
        return optuna.pruners.MedianPruner(n_warmup_steps=max(1, tuning.epochs // 4))
    if tuning.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(max_resource=tuning.epochs * len(tuning.seeds))
    if tuning.pruner == "wilcoxon":
        return Race(tuning)
    return optuna.pruners.NopPruner()


class Race(optuna.pruners.BasePruner):
    """Ends trials of several seeds: in the later half of the first seed, those that are not in the best quarter of what
    is complete; then those whose seeds are worse than the same seeds of the best one (Wilcoxon 1945).

    Optuna's WilcoxonPruner does the second alone, so that every bad trial costs several whole runs.
    """

    def __init__(self, tuning: Tuning) -> None:
        self._epochs = tuning.epochs
        # Few trials become complete, the best ones: their median would let all in that they began with.
        self._first = optuna.pruners.PercentilePruner(25.0, n_startup_trials=1, n_warmup_steps=tuning.epochs // 2)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        step = trial.last_step
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if step is None or not complete:
            return False
        if step <= self._epochs:
            return self._first.prune(study, trial)
        best, sign = study.best_trial.intermediate_values, 1 if study.direction == StudyDirection.MINIMIZE else -1
        seeds = [step for step in trial.intermediate_values if step > self._epochs and step in best]
        losses = [sign * (trial.intermediate_values[step] - best[step]) for step in seeds]
        return len(losses) > 1 and math.fsum(losses) > 0 and _worse(losses)


def _worse(losses: Sequence[float]) -> bool:
    from scipy.stats import wilcoxon

    found: Any = wilcoxon(losses, alternative="greater", zero_method="zsplit")
    return bool(found.pvalue < WORSE)
