"""Reference scores made of stored runs: what ``--normalize ref:GROUP``, ``minmax:GROUP`` and ``cdf:GROUP`` freeze."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from openrlb.errors import SelectionError
from openrlb.store.normalizations import Method, Scale
from openrlb_analysis.normalize import tables

if TYPE_CHECKING:
    from openrlb_analysis.analyse import Analysis

RunId = tuple[str, str]
RANDOM = "the random agent's"
"""The word for a table's 0 that may stand for a random agent's score."""


def reference_scales(
    method: Method, analysis: Analysis, group: str, runs: Collection[RunId], zero: Collection[RunId] | None = None
) -> dict[str, Scale]:
    """The reference scores of every environment of an analysis.

    Args:
        method: ``ref``: the mean score of a group is 1 and a random agent's 0; ``minmax``: the group's lowest score is 0
            and its highest 1; ``cdf``: the group's whole distribution.
        analysis: Raw scores, normalised by ``none``.
        group: What the group is called, for errors.
        runs: (source, run) of the group.
        zero: (source, run) of a random agent's runs; None to take its scores from a published table.

    Raises:
        SelectionError: An environment without such runs, or whose two ends are not apart; scores normalised elsewhere.
    """
    if analysis.normalization.pools:
        what = f"{analysis.normalization.text} cannot be normalised again"
        raise SelectionError(what, "the runs' scores are normalised already", "leave --normalize out")
    mine, random = _scores(analysis, runs), _scores(analysis, zero or ())
    cuts = analysis.prepared.cuts
    if lacking := [env for env in cuts if env not in mine]:
        why = f"{group} has no run with a score in {', '.join(lacking)}"
        fix = f"select environments that {group} has (--env), or normalise by another group"
        raise SelectionError(f"{method}:{group} cannot normalise {', '.join(lacking)}", why, fix)
    if method == "ref" and zero is not None and (lacking := [env for env in cuts if env not in random]):
        why = f"the random agent has no run with a score in {', '.join(lacking)}"
        raise SelectionError(f"ref:{group} has no 0 there", why, "add a random agent's runs there, or select other environments")
    scales = {}
    for env, cut in cuts.items():
        scores = np.sort([score for _, score in mine[env]])
        high_runs, low_runs = tuple(run for run, _ in mine[env]), tuple(run for run, _ in random.get(env, ()))
        low, high = float(scores[0]), float(scores[-1])
        if method == "ref":
            high = float(scores.mean())
            low = float(np.mean([score for _, score in random[env]])) if zero is not None else _published(env, group)
        if method != "cdf" and not high > low:
            raise _not_apart(method, group, env, low, high)
        kept = tuple(scores.tolist()) if method == "cdf" else ()
        unit = "" if cut.step is None else cut.unit
        scales[env] = Scale(low, high, kept, low_runs, high_runs, cut.step, unit)
    return scales


def _scores(analysis: Analysis, runs: Collection[RunId]) -> Mapping[str, Sequence[tuple[str, float]]]:
    """``source run`` and score of some runs, by environment, sorted by run."""
    found: dict[str, list[tuple[str, float]]] = {}
    for (_, env), one in analysis.scored.items():
        for curve, score in zip(one.curves, one.scores.tolist(), strict=True):
            if (curve.run.source, curve.run.run) in runs:
                found.setdefault(env, []).append((f"{curve.run.source} {curve.run.run}", score))
    return {env: sorted(scores) for env, scores in found.items()}


def _published(env: str, group: str) -> float:
    """A random agent's score from a published table.

    Raises:
        SelectionError: No table says it.
    """
    for table in tables().values():
        if table.zero == RANDOM and (pair := table.references(env)):
            return pair[0]
    why = f"ref:{group} puts the random agent at 0, and neither a table nor a group called random says what it scores there"
    fix = "add runs of a random agent (algorithm random), name its group with --random GROUP, or use minmax:GROUP"
    raise SelectionError(f"no random agent's score is known for {env}", why, fix)


def _not_apart(method: str, group: str, env: str, low: float, high: float) -> SelectionError:
    """The error for two ends that cannot be told apart."""
    if method == "minmax":
        why = f"all its runs there score {low:g}"
        fix = f"use ref:{group}, or a group whose runs differ"
    else:
        why = f"its mean there is {high:g}, not above the random agent's {low:g}"
        fix = "name a group that learned something there, or select other environments"
    return SelectionError(f"{method}:{group} cannot normalise {env}", why, fix)
