"""A search space as Optuna's distributions: what its tables, its samplers and its dashboard know of a study's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from openrlb.errors import UsageError
from openrlb_hpo.parameters import Parameter
from openrlb_hpo.space import Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The distribution of every param, by name in alphabetical order: spaces that are equal draw equally.

    Parameters that hang on another one are drawn too, and left out only where the library is asked: every sampler can then
    work in one space, and a history has no holes.

    >>> from openrlb_hpo.parameters import Parameter
    >>> distributions(Space("", "ppo", "", (Parameter("lr", "log", (1e-4, 1e-2)),)))
    {'lr': FloatDistribution(high=0.01, log=True, low=0.0001, step=None)}
    """
    return {one.sampled_name: _distribution(one) for one in space.searched}


def internal(space: Space, params: Mapping[str, Any], fixed: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What Optuna's tables keep of a trial: the params that count, none of a trial that lies outside of the space.

    Args:
        space: The study's space.
        params: The trial's params.
        fixed: Hyperparameters that are set beside the space: conditions may hang on them.

    >>> from openrlb_hpo.parameters import Parameter
    >>> space = Space("", "ppo", "", (Parameter("lr", "log", (1e-4, 1e-2)),))
    >>> internal(space, {"lr": 1e-3}), internal(space, {})
    ({'lr': 0.001}, {})
    """
    try:
        return space.active(params, fixed)
    except UsageError:
        return {}


def _distribution(one: Parameter) -> BaseDistribution:
    """The distribution of one param."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if one.labels:
        return CategoricalDistribution(one.labels)
    low, high = one.values
    if one.scale in ("integers", "log_integers"):
        return IntDistribution(low, high, log=one.scale == "log_integers")
    return FloatDistribution(low, high, log=one.scale != "uniform")
