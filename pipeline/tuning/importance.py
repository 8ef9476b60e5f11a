"""How much each tuned parameter matters, by the trials of a tuning."""

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from pipeline.tuning import search
from pipeline.tuning.tuned import Tuned

FEWEST = 8
"""Complete trials with different scores; from fewer, a forest of regression trees learns nothing."""


def importances(tuning: Tuned) -> dict[str, float]:
    """The share of the scores' variance that each parameter explains, the largest first; empty for too few trials.

    Functional analysis of variance over a random forest (Hutter et al. 2014, "An efficient approach for assessing
    hyperparameter importance"), of the trials that were complete; the shares add up to 1.
    """
    planned = tuning.planned
    known = search.distributions(planned, planned.tuning)
    study = optuna.create_study(direction=search.direction(planned.tuning))
    for trial in tuning.trials:
        if trial.state == "complete":
            study.add_trial(create_trial(params=dict(trial.values), distributions=known, value=trial.score))
    scores = {trial.value for trial in study.get_trials()}
    if len(scores) < FEWEST:
        return {}
    shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))
