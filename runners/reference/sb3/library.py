"""What is Stable-Baselines3's own in this runner: its classes, its weights, its random numbers.

The other files know only what Stable-Baselines3 and the libraries built on it share; the sbx runner has them too.
"""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
import sb3_contrib
import stable_baselines3
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {
    "a2c": stable_baselines3.A2C,
    "ddpg": stable_baselines3.DDPG,
    "dqn": stable_baselines3.DQN,
    "ppo": stable_baselines3.PPO,
    "sac": stable_baselines3.SAC,
    "td3": stable_baselines3.TD3,
    "ars": sb3_contrib.ARS,
    "crossq": sb3_contrib.CrossQ,
    "ppo_lstm": sb3_contrib.RecurrentPPO,
    "ppo_mask": sb3_contrib.MaskablePPO,
    "qrdqn": sb3_contrib.QRDQN,
    "tqc": sb3_contrib.TQC,
    "trpo": sb3_contrib.TRPO,
}
MASKED = ("ppo_mask",)
ACTIVATIONS = {
    "relu": torch.nn.ReLU,
    "tanh": torch.nn.Tanh,
    "elu": torch.nn.ELU,
    "gelu": torch.nn.GELU,
    "leaky_relu": torch.nn.LeakyReLU,
    "silu": torch.nn.SiLU,
    "sigmoid": torch.nn.Sigmoid,
}
OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "rmsprop_tf": RMSpropTFLike,
    "sgd": torch.optim.SGD,
}
CLASSES: dict[str, dict[str, Any]] = {"activation_fn": ACTIVATIONS, "optimizer_class": OPTIMIZERS}
NOT_OFFERED: set[str] = set()  # beyond what no library offers
SCHEDULES = {"learning_rate": "lr_schedule", "clip_range": "clip_range", "clip_range_vf": "clip_range_vf"}
SCHEDULES |= {"delta_std": "delta_std_schedule"}  # what may fall in training -> the model's name for it
SCHEDULED = set(ALGORITHMS)  # the algorithms whose learning rate may
DEVICES, DEVICE_WORDS = r"cpu|cuda(:\d+)?", "cpu or cuda"


def limits(algo: str, values: dict[str, Any]) -> str:
    """Why values that are each right cannot be had together; nothing where they can."""
    alone = algo == "ars" and values["n_envs"] > 1
    return "ars takes n_envs = 1 only: with more, sb3-contrib counts its steps several times" if alone else ""


def unused_arguments(policy: type) -> set[str]:
    """What a policy's class takes and leaves unused, or gets from its algorithm."""
    return {"use_sde"}


def prepare(threads: int, device: str) -> str:
    """Threads, and determinism where a GPU would not give it; returns why it cannot be, or nothing."""
    torch.set_num_threads(threads)
    if device == "cpu":
        return ""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if not torch.cuda.is_available():
        return f"device is {device}, but this environment's torch sees no CUDA device"
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return ""


def threads() -> int:
    """How many threads the library computes with."""
    return torch.get_num_threads()


def weights_are_finite(model: BaseAlgorithm) -> bool:
    """Whether every parameter of the policy is finite."""
    return all(bool(torch.isfinite(parameter).all()) for parameter in model.policy.parameters())


def held(model: BaseAlgorithm, name: str) -> Any:  # noqa: ANN401
    """What a model holds under a name for which it has another one.

    Raises:
        AttributeError: It has no such name.
    """
    if name == "use_rms_prop":
        return isinstance(model.policy.optimizer, torch.optim.RMSprop)
    if name == "rms_prop_eps":
        return model.policy.optimizer.defaults["eps"]
    return getattr(model, name)


def held_by_policy(model: BaseAlgorithm) -> dict[str, Any]:
    """What a policy reports of the arguments that it was built with."""
    reported = model.policy._get_constructor_parameters()
    return {name: value for name, value in reported.items() if value is not None}


def seed_afresh(model: BaseAlgorithm, seed: int) -> None:
    """Seeds every random generator that choosing actions draws from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    model.action_space.seed(seed)


def random_state(model: BaseAlgorithm) -> tuple[Any, ...]:
    """The state of every random generator that training draws from."""
    on_gpu = torch.cuda.get_rng_state(model.device) if model.device.type == "cuda" else None
    actions = model.action_space.np_random.bit_generator.state
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), on_gpu, actions


def set_random_state(model: BaseAlgorithm, state: tuple[Any, ...]) -> None:
    """Puts every random generator back."""
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])
    if state[3] is not None:
        torch.cuda.set_rng_state(state[3], model.device)
    model.action_space.np_random.bit_generator.state = state[4]
