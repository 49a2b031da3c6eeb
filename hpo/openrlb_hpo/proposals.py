"""The next trial as a pure function: space, method, study seed and history in, params out.

A sampler is built anew for every trial and seeded by the study's seed and the trial's number. So the same history always gives
the same proposal, on any worker, before and after any crash. Scores are maximized.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from openrlb_hpo.distributions import distributions
from openrlb_hpo.evolution import ask as ask_evolution
from openrlb_hpo.methods import check_method
from openrlb_hpo.parameters import is_number
from openrlb_hpo.records import TrialState
from openrlb_hpo.space import Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial


@dataclass(frozen=True, slots=True)
class Past:
    """One earlier trial, as a sampler sees it.

    Attributes:
        number: Its number; a history has every number from 0, in order.
        params: Its params; a trial that lies outside of the space is not shown to the sampler.
        value: Its score, higher is better, or None where it has none.
        state: How far it is.
        intermediate: The mean score at each rung of the race over seeds, by rung.
        attributes: What its proposal kept.
    """

    number: int
    params: Mapping[str, Any]
    value: float | None
    state: TrialState
    intermediate: Mapping[int, float] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def estimate(self) -> float | None:
        """Its score, or for a pruned trial the mean over the seeds that it had: fewer seeds, but the same quantity.

        >>> Past(0, {}, None, "pruned", {1: 3.0, 2: 5.0}).estimate
        5.0
        """
        if self.state not in ("complete", "pruned"):
            return None
        known = self.value if self.value is not None or not self.intermediate else self.intermediate[max(self.intermediate)]
        return known if is_number(known) else None


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the next trial is.

    Attributes:
        params: One point of the space.
        attributes: What is kept with the trial, JSON values.
    """

    params: dict[str, Any]
    attributes: dict[str, Any] = field(default_factory=dict)


def propose(space: Space, method: str, study_seed: int, history: Sequence[Past]) -> Proposal:
    """The next trial of a study; its number is ``len(history)``.

    Args:
        space: Where to search.
        method: One of :data:`openrlb_hpo.methods.METHODS`.
        study_seed: The seed of the study's proposals.
        history: Every earlier trial, by number.

    Raises:
        UsageError: The method is unknown or cannot work in this space.
        ValueError: The history has a hole.

    >>> from openrlb_hpo.parameters import Parameter
    >>> space = Space("", "ppo", "", (Parameter("lr", "log", (1e-4, 1e-2)),))
    >>> first = propose(space, "tpe", 1, [])
    >>> first == propose(space, "tpe", 1, []), first == propose(space, "tpe", 2, [])
    (True, False)
    """
    if [one.number for one in history] != list(range(len(history))):
        raise ValueError("a history holds every trial by number")
    check_method(method, space)
    # other methods draw at random at first: a random search beside them must not draw the very same
    seed = _seed(f"random:{study_seed}" if method == "random" else study_seed, len(history))
    if method == "qmc":
        return Proposal(_sobol_point(space, study_seed, len(history)))
    if method == "cmaes":
        return _evolved(space, seed, history)
    return Proposal(_asked(space, method, seed, history))


def _seed(study_seed: int | str, number: int) -> int:
    """The seed of one proposal: neighbouring studies and trials have nothing in common."""
    return int.from_bytes(hashlib.sha256(f"{study_seed}:{number}".encode()).digest()[:4], "big")


def _sobol_point(space: Space, study_seed: int, index: int) -> dict[str, Any]:
    """The n-th point of one scrambled Sobol sequence: numbers are never skipped or used twice, whatever became of a trial."""
    import numpy as np
    from scipy.stats import qmc

    engine = qmc.Sobol(len(space.searched), scramble=True, rng=np.random.default_rng(_seed(study_seed, -1)))
    if index:
        engine.fast_forward(index)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather give a power of two points at once
        shares = engine.random(1)[0]
    return {one.sampled_name: one.at(float(share)) for one, share in zip(space.searched, shares, strict=True)}


def _evolved(space: Space, seed: int, history: Sequence[Past]) -> Proposal:
    """CMA-ES along the ordered parameters; the others at random."""
    import numpy as np

    ordered = [one for one in space.searched if one.is_ordered]
    generator = np.random.default_rng(seed)
    params = {one.sampled_name: one.at(float(generator.random())) for one in space.searched if not one.is_ordered}
    moved, attributes = ask_evolution(ordered, seed, [(one.attributes, one.estimate) for one in history])
    return Proposal({name: (params | moved)[name] for name in (one.sampled_name for one in space.searched)}, attributes)


def _asked(space: Space, method: str, seed: int, history: Sequence[Past]) -> dict[str, Any]:
    """What one of Optuna's samplers proposes after the history."""
    import optuna

    ranges = distributions(space)
    with _quiet():
        study = optuna.create_study(
            sampler=_sampler(method, seed), direction="maximize", storage=optuna.storages.InMemoryStorage()
        )
        if method != "random":  # it looks at nothing
            study.add_trials([_trial(one, space, ranges, method) for one in history])
        return dict(study.ask(ranges).params)


def _sampler(method: str, seed: int) -> BaseSampler:
    """The sampler of a method, with Optuna's own settings."""
    from optuna import samplers

    if method == "random":
        return samplers.RandomSampler(seed=seed)
    return samplers.GPSampler(seed=seed, warn_independent_sampling=False) if method == "gp" else samplers.TPESampler(seed=seed)


def _trial(past: Past, space: Space, ranges: dict[str, BaseDistribution], method: str) -> FrozenTrial:
    """One earlier trial as Optuna holds it; one without a score or outside of the space only keeps its number."""
    from optuna.trial import TrialState as State
    from optuna.trial import create_trial

    inside = past.params.keys() == ranges.keys() and all(one.holds(past.params[one.sampled_name]) for one in space.searched)
    rungs = {rung: value for rung, value in sorted(past.intermediate.items()) if is_number(value)}
    point: dict[str, Any] = {"params": dict(past.params), "distributions": ranges}
    if inside and past.state == "running":
        return create_trial(state=State.RUNNING, intermediate_values=rungs, **point)
    if not inside or past.estimate is None:
        return create_trial(state=State.FAIL)
    if past.state == "pruned" and method == "tpe":  # the estimator ranks pruned trials by rung, then by score
        return create_trial(state=State.PRUNED, intermediate_values=rungs, **point)
    return create_trial(state=State.COMPLETE, value=past.estimate, intermediate_values=rungs, **point)


@contextmanager
def _quiet() -> Iterator[None]:
    """No lines on standard error about studies in memory, and no warnings about features that we chose."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
