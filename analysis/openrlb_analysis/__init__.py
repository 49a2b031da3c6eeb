"""Statistics that people can trust: scores, intervals and figures of reinforcement-learning runs.

Usable without the store: one array of scores for each environment (or a long frame) in, frozen dataclasses out.

>>> import numpy as np, openrlb_analysis as stats
>>> rng = np.random.default_rng(0)
>>> table = stats.score_table({name: {env: rng.normal(size=5) for env in ("Hopper", "Ant")} for name in ("A", "B")})
>>> found = stats.estimate(table.tasks("A"), ["iqm", "mean"])
>>> found["iqm"].low < found["iqm"].value < found["iqm"].high
True
>>> better = stats.probability_of_improvement(table.tasks("A"), table.tasks("B"))
>>> 0.0 <= better.low <= better.value <= better.high <= 1.0
True

Names are resolved when they are first used, so that ``import openrlb_analysis`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openrlb_analysis.aggregates import iqm, mean, median, optimality_gap
    from openrlb_analysis.comparison import PairResult, compare_groups
    from openrlb_analysis.efficiency import EfficiencyCurve, EfficiencyTables, efficiency_curve, efficiency_tables
    from openrlb_analysis.engine import rliable_curve, rliable_estimate, rliable_improvement, rliable_profile
    from openrlb_analysis.estimates import Estimate, estimate
    from openrlb_analysis.hypothesis_tests import hedges_g, permutation
    from openrlb_analysis.improvement import Improvement, probability_of_improvement
    from openrlb_analysis.inputs import CurveTable, ScoreTable, read_curves, read_scores, score_table
    from openrlb_analysis.intervals import bootstrap_interval, difference_interval, interval_method
    from openrlb_analysis.power import parts_of, pilot_spread, seeds_needed
    from openrlb_analysis.profiles import Profile, mean_profile, performance_profile, tau_grid
    from openrlb_analysis.ranks import RankFrequencies, rank_frequencies
    from openrlb_analysis.result import IntervalMethod
    from openrlb_analysis.risk import ToleranceBand, cvar, iqr, tolerance_band
    from openrlb_analysis.thresholds import StepsToThreshold, steps_to_threshold

_HOMES = {
    "CurveTable": "inputs",
    "EfficiencyCurve": "efficiency",
    "EfficiencyTables": "efficiency",
    "Estimate": "estimates",
    "Improvement": "improvement",
    "IntervalMethod": "result",
    "PairResult": "comparison",
    "Profile": "profiles",
    "RankFrequencies": "ranks",
    "ScoreTable": "inputs",
    "StepsToThreshold": "thresholds",
    "ToleranceBand": "risk",
    "bootstrap_interval": "intervals",
    "compare_groups": "comparison",
    "cvar": "risk",
    "difference_interval": "intervals",
    "efficiency_curve": "efficiency",
    "efficiency_tables": "efficiency",
    "estimate": "estimates",
    "hedges_g": "hypothesis_tests",
    "interval_method": "intervals",
    "iqm": "aggregates",
    "iqr": "risk",
    "mean": "aggregates",
    "mean_profile": "profiles",
    "median": "aggregates",
    "optimality_gap": "aggregates",
    "parts_of": "power",
    "performance_profile": "profiles",
    "permutation": "hypothesis_tests",
    "pilot_spread": "power",
    "probability_of_improvement": "improvement",
    "rank_frequencies": "ranks",
    "read_curves": "inputs",
    "read_scores": "inputs",
    "rliable_curve": "engine",
    "rliable_estimate": "engine",
    "rliable_improvement": "engine",
    "rliable_profile": "engine",
    "score_table": "inputs",
    "seeds_needed": "power",
    "steps_to_threshold": "thresholds",
    "tau_grid": "profiles",
    "tolerance_band": "risk",
}

__all__ = [
    "CurveTable",
    "EfficiencyCurve",
    "EfficiencyTables",
    "Estimate",
    "Improvement",
    "IntervalMethod",
    "PairResult",
    "Profile",
    "RankFrequencies",
    "ScoreTable",
    "StepsToThreshold",
    "ToleranceBand",
    "bootstrap_interval",
    "compare_groups",
    "cvar",
    "difference_interval",
    "efficiency_curve",
    "efficiency_tables",
    "estimate",
    "hedges_g",
    "interval_method",
    "iqm",
    "iqr",
    "mean",
    "mean_profile",
    "median",
    "optimality_gap",
    "parts_of",
    "performance_profile",
    "permutation",
    "pilot_spread",
    "probability_of_improvement",
    "rank_frequencies",
    "read_curves",
    "read_scores",
    "rliable_curve",
    "rliable_estimate",
    "rliable_improvement",
    "rliable_profile",
    "score_table",
    "seeds_needed",
    "steps_to_threshold",
    "tau_grid",
    "tolerance_band",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """Resolves a public name when it is first used."""
    if name in _HOMES:
        return getattr(import_module(f"openrlb_analysis.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'openrlb_analysis' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
