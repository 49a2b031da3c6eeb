"""What the names mean that training scripts log by habit: their kind and their canonical name."""

from __future__ import annotations

from openrlb.types import EPISODIC_RETURN, Metric, MetricKind

LENGTH = "episodic_length"
SUCCESS = "success_rate"

KNOWN: dict[str, tuple[MetricKind, str]] = {
    "episodic_return": ("episode", EPISODIC_RETURN),
    "episode_return": ("episode", EPISODIC_RETURN),
    "episode_reward": ("episode", EPISODIC_RETURN),
    "episodic_length": ("episode", LENGTH),
    "episode_length": ("episode", LENGTH),
    "eval_return": ("eval", EPISODIC_RETURN),
    "eval_reward": ("eval", EPISODIC_RETURN),
    "test_return": ("eval", EPISODIC_RETURN),
    "test_reward": ("eval", EPISODIC_RETURN),
    "eval/return": ("eval", EPISODIC_RETURN),
    "eval/episodic_return": ("eval", EPISODIC_RETURN),
    "eval/mean_reward": ("eval", EPISODIC_RETURN),
    "eval/mean_ep_length": ("eval", LENGTH),
    "eval/success_rate": ("eval", SUCCESS),
    "evaluation/return": ("eval", EPISODIC_RETURN),
    "test/reward": ("eval", EPISODIC_RETURN),
    "charts/episodic_return": ("episode", EPISODIC_RETURN),
    "charts/avg_episodic_return": ("rolling_mean", EPISODIC_RETURN),
    "charts/episodic_length": ("episode", LENGTH),
    "rollout/ep_rew_mean": ("rolling_mean", EPISODIC_RETURN),
    "rollout/ep_len_mean": ("rolling_mean", LENGTH),
    "rollout/success_rate": ("rolling_mean", SUCCESS),
    "training/return": ("episode", EPISODIC_RETURN),
}
"""The names of openrlb, CleanRL and Stable-Baselines3; anything else is ``other`` until ``run.define`` says more."""


def metric_of(name: str) -> Metric:
    """A metric by its logged name alone.

    >>> metric_of("eval/mean_reward"), metric_of("losses/actor").kind
    (Metric(name='eval/mean_reward', kind='eval', canonical='episodic_return'), 'other')
    """
    known = KNOWN.get(name)
    return Metric(name, *known) if known else Metric(name)
