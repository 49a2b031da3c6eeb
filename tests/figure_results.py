"""Results made by hand, for the tests of figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from openrlb_analysis.result import CurveBand, CurvesResult, EnvResult, Excluded, GroupResult, IntervalMethod, PlotResult

HOW = IntervalMethod("percentile", 0.95, 50_000, 7, "too narrow below 10 seeds")


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
