"""What is Stable-Baselines Jax's own in this runner: its classes, its weights, its random numbers.

The other files are those of the sb3 runner. What Stable-Baselines Jax takes and then leaves unused is not offered here: gSDE
(use_sde and what belongs to it), clip_range_vf, a learning rate that falls in DDPG, TD3, DQN and CrossQ.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import random
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import sbx
import torch
from flax import linen
from flax.training.train_state import TrainState
from records import processor
from sbx.ppo.policies import PPOPolicy
from stable_baselines3.common.base_class import BaseAlgorithm

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {
    "crossq": sbx.CrossQ,
    "ddpg": sbx.DDPG,
    "dqn": sbx.DQN,
    "ppo": sbx.PPO,
    "sac": sbx.SAC,
    "td3": sbx.TD3,
    "tqc": sbx.TQC,
}
MASKED: tuple[str, ...] = ()
ACTIVATIONS = {
    "relu": linen.relu,
    "tanh": linen.tanh,
    "elu": linen.elu,
    "gelu": linen.gelu,
    "leaky_relu": linen.leaky_relu,
    "silu": linen.silu,
    "sigmoid": linen.sigmoid,
}
OPTIMIZERS = {"adam": optax.adam, "adamw": optax.adamw, "rmsprop": optax.rmsprop, "sgd": optax.sgd}
CLASSES: dict[str, dict[str, Any]] = {"activation_fn": ACTIVATIONS, "optimizer_class": OPTIMIZERS}
NOT_OFFERED = set("use_sde sde_sample_freq use_sde_at_warmup clip_range_vf param_resets".split())
SCHEDULES = {"learning_rate": "lr_schedule", "clip_range": "clip_range_schedule"}  # what may fall -> the model's name for it
SCHEDULED = {"ppo", "sac", "tqc"}  # the algorithms whose learning rate may
DEVICES, DEVICE_WORDS = "cpu", "cpu"
OWN_NAMES = {"ent_coef": "ent_coef_init", "qf_learning_rate": "initial_qf_learning_rate"}
KEYS = ("key", "noise_key")  # where a policy keeps JAX's random state


def limits(algo: str, values: dict[str, Any]) -> str:
    """Why values that are each right cannot be had together; nothing where they can."""
    layers = (values["policy_kwargs"] or {}).get("net_arch")
    if algo == "dqn" and layers is not None and (not isinstance(layers, list) or len(layers) != 2 or layers[0] != layers[1]):
        return f"net_arch is {layers}, but dqn here has two layers of one width"
    return ""


def unused_arguments(policy: type) -> set[str]:
    """What a policy's class takes and leaves unused, or gets from its algorithm."""
    names = {"use_sde", "use_expln", "clip_mean", "actor_class", "critic_class", "vector_critic_class"}
    names.add("top_quantiles_to_drop_per_net")  # the algorithm's own word
    if not issubclass(policy, PPOPolicy):
        names |= {"log_std_init", "share_features_extractor"}
    return names | {"layer_norm"} if policy.__name__.startswith("Simba") else names


def prepare(threads: int, device: str) -> str:
    """Threads, and a place for what JAX compiles; returns why it cannot be, or nothing.

    XLA takes its number of threads from NPROC when the first array is made; the numbers it computes hang on it.
    """
    os.environ["NPROC"] = str(threads)
    torch.set_num_threads(threads)
    if os.access(sys.prefix, os.W_OK):
        # What is compiled for one processor may not run on another, and how it is split up hangs on the threads.
        processor_digest = hashlib.sha256(repr(processor()).encode()).hexdigest()[:12]
        jax.config.update("jax_compilation_cache_dir", str(Path(sys.prefix, "jax-cache", f"{processor_digest}-{threads}")))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return ""


def threads() -> int:
    """How many threads the library computes with."""
    return int(os.environ["NPROC"])


def weights_are_finite(model: BaseAlgorithm) -> bool:
    """Whether every parameter of the policy is finite."""
    states = [state for state in vars(model.policy).values() if isinstance(state, TrainState)]
    return all(bool(np.isfinite(leaf).all()) for state in states for leaf in jax.tree.leaves(state.params))


def held(model: BaseAlgorithm, name: str) -> Any:  # noqa: ANN401
    """What a model holds under a name for which it has another one.

    Raises:
        AttributeError: It has no such name.
    """
    if name == "target_update_interval":  # the model counts calls, each a step of every environment
        return model.target_update_interval * model.n_envs
    for holder, own in ((model, OWN_NAMES.get(name, name)), (model, name), (model.policy, name)):
        if hasattr(holder, own):
            return getattr(holder, own)
    raise AttributeError(name)


def held_by_policy(model: BaseAlgorithm) -> dict[str, Any]:
    """What a policy holds of the arguments that it was built with."""
    policy = model.policy
    names = inspect.signature(type(policy).__init__).parameters
    values = {name: getattr(policy, name) for name in names if hasattr(policy, name)}
    if hasattr(policy, "n_units"):
        return {**values, "net_arch": [policy.n_units, policy.n_units]}
    nets = {name: getattr(policy, f"net_arch_{name}") for name in ("pi", "vf", "qf") if hasattr(policy, f"net_arch_{name}")}
    first, second = nets.values()
    return {**values, "net_arch": first if first == second else nets}


def seed_afresh(model: BaseAlgorithm, seed: int) -> None:
    """Seeds every random generator that choosing actions draws from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    model.action_space.seed(seed)
    if hasattr(model.policy, "noise_key"):
        model.policy.key, model.policy.noise_key = jax.random.split(jax.random.PRNGKey(seed))


def random_state(model: BaseAlgorithm) -> tuple[Any, ...]:
    """The state of every random generator that training draws from."""
    actions = model.action_space.np_random.bit_generator.state
    keys = {name: getattr(model.policy, name) for name in KEYS if hasattr(model.policy, name)}
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), model.key, keys, actions


def set_random_state(model: BaseAlgorithm, state: tuple[Any, ...]) -> None:
    """Puts every random generator back."""
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])
    model.key = state[3]
    for name, key in state[4].items():
        setattr(model.policy, name, key)
    model.action_space.np_random.bit_generator.state = state[5]
