"""What trial comes next depends on the trials before it and on nothing else."""

import random
from typing import Any

import pytest
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from test_space import tunable

from pipeline.params.rows import TunedRow
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
@pytest.mark.parametrize("pruner", ["none", "median", "hyperband", "wilcoxon"])
def test_any_number_of_workers_makes_the_same_trials(sampler: str, pruner: str) -> None:
    """Broken: best.json would depend on the machine, or on what a kill interrupted."""
    row = make(sampler=sampler, pruner=pruner, seeds=[7, 8, 9])
    alone = shown(tune(row, 1))
    assert shown(tune(row, 2, random.Random(1))) == shown(tune(row, 4, random.Random(2))) == alone
    states = [state for state, _, _ in alone]
    assert (TrialState.PRUNED in states) == (pruner != "none")


RACE = {"pruner": "wilcoxon", "epochs": 4, "seeds": [7, 8, 9], "objective": "val_accuracy"}


def race(values: dict[int, float], direction: str = "maximize") -> bool:
    """Whether a trial ends that has reached these values by step, behind a complete one that reached .5 and then .8."""
    row = make(**RACE | ({} if direction == "maximize" else {"objective": "val_loss"}))
    steps = dict.fromkeys(range(1, 5), 0.5) | {5: 0.8, 6: 0.7, 7: 0.9}
    known = search.distributions(row, row.tuning)
    proposal = search.propose(row.tuning, known, [])
    best = create_trial(value=0.8, params=proposal.params, distributions=known, intermediate_values=steps)
    row = row.model_copy(update={"tuning": row.tuning.model_copy(update={"parallel": 1})})
    trial = search.propose(row.tuning, known, [best])
    for step, value in values.items():
        trial.report(value, step)
    return trial.should_prune()


def test_a_race_ends_what_is_behind_and_nothing_else() -> None:
    """Broken: bad trials would cost whole seeds, late ones lose by their first epochs, or good ones be ended."""
    assert not race({1: 0.1})  # it may yet come
    assert race({1: 0.1, 2: 0.2, 3: 0.3})
    assert not race({1: 0.1, 2: 0.2, 3: 0.6})
    began = {1: 0.6, 2: 0.6, 3: 0.6, 4: 0.6}
    assert not race(began | {5: 0.5})  # one seed says nothing
    assert race(began | {5: 0.7, 6: 0.6})
    assert not race(began | {5: 0.7, 6: 0.75})
    assert not race(began | {5: 0.85, 6: 0.75})
    assert race(dict.fromkeys(began, 0.4) | {5: 0.9, 6: 0.8}, "minimize")


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
