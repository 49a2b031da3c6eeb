"""Results made by hand, and those of made runs, for the tests of figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from openrlb.types import EPISODIC_RETURN, Curve, Metric, Run
from openrlb_analysis.analyse import analyse
from openrlb_analysis.figures.measure_figures import measure_figure
from openrlb_analysis.intervals import interval_method
from openrlb_analysis.measures import MeasureOptions, measure, measured_result
from openrlb_analysis.result import CurveBand, CurvesResult, EnvResult, Excluded, GroupResult, IntervalMethod, PlotResult

HOW = IntervalMethod("percentile", 0.95, 50_000, 7, "too narrow below 10 seeds")
METHOD = interval_method("calibrated", 0.95, 200, 0)


def env_result(env: str, scores: Sequence[float], low: float | None = None, high: float | None = None) -> EnvResult:
    middle = float(np.mean(scores))
    if low is None and high is None and len(scores) > 1:
        low, high = float(min(scores)), float(max(scores))
    spread = float(np.std(scores, ddof=1)) if len(scores) > 1 else None
    ids = tuple(f"{env}-{index}" for index in range(len(scores)))
    numbers = tuple(range(len(scores)))
    return EnvResult(env, len(scores), numbers, middle, low, high, middle, spread, middle, "runs", (5, 6), tuple(scores), ids)


def group(label: str, *envs: EnvResult, value: float | None = None) -> GroupResult:
    ends = (None, None) if value is None else (value - 0.1, value + 0.1)
    return GroupResult(label, label, "sb3", "v", {}, value, *ends, sum(e.runs for e in envs), len(envs), envs)


def plot_result(*groups: GroupResult, **changes: Any) -> PlotResult:
    envs = dict.fromkeys(entry.env for each in groups for entry in each.per_env)
    facts: dict[str, Any] = {
        "metric": "iqm", "of": "eval/mean_reward", "kind": "eval", "step_unit": "agent_step", "rule": "final:10%",
        "step": dict.fromkeys(envs, 1000), "cut_cause": dict.fromkeys(envs, "the median last step of sac"), "ddof": 1,
        "normalization": "none", "interval": HOW, "groups": groups, "excluded": (Excluded("r9", "short"),), "sources": ("td3",),
    }  # fmt: skip
    return PlotResult(**{**facts, **changes})


def band(label: str, env: str = "Hopper-v4", points: int = 20, last: float = 2000, gap: slice | None = None) -> CurveBand:
    x = np.linspace(last / points, last, points)
    value = np.sqrt(x)
    if gap:
        value[gap] = np.nan
    return CurveBand(label, env, x, value, value - 1, value + 1, np.full(points, 5))


def curves_result(*bands: CurveBand, unit: str = "agent_step") -> CurvesResult:
    return CurvesResult(unit, "iqm", "eval/mean_reward", HOW, bands)


def many(groups: int, envs: int = 1) -> tuple[PlotResult, CurvesResult]:
    labels = [f"ppo sb3 learning_rate={index}e-4" for index in range(groups)]
    names = [f"ALE/Game{index}-v5" for index in range(envs)]
    result = plot_result(*(group(label, *(env_result(env, [1.0, 2.0, 4.0]) for env in names)) for label in labels))
    return result, curves_result(*(band(label, env) for env in names for label in labels))


def runs(groups: int, envs: int, seeds: int = 3, **fields: Any) -> list[Curve]:
    """Groups of which each is a little better than the one before; names with what HTML and plotly would read as their own."""
    made = []
    for g in range(groups):
        for e in range(envs):
            for seed in range(seeds):
                facts: dict[str, Any] = {"state": "finished", "step_unit": "agent_step", "normalized": "mine", **fields}
                run = Run("folder", f"{g}-{e}-{seed}", "logs", "", f"al<i>go {g:02d}", f"Env{e:02d}-v1", seed=seed, **facts)
                steps = np.arange(1, 11, dtype=np.int64) * 100
                values = np.linspace(0.0, 0.1 * g + 0.13 * e + 0.2 * ((seed * 7 + g * 3 + e) % 5), 10)
                made.append(Curve(run, Metric("r", "eval", EPISODIC_RETURN), steps, values, steps * 36))
    return made


def drawn(metric: str, curves: Sequence[Curve], **options: Any) -> tuple[Any, PlotResult]:
    analysis = analyse(curves, rule="last")
    found = measure(metric, analysis, METHOD, MeasureOptions(**options))
    result = measured_result(metric, analysis, found, of="r")
    return measure_figure(found, result), result
