"""What trial comes next depends on the trials before it and on nothing else."""

import random
from typing import Any

import pytest
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from test_space import tunable

from pipeline.params.config import TunedRow
from pipeline.tuning import search

SPACE = {
    "optimizer.lr": {"low": 1e-4, "high": 0.1, "log": True},
    "dropout": {"low": 0.0, "high": 0.5, "step": 0.05},
    "backbone.widths.1": {"low": 2, "high": 64, "log": True},
    "batch": {"choices": [8, 16, 32]},
}


def make(**changes: Any) -> TunedRow:
    return tunable(tuning={"trials": 12, "epochs": 9, "seeds": [7], "space": SPACE} | changes)


def finish(proposal: Trial) -> FrozenTrial:
    """Trains a trial in place of a network: its loss falls towards what its values are worth."""
    values, state = proposal.params, TrialState.COMPLETE
    worth = abs(values["optimizer.lr"] - 0.01) * 9 + values["dropout"] + 1 / values["batch"]
    epoch = 0
    while state == TrialState.COMPLETE and epoch < 9:
        epoch += 1
        proposal.report(worth + 1 / epoch, epoch)
        if epoch < 9 and proposal.should_prune():
            state = TrialState.PRUNED
    (done,) = [trial for trial in proposal.study.get_trials() if trial.number == proposal.number]
    return create_trial(
        state=state,
        value=worth + 1 / epoch,
        params=values,
        distributions=done.distributions,
        intermediate_values=done.intermediate_values,
        system_attrs=done.system_attrs,
    )


def begun(proposal: Trial) -> FrozenTrial:
    known = search.distributions(make(), make().tuning)
    return create_trial(state=TrialState.RUNNING, params=proposal.params, distributions=known)


def tune(row: TunedRow, workers: int, draws: random.Random | None = None) -> list[FrozenTrial]:
    """A tuning with so many workers, whose trials end in any order."""
    known = search.distributions(row, row.tuning)
    places: list[FrozenTrial] = []
    running: dict[int, Trial] = {}
    while running or len(places) < row.tuning.trials:
        needed = places[: max(0, len(places) - row.tuning.parallel + 1)]
        if (
            len(places) < row.tuning.trials
            and len(running) < workers
            and all(one.state.is_finished() for one in needed)
        ):
            proposal = search.propose(row.tuning, known, places)
            running[len(places)] = proposal
            places.append(begun(proposal))
        else:
            place = (draws or random.Random(0)).choice(list(running))
            places[place] = finish(running.pop(place))
    return places


def shown(trials: list[FrozenTrial]) -> list[Any]:
    return [(trial.state, trial.params, trial.intermediate_values) for trial in trials]


@pytest.mark.parametrize("sampler", ["tpe", "qmc", "random"])
@pytest.mark.parametrize("pruner", ["none", "median", "hyperband"])
def test_any_number_of_workers_makes_the_same_trials(sampler: str, pruner: str) -> None:
    """Broken: best.json would depend on the machine, or on what a kill interrupted."""
    row = make(sampler=sampler, pruner=pruner)
    alone = shown(tune(row, 1))
    assert shown(tune(row, 2, random.Random(1))) == shown(tune(row, 4, random.Random(2))) == alone
    states = [state for state, _, _ in alone]
    assert (TrialState.PRUNED in states) == (pruner != "none")


def test_the_gaussian_process_has_no_memory_of_its_own() -> None:
    """Broken: sampler gp would continue from kernels that a killed process had fitted."""
    row = make(sampler="gp", trials=4, parallel=2)
    assert shown(tune(row, 2, random.Random(1))) == shown(tune(row, 1))


@pytest.mark.parametrize("sampler", ["tpe", "qmc", "random", "gp"])
def test_no_point_is_proposed_twice_at_the_start(sampler: str) -> None:
    """Broken: a sampler that is made anew for each trial would draw its first point for ever."""
    trials = tune(make(sampler=sampler, trials=4), 1)
    assert len({trial.params["optimizer.lr"] for trial in trials}) == 4


def test_seeds_of_a_tuning_differ() -> None:
    """Broken: every tuning would try the same values."""
    first, other = (tune(make(seed=seed, trials=3), 1) for seed in (0, 1))
    assert first[0].params != other[0].params


def test_values_have_the_types_and_bounds_of_their_keys() -> None:
    """Broken: a trial would be no row."""
    for trial in tune(make(sampler="random"), 1):
        values = trial.params
        assert 1e-4 <= values["optimizer.lr"] <= 0.1 and values["batch"] in (8, 16, 32)
        assert isinstance(values["backbone.widths.1"], int) and 2 <= values["backbone.widths.1"] <= 64
        assert abs(values["dropout"] / 0.05 - round(values["dropout"] / 0.05)) < 1e-9


def test_learning_samplers_learn() -> None:
    """Broken: what a sampler proposes would not depend on results, and tuning would be blind."""
    row = make(trials=24, sampler="tpe")
    scores = [trial.value or 0.0 for trial in tune(row, 1)]
    assert sorted(scores[:8])[4] > sorted(scores[-8:])[4]
