"""Which hyperparameters mattered on tuning seeds: PED-ANOVA, with the number of trials that it is about."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openrlb.errors import UsageError
from openrlb_hpo.parameters import flattened
from openrlb_hpo.racing import rungs_done, value_at, worst_scores
from openrlb_hpo.records import StudyRecord, Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from openrlb_hpo.space import Space

EVALUATOR = "PED-ANOVA"
FEWEST_TRIALS = 20
"""Below so many trials importances are mostly chance."""
BEST_TRIALS, BEST_SHARE = 5, 0.1
"""Optuna asks for 5 trials at least among the best, and takes the best tenth by default."""


@dataclass(frozen=True, slots=True)
class Importances:
    """How much each hyperparameter has to do with being among the best trials.

    Attributes:
        values: Shares by hyperparameter, the largest first; they add up to 1. None where there is no saying.
        trials: Trials that they are about.
        pruned: How many of those the race ended.
        best: How many of them count as the best.
        reason: Why there are none, else an empty text.
        notes: What a reader must know.
        evaluator: The method: Watanabe et al. 2023 (arXiv 2304.10255), as Optuna has it.
    """

    values: Mapping[str, float] | None
    trials: int
    pruned: int
    best: int
    reason: str
    notes: tuple[str, ...] = ()
    evaluator: str = EVALUATOR


def importances(record: StudyRecord) -> Importances:
    """The importances of a study's hyperparameters, from tuning runs alone.

    A trial that the race ended counts with the mean over its seeds so far, and never above one that survived: it left the
    race because it was not among the best.

    Args:
        record: The study.
    """
    from openrlb_hpo.distributions import distributions
    from openrlb_hpo.space import Space

    space = Space.from_json(record.settings.space)
    values = trial_values(record)
    inside = [(trial, value) for trial, value in values if _is_inside(space, trial)]
    pruned = sum(trial.state == "pruned" for trial, _ in inside)
    places, scores = [_active(space, trial) for trial, _ in inside], [value for _, value in inside]
    return ped_anova(places, scores, distributions(space), pruned, len(values) - len(inside))


def trial_values(record: StudyRecord) -> list[tuple[Trial, float]]:
    """Trials that ended with a finite score, and what they count with: of pruned ones never more than a survivor has.

    Args:
        record: The study.
    """
    worst, settings = worst_scores(record), record.settings
    found = []
    for trial in record.trials:
        if trial.state in ("complete", "pruned"):
            seeds = rungs_done(record.rows(trial.configuration, "tuning"), settings)
            value = value_at(record, trial, seeds, worst) if seeds else -math.inf
            if math.isfinite(value):
                found.append((trial, value))
    least = min((value for trial, value in found if trial.state == "complete"), default=math.inf)
    return [(trial, value if trial.state == "complete" else min(value, least)) for trial, value in found]


def ped_anova(
    params: Sequence[Mapping[str, Any]],
    values: Sequence[float],
    ranges: Mapping[str, BaseDistribution],
    pruned: int = 0,
    outside: int = 0,
) -> Importances:
    """PED-ANOVA over trials: how unlike the best ones are to all of them, hyperparameter by hyperparameter.

    Args:
        params: Each trial's place.
        values: Its score, higher is better, as many as places.
        ranges: Each hyperparameter's distribution; a place may lack those whose condition does not hold.
        pruned: How many trials the race ended, for the words.
        outside: Trials that are left out as they lie outside the space, for the words.
    """
    import optuna

    trials = len(values)
    best_share = max(BEST_SHARE, BEST_TRIALS / max(trials, BEST_TRIALS + 1))
    cutoff = sorted(values, reverse=True)[: math.ceil(best_share * trials)][-1] if trials else 0.0
    best = sum(value >= cutoff for value in values)
    if trials < FEWEST_TRIALS:
        reason = f"{trials} trials are too few to tell importance from chance: {FEWEST_TRIALS} are needed"
        return Importances(None, trials, pruned, best, reason)
    if 2 * best > trials:
        reason = f"{best} of {trials} trials are equally good, so that there are no best ones to look at"
        return Importances(None, trials, pruned, best, reason)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for place, value in zip(params, values, strict=True):
        held = {name: ranges[name] for name in place}
        study.add_trial(optuna.trial.create_trial(params=dict(place), distributions=held, value=value))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=best_share)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=False)
    whole = sum(found.values())
    notes = [str(one.message) for one in told if not issubclass(one.category, optuna.exceptions.ExperimentalWarning)]
    notes += [f"{outside} trials lie outside the space and are left out"] if outside else []
    if whole <= 0.0:
        return Importances(None, trials, pruned, best, "no hyperparameter tells the best trials from the others", tuple(notes))
    shares = {name: value / whole for name, value in sorted(found.items(), key=lambda entry: (-entry[1], entry[0]))}
    return Importances(shares, trials, pruned, best, "", tuple(notes))


def _is_inside(space: Space, trial: Trial) -> bool:
    """Whether a trial has a place in the space; a configuration that was declared first may have none."""
    try:
        space.check_inside(trial.params)
    except UsageError:
        return False
    return True


def _active(space: Space, trial: Trial) -> dict[str, Any]:
    """The params that a trial's library was asked for: one whose condition does not hold was drawn for nothing."""
    asked = flattened(trial.hyperparameters)
    held = [one for one in space.searched if any(name == one.name or name.startswith(f"{one.name}.") for name in asked)]
    return {one.sampled_name: trial.params[one.sampled_name] for one in held}
