"""Which configuration keys make a run a different variant, and which only name, log or save it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from openrlb.types import stable_hash

LOGGING_KEYS = frozenset(
    """
    seed seeds exp_name experiment_name run_name run_id uuid trial_id timestamp start_time hostname pid slurm_job_id
    log_dir log_path log_folder log_interval log_freq log_frequency log_every logdir logger logging_level output_dir out_dir
    save_dir save_path results_dir result_dir work_dir workdir root_dir model_dir checkpoint_dir
    checkpoint_path checkpoint_freq checkpoint_frequency checkpoint_interval save_model save_freq save_frequency save_interval
    save_every save_code
    eval_freq eval_frequency eval_interval eval_every eval_episodes n_eval_episodes num_eval_episodes n_eval_envs num_eval_envs
    track upload_model hf_entity capture_video video_freq record_video render_mode
    tensorboard_log use_tensorboard tensorboard tb_log_name verbose verbosity progress_bar
    save_replay_buffer trained_agent optimization_log_path study_name storage yaml_file num_threads device_id
    """.split()
)
"""Last parts of configuration keys that name, log, save or evaluate a run but do not change its training."""

_TOP_LEVEL_LOGGING_KEYS = frozenset(
    "name id group entity project notes tags date created quiet progress upload render conf_file".split()
)
_LOGGING_PATTERN = re.compile(r"_?wandb.*", re.IGNORECASE)
_SEED_PATTERN = re.compile(r".*[_-]seed", re.IGNORECASE)


def flat_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A nested configuration as one level with dotted keys; values that are no mapping stay whole.

    >>> flat_config({"agent": {"lr": 0.1}, "steps": 5})
    {'agent.lr': 0.1, 'steps': 5}
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat.update({f"{key}.{inner}": kept for inner, kept in flat_config(value).items()})
        else:
            flat[str(key)] = value
    return flat


def is_logging_key(key: str, value: Any = 0) -> bool:  # noqa: ANN401 - any JSON value
    """True for a configuration key that does not change training.

    Args:
        key: The dotted key, as :func:`flat_config` writes it.
        value: Its value: ``..._seed`` names a seed only where it holds whole numbers or nothing (``fixed_seed: true`` is a
            setting).

    >>> [is_logging_key(key) for key in ("seed", "wandb.mode", "env_seed", "agent.lr", "optimizer.name")]
    [True, True, True, False, False]
    >>> is_logging_key("fixed_seed", True)
    False
    """
    logging, seed = _kind_of_key(key)
    return logging or (seed and _is_seed(value))


@lru_cache(maxsize=4096)
def _kind_of_key(key: str) -> tuple[bool, bool]:
    """Whether a key is logging's whatever it holds, and whether it is called a seed; the runs of a store share their keys."""
    first, last = key.split(".", 1)[0], key.rsplit(".", 1)[-1]
    plain = last.lower().replace("-", "_").strip("_")
    logging = (
        plain in LOGGING_KEYS
        or ("." not in key and plain in _TOP_LEVEL_LOGGING_KEYS)
        or any(_LOGGING_PATTERN.fullmatch(part) for part in (first, last))
    )
    return logging, any(_SEED_PATTERN.fullmatch(part) for part in (first, last))


def _is_seed(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    """True for a whole number, also as text or as a float, for nothing, and for a list of these."""
    if isinstance(value, list | tuple):
        return all(_is_seed(one) for one in value)
    if isinstance(value, str):
        return re.fullmatch(r"-?\d+", value.strip()) is not None
    return (
        value is None
        or (isinstance(value, int) and not isinstance(value, bool))
        or (isinstance(value, float) and value.is_integer())
    )


def training_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The flattened configuration without the seed, names and logging keys: what makes the variant.

    >>> training_config({"seed": 1, "lr": 0.1, "wandb": {"entity": "x"}})
    {'lr': 0.1}
    """
    return {key: value for key, value in flat_config(config).items() if not is_logging_key(key, value)}


def variant_of(config: Mapping[str, Any]) -> str:
    """A short id of a training configuration; empty where nothing is configured.

    >>> variant_of({"seed": 1}), variant_of({"lr": 1, "seed": 2}) == variant_of({"lr": 1, "seed": 3})
    ('', True)
    """
    kept = training_config(config)
    return stable_hash(kept, 8) if kept else ""
