"""CMA-ES as a function of a study's history: its state is replayed, never kept, so nothing is ever unpickled.

Optuna's sampler keeps its state as a pickle in the study's database; a database that workers share is no place for code. Here
a trial keeps what it was drawn from (``attributes``: its generation, its raw point, and which trials made the generation),
and the distribution is built again from the scores as they are known now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from openrlb_hpo.parameters import Parameter, is_number

if TYPE_CHECKING:
    from cmaes import CMAwM  # type: ignore[import-untyped]

GENERATION, POINT, TOLD = "cmaes:generation", "cmaes:point", "cmaes:told"
SIGMA = 1 / 6  # of the range, as Optuna's sampler begins


def ask(
    ordered: Sequence[Parameter], seed: int, history: Sequence[tuple[Mapping[str, Any], float | None]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The next point of CMA-ES with margin (Hamano et al. 2022, arXiv 2205.13482).

    Args:
        ordered: The parameters to move along, at least two.
        seed: The seed of this one proposal.
        history: Of every trial by number, what :func:`ask` kept with it and its score (higher is better), None where it has
            none.

    Returns:
        The params, and the attributes to keep with the trial.
    """
    optimizer = _optimizer(ordered)
    for attributes, _ in history:
        if attributes.get(GENERATION) == optimizer.generation + 1 and TOLD in attributes:
            _tell(optimizer, attributes[TOLD], history)
    own = (
        number
        for number, (kept, score) in enumerate(history)
        if kept.get(GENERATION) == optimizer.generation and score is not None
    )
    kept: dict[str, Any] = {}
    told = list(own)[: optimizer.population_size]
    if _tell(optimizer, told, history):
        kept[TOLD] = told
    optimizer.reseed_rng(seed)
    encoded, raw = optimizer.ask()
    kept |= {GENERATION: optimizer.generation, POINT: [float(value) for value in raw]}
    params = {one.sampled_name: one.at(float(min(max(share, 0.0), 1.0))) for one, share in zip(ordered, encoded, strict=True)}
    return params, kept


def _optimizer(ordered: Sequence[Parameter]) -> CMAwM:
    """The search's beginning: the middle of the unit cube."""
    import numpy as np
    from cmaes import CMAwM

    size = len(ordered)
    steps = np.array([1 / (one.size - 1) if one.size else 0.0 for one in ordered])
    bounds = np.tile([0.0, 1.0], (size, 1))
    return CMAwM(np.full(size, 0.5), SIGMA, bounds, steps, n_max_resampling=10 * size, seed=0)


def _tell(optimizer: CMAwM, told: object, history: Sequence[tuple[Mapping[str, Any], float | None]]) -> bool:
    """One generation, where it is whole; a trial whose score was taken back counts as the worst of it."""
    import numpy as np

    numbers = told if isinstance(told, list) and all(isinstance(one, int) and 0 <= one < len(history) for one in told) else []
    points = [history[number][0].get(POINT) for number in numbers]
    scores = [score for number in numbers if (score := history[number][1]) is not None]
    if len(points) != optimizer.population_size or not scores or not all(_is_point(point, optimizer.dim) for point in points):
        return False
    known = [min(scores) if history[number][1] is None else history[number][1] for number in numbers]
    optimizer.tell([(np.array(point), -float(score)) for point, score in zip(points, known, strict=True) if score is not None])
    return True


def _is_point(value: object, size: int) -> bool:
    """True for a raw point as :func:`ask` keeps it."""
    return isinstance(value, list) and len(value) == size and all(map(is_number, value))
