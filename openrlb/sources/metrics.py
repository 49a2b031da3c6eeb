"""What logged names mean: one table for every log format, and the columns that tables usually have."""

from __future__ import annotations

import re

from openrlb.types import EPISODIC_RETURN, Metric, MetricKind

EPISODIC_LENGTH = "episodic_length"
SUCCESS_RATE = "success_rate"

KNOWN: dict[str, tuple[MetricKind, str | None]] = {
    # CleanRL
    "charts/episodic_return": ("episode", EPISODIC_RETURN),
    "charts/avg_episodic_return": ("rolling_mean", EPISODIC_RETURN),
    "charts/episodic_length": ("episode", EPISODIC_LENGTH),
    # Stable-Baselines3, rl_zoo3, sbx; the rolling mean is over the last 100 episodes
    "rollout/ep_rew_mean": ("rolling_mean", EPISODIC_RETURN),
    "rollout/ep_len_mean": ("rolling_mean", EPISODIC_LENGTH),
    "rollout/success_rate": ("rolling_mean", SUCCESS_RATE),
    "eval/mean_reward": ("eval", EPISODIC_RETURN),
    "eval/mean_ep_length": ("eval", EPISODIC_LENGTH),
    "eval/success_rate": ("eval", SUCCESS_RATE),
    # Open RL Benchmark's other projects: tianshou, jaxrl, moolib, morl-baselines, sample-factory
    "eval/return": ("eval", EPISODIC_RETURN),
    "eval/episodic_return": ("eval", EPISODIC_RETURN),
    "eval/episodic_length": ("eval", EPISODIC_LENGTH),
    "evaluation/average_returns": ("eval", EPISODIC_RETURN),
    "evaluation/return": ("eval", EPISODIC_RETURN),
    "test/reward": ("eval", EPISODIC_RETURN),
    "training/return": ("episode", EPISODIC_RETURN),
    "global/mean_episode_return": ("rolling_mean", EPISODIC_RETURN),
    # OpenAI baselines, old and new, and Stable-Baselines 2
    "eprewmean": ("rolling_mean", EPISODIC_RETURN),
    "eplenmean": ("rolling_mean", EPISODIC_LENGTH),
    "EpRewMean": ("rolling_mean", EPISODIC_RETURN),
    "EpLenMean": ("rolling_mean", EPISODIC_LENGTH),
    "ep_reward_mean": ("rolling_mean", EPISODIC_RETURN),
    "ep_len_mean": ("rolling_mean", EPISODIC_LENGTH),
    "mean 100 episode reward": ("rolling_mean", EPISODIC_RETURN),
    # Spinning Up: means over one epoch's episodes, and over test episodes
    "AverageEpRet": ("rolling_mean", EPISODIC_RETURN),
    "AverageTestEpRet": ("eval", EPISODIC_RETURN),
    "EpLen": ("rolling_mean", EPISODIC_LENGTH),
    "TestEpLen": ("eval", EPISODIC_LENGTH),
    # Names that tables use
    "episodic_return": ("episode", EPISODIC_RETURN),
    "episode_return": ("episode", EPISODIC_RETURN),
    "episode_reward": ("episode", EPISODIC_RETURN),
    "episodic_length": ("episode", EPISODIC_LENGTH),
    "episode_length": ("episode", EPISODIC_LENGTH),
    "eval_return": ("eval", EPISODIC_RETURN),
    "eval_reward": ("eval", EPISODIC_RETURN),
    "test_return": ("eval", EPISODIC_RETURN),
    "test_reward": ("eval", EPISODIC_RETURN),
    **dict.fromkeys(("return", "returns", "ret", "reward", "rewards", "score", "scores"), ("other", EPISODIC_RETURN)),
}
"""The kind and the canonical name of a logged name."""

USUAL_COLUMNS: dict[str, tuple[str, ...]] = {
    "algo": ("algo", "algorithm", "alg", "algo_name", "agent", "method", "exp_name"),
    "impl": ("impl", "implementation"),
    "env": ("env", "env_id", "environment", "task", "game", "env_name", "environment_id"),
    "seed": ("seed", "random_seed", "rng_seed", "seed #", "trial", "repetition", "rep"),
    "step": (
        "step", "steps", "global_step", "timestep", "timesteps", "total_timesteps", "env_step", "env_steps", "env steps", "frame",
        "frames",
    ),
    "value": (
        "return", "episodic_return", "episode_return", "eval_return", "mean_return", "mean_reward", "eval_reward", "test_reward",
        "episode_reward", "reward", "score", "ret", "value",
    ),
    "time": ("time", "wall_time", "walltime", "time_elapsed"),
}  # fmt: skip
"""The names that columns usually have, the likeliest first; compared without regard to case."""

FRAME_COLUMNS = ("frame", "frames")
_SOMETHING_ELSE = re.compile(
    r"(^|[/_. -])(loss|losses|entropy|kl|fps|sps|len|lengths?|lr|learning_rate|success|time|std|var|grad|q|steps?)([/_. -]|$)",
    re.IGNORECASE,
)


def metric(name: str, kind: MetricKind | None = None) -> Metric:
    """A logged metric by its name alone.

    >>> metric("rollout/ep_rew_mean")
    Metric(name='rollout/ep_rew_mean', kind='rolling_mean', canonical='episodic_return')
    >>> metric("train/loss")
    Metric(name='train/loss', kind='other', canonical=None)
    """
    known_kind, canonical = KNOWN.get(name, ("other", None))
    return Metric(name, kind or known_kind, canonical)


def declared(name: str, kind: MetricKind | None = None) -> Metric:
    """A value column that the user, or a guess, declared to be a run's return.

    A name that is known as something else stays that. What one value of an unknown column is, nobody can tell: its kind
    is ``other`` until the map says ``kind=``, and the reader of the table notes that.

    >>> declared("HNS")
    Metric(name='HNS', kind='other', canonical='episodic_return')
    >>> declared("actor_loss").canonical is None
    True
    """
    if name in KNOWN or names_something_else(name):
        return metric(name, kind)
    return Metric(name, kind or "other", EPISODIC_RETURN)


def kind_is_unknown(name: str) -> bool:
    """Whether :func:`declared` cannot know the kind of a column.

    >>> kind_is_unknown("score"), kind_is_unknown("eval_return")
    (True, False)
    """
    return KNOWN.get(name, ("other",))[0] == "other" and not names_something_else(name)


def names_something_else(name: str) -> bool:
    """Whether a name says of itself that it is no return.

    >>> names_something_else("losses/value_loss"), names_something_else("Max HNS"), names_something_else("closs")
    (True, False, False)
    """
    return KNOWN.get(name, (None, EPISODIC_RETURN))[1] != EPISODIC_RETURN or bool(_SOMETHING_ELSE.search(name))
