"""Which configuration keys make a run a different variant, and which only name or log it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from openrlb.types import stable_hash

NAMING_KEYS = frozenset(
    """seed random_seed exp_name run_name run_id name group notes tags track wandb wandb_project_name wandb_entity
    wandb_project entity project save_model save_freq save_replay_buffer upload_model hf_entity capture_video video
    capture_video_freq log_dir log_folder log_interval logdir tensorboard_log tensorboard verbose progress progress_bar
    uuid optimization_log_path output_dir out_dir results_dir trained_agent device_id num_threads yaml_file conf_file
    storage study_name""".split()
)
"""Keys that name a run or steer its logging; they never make a variant. Compared in lower case, last part of the path."""


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a nested configuration as (dotted key, value), in the order of the mapping.

    >>> list(flatten({"a": {"b": 1}, "c": [1, 2]}))
    [('a.b', 1), ('c', [1, 2])]
    """
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def training_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The flattened configuration without the seed, names and logging keys: what makes the variant.

    >>> training_config({"seed": 1, "lr": 0.1, "wandb": {"entity": "x"}})
    {'lr': 0.1}
    """
    return {key: value for key, value in flatten(config) if NAMING_KEYS.isdisjoint(key.lower().split("."))}


def variant_of(config: Mapping[str, Any]) -> str:
    """A short id of a training configuration; empty where nothing is configured.

    >>> variant_of({"seed": 1}), variant_of({"lr": 1, "seed": 2}) == variant_of({"lr": 1, "seed": 3})
    ('', True)
    """
    kept = training_config(config)
    return stable_hash(kept, 8) if kept else ""
