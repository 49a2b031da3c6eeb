"""The hyperparameters of the sb3 runner: which there are, what a request means, and what a model really holds.

They are the arguments of Stable-Baselines3's classes, with RL Zoo's words where JSON has none: ``"lin_0.001"`` is a rate that
falls linearly to 0, ``policy_kwargs`` names classes (``"activation_fn": "relu"``), ``noise_type`` and ``noise_std`` are the
action noise. ``policy``, ``n_envs`` (environments side by side), ``normalize`` (VecNormalize: true, false, or what to
normalize), ``env_wrapper`` (AtariWrapper or null) and ``frame_stack`` count among them.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import library
import numpy as np
from library import ALGORITHMS, CLASSES, SCHEDULES
from stable_baselines3.common.atari_wrappers import ClipRewardEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise, VectorizedActionNoise
from stable_baselines3.common.type_aliases import TrainFreq
from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize, unwrap_vec_wrapper

NOISES = {"normal": NormalActionNoise, "ornstein-uhlenbeck": OrnsteinUhlenbeckActionNoise}
WRAPPERS = ("AtariWrapper",)
# Arguments that are set from the rest of the spec, only change what is printed, or take a class that JSON cannot name.
NOT_OFFERED = library.NOT_OFFERED | set(
    "self env seed device verbose tensorboard_log stats_window_size action_noise replay_buffer_class rollout_buffer_class"
    " _init_setup_model".split()
)
NOT_OFFERED_TO_POLICIES = set(
    "self observation_space action_space lr_schedule features_extractor_class features_extractor_kwargs normalize_images".split()
)
NUMBERS = {"max_grad_norm", "alive_bonus_offset"}  # fractions are allowed, though some defaults are whole
NUMBER_OR_WORD = {"ent_coef", "target_entropy"}  # also "auto"
NUMBER_OR_NONE = {"noise_std", "target_kl", "qf_learning_rate"}
NORMALIZE = ("norm_obs", "norm_reward", "clip_obs", "clip_reward", "epsilon")


class BadSpec(Exception):  # noqa: N818
    """The request has no meaning; exit code 2."""


@dataclass(frozen=True)
class Hyperparameters:
    """A request, checked.

    Attributes:
        algo: The algorithm.
        given: What was requested, by name, numbers in the type of their default.
        values: The same over the library's defaults.
    """

    algo: str
    given: dict[str, Any]
    values: dict[str, Any]

    @property
    def is_masked(self) -> bool:
        """Whether the algorithm asks which actions are allowed."""
        return self.algo in library.MASKED

    @property
    def policy(self) -> str:
        """The name of the policy class."""
        return str(self.values["policy"])

    @property
    def n_envs(self) -> int:
        """How many environments step side by side."""
        return int(self.values["n_envs"])

    @property
    def normalize(self) -> dict[str, Any] | None:
        """VecNormalize's arguments, or None; the reward's discount is the algorithm's."""
        if self.values["normalize"] is False:
            return None
        return {**meaning("normalize", self.values["normalize"]), "gamma": self.values.get("gamma", 0.99)}

    def arguments(self, action_space: Any) -> dict[str, Any]:  # noqa: ANN401
        """What the algorithm's class is called with, beside policy, environment, seed and device."""
        own = ("policy", "n_envs", "normalize", "env_wrapper", "frame_stack", "noise_type", "noise_std")
        arguments = {key: constructed(key, value) for key, value in self.given.items() if key not in own}
        if self.values.get("noise_type") is not None:
            if not hasattr(action_space, "low"):
                raise BadSpec(f"noise_type is for continuous actions, these are {action_space}")
            mean = np.zeros(action_space.shape[0])
            arguments["action_noise"] = NOISES[self.values["noise_type"]](mean, self.values["noise_std"] * np.ones_like(mean))
        return arguments


def requested(algo: str, given: dict[str, Any], usual: dict[str, Any]) -> Hyperparameters:
    """What is requested of an algorithm, every name and type checked.

    Args:
        algo: The algorithm.
        given: What was asked for.
        usual: Defaults that hang on the environment; a policy that the algorithm does not have is passed over.

    Raises:
        BadSpec: A name is unknown, a value is of the wrong kind, or values do not go together.
    """
    defaults = offered(algo)
    policies = ALGORITHMS[algo].policy_aliases
    defaults |= {name: value for name, value in usual.items() if name != "policy"}
    if usual.get("policy") in policies:
        defaults["policy"] = usual["policy"]
    for name in given:
        if name not in defaults:
            raise BadSpec(f"{algo} has no hyperparameter {name}{nearest(name, defaults)}")
    checked = {name: typed(name, value, defaults[name]) for name, value in given.items()}
    values = {**defaults, **checked}
    if values["policy"] not in policies:
        raise BadSpec(f"{algo} has no policy {values['policy']}{nearest(values['policy'], policies)}")
    if values["policy_kwargs"]:
        checked["policy_kwargs"] = checked_policy_kwargs(policies[values["policy"]], values["policy_kwargs"])
    if (values.get("noise_type") is None) != (values.get("noise_std") is None):
        raise BadSpec("noise_type and noise_std come together")
    for name in ("n_envs", "frame_stack"):
        if values[name] < 1:
            raise BadSpec(f"{name} must be at least 1")
    if isinstance(values.get("learning_rate"), str) and algo not in library.SCHEDULED:
        raise BadSpec(f"learning_rate is {values['learning_rate']!r}, but {algo} here keeps the one it begins with")
    if why := library.limits(algo, values):
        raise BadSpec(why)
    return Hyperparameters(algo, checked, {**values, **checked})


def offered(algo: str) -> dict[str, Any]:
    """Every hyperparameter of an algorithm with its default."""
    parameters = inspect.signature(ALGORITHMS[algo].__init__).parameters
    defaults: dict[str, Any] = {"policy": "MlpLstmPolicy" if algo == "ppo_lstm" else "MlpPolicy", "n_envs": 1, "normalize": False}
    defaults |= {"env_wrapper": None, "frame_stack": 1}
    if "action_noise" in parameters:
        defaults |= {"noise_type": None, "noise_std": None}
    own = {*NOT_OFFERED, *defaults}
    return defaults | {name: parameter.default for name, parameter in parameters.items() if name not in own}


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: what may have been meant, or all there is."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3)
    return f"; did you mean {' or '.join(near)}?" if near else f"; there are {', '.join(names)}"


def typed(name: str, value: Any, default: Any) -> Any:  # noqa: ANN401
    """A value in the type of its default, so that 1 and 1.0 are one configuration.

    Raises:
        BadSpec: It is of another kind.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is None and default is None:
        return None
    if name in SCHEDULES and isinstance(value, str):
        linear(value, name)
        return value
    if name == "train_freq" and isinstance(value, list) and len(value) == 2 and value[1] in ("step", "episode"):
        return [typed(name, value[0], 1), value[1]]
    if name == "normalize" and isinstance(value, bool):
        return value
    if name == "normalize" and isinstance(value, dict) and set(value) <= set(NORMALIZE):
        known = meaning(name, True)
        return {inner: typed(f"normalize.{inner}", one, known[inner]) for inner, one in value.items()}
    if name == "noise_type" and isinstance(value, str) and value in NOISES:
        return value
    if name == "env_wrapper" and (value is None or value in WRAPPERS):
        return value
    if name in NUMBER_OR_WORD and isinstance(value, str) and value.startswith("auto"):
        return value
    if number and (isinstance(default, float) or name in {*SCHEDULES, *NUMBERS, *NUMBER_OR_WORD, *NUMBER_OR_NONE}):
        return float(value)
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
    kind = int if name in ("train_freq", "n_top") else type(default)
    if kind is int and number and float(value).is_integer():
        return int(value)
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str) and name not in {*NUMBER_OR_WORD, "env_wrapper"}:
        return value
    if name.endswith("_kwargs") and isinstance(value, dict):
        return value
    wanted = {"normalize": f"true, false, or some of {', '.join(NORMALIZE)}", "noise_type": " or ".join(NOISES)}
    wanted["env_wrapper"] = f"{' or '.join(WRAPPERS)}, or null"
    wanted |= dict.fromkeys(SCHEDULES, "a number, or lin_ and a number") | dict.fromkeys(NUMBER_OR_WORD, "a number or auto")
    wanted["train_freq"] = 'a whole number, or [1, "episode"]'
    raise BadSpec(f"{name} is {value!r}, but must be {wanted.get(name, kinds.get(kind, 'an object'))}")


def checked_policy_kwargs(cls: type, given: dict[str, Any]) -> dict[str, Any]:
    """The policy's arguments, names and class names checked."""
    parameters = inspect.signature(cls.__init__).parameters
    known = {name: parameters[name].default for name in policy_arguments(cls)}
    checked = {}
    for name, value in given.items():
        if name not in known:
            raise BadSpec(f"policy_kwargs has no {name}{nearest(name, known)}")
        if name in CLASSES and (not isinstance(value, str) or value not in CLASSES[name]):
            raise BadSpec(f"{name} {value!r} is unknown{nearest(str(value), CLASSES[name])}")
        whole = isinstance(value, int) and not isinstance(value, bool)
        checked[name] = float(value) if whole and (isinstance(known[name], float) or name == "log_std_init") else value
    return checked


def policy_arguments(cls: type) -> list[str]:
    """The names of a policy's arguments that may be asked for."""
    hidden = NOT_OFFERED_TO_POLICIES | library.unused_arguments(cls)
    return [name for name in inspect.signature(cls.__init__).parameters if name not in hidden]


def linear(word: str, name: str) -> float:
    """Where a rate of the zoo's word ``lin_X`` begins."""
    try:
        kind, _, start = word.partition("_")
        if kind != "lin":
            raise ValueError
        return float(start)
    except ValueError:
        raise BadSpec(f"{name} is {word!r}, but must be a number, or lin_ and a number") from None


def constructed(name: str, value: Any) -> Any:  # noqa: ANN401
    """The object that Stable-Baselines3 wants for a JSON value."""
    if name in SCHEDULES and isinstance(value, str):
        return falling(linear(value, name))
    if name == "train_freq" and isinstance(value, list):
        return tuple(value)
    if name == "policy_kwargs" and value is not None:
        return {key: CLASSES[key][inner] if key in CLASSES else inner for key, inner in value.items()}
    return dict(value) if isinstance(value, dict) else value  # a copy: the library adds to what it is given


def falling(start: float) -> Callable[[float], float]:
    """A schedule from ``start`` to 0; Stable-Baselines3 hands it what remains of training, from 1 to 0."""
    return lambda remaining: remaining * start


# --- reading back -----------------------------------------------------------------------------------------------------------


def applied(model: BaseAlgorithm, asked: Hyperparameters) -> dict[str, Any]:
    """Every hyperparameter as the model holds it, as JSON values.

    One that the model holds as it was asked for is spelled as it was asked for (``[4, "step"]`` stays so, though it means 4),
    but for objects, which are told whole.
    """
    seen = {name: plain(held(model, name)) for name in asked.values}
    for name, value in asked.given.items():
        same_policy = name == "policy" and model.policy_aliases[value] is model.policy_class  # one class may have two names
        if same_policy or (not isinstance(value, dict) and meaning(name, value) == meaning(name, seen[name])):
            seen[name] = value
    return seen


def meaning(name: str, value: Any) -> Any:  # noqa: ANN401
    """A value in the one spelling that all spellings of it share."""
    if name in SCHEDULES and isinstance(value, str):
        return f"lin_{linear(value, name)!r}"
    if name == "train_freq" and isinstance(value, list) and value[1] == "step":
        return value[0]
    if name == "normalize" and value is not False:
        parameters = inspect.signature(VecNormalize.__init__).parameters
        return {key: parameters[key].default for key in NORMALIZE} | (value if isinstance(value, dict) else {})
    return value


def held(model: BaseAlgorithm, name: str) -> Any:  # noqa: ANN401
    """What a model holds under a hyperparameter's name."""
    if name in SCHEDULES:
        return schedule_word(getattr(model, SCHEDULES[name]))
    if name == "policy":
        return next(word for word, cls in model.policy_aliases.items() if cls is model.policy_class)
    if name == "policy_kwargs":
        return held_policy_kwargs(model)
    env = model.get_env()
    if name == "normalize":
        wrapper = model.get_vec_normalize_env()
        return False if wrapper is None else {key: getattr(wrapper, key) for key in NORMALIZE}
    if name == "frame_stack":
        stack = unwrap_vec_wrapper(env, VecFrameStack)
        return 1 if stack is None else stack.stacked_obs.n_stack
    if name == "env_wrapper":
        return WRAPPERS[0] if env.env_is_wrapped(ClipRewardEnv)[0] else None
    if name in ("noise_type", "noise_std"):
        noise = model.action_noise.base_noise if isinstance(model.action_noise, VectorizedActionNoise) else model.action_noise
        if noise is None:
            return None
        return float(noise._sigma[0]) if name == "noise_std" else next(word for word, cls in NOISES.items() if type(noise) is cls)
    value = library.held(model, name)
    return float(value) if name in NUMBERS and value is not None else value


def held_policy_kwargs(model: BaseAlgorithm) -> dict[str, Any]:
    """The arguments a policy was built with: its class's defaults, what it was given, and what it reports of itself."""
    parameters = inspect.signature(type(model.policy).__init__).parameters
    names = policy_arguments(type(model.policy))
    values = {name: parameters[name].default for name in names} | model.policy_kwargs | library.held_by_policy(model)
    if "log_std_init" in values:
        values["log_std_init"] = float(values["log_std_init"])  # some defaults are whole
    return {name: class_word(name, values[name]) for name in names}


def class_word(name: str, value: Any) -> Any:  # noqa: ANN401
    """A class by the word it is asked for with."""
    return next((word for word, cls in CLASSES.get(name, {}).items() if cls is value), value)


def schedule_word(schedule: Callable[[float], float] | None) -> float | str | None:
    """A rate as it is asked for, by evaluating it at the begin, the middle and the end of training."""
    if schedule is None:
        return None
    start, middle, end = (float(schedule(remaining)) for remaining in (1.0, 0.5, 0.0))
    if start == middle == end:
        return start
    return f"lin_{start!r}" if end == 0.0 and middle == start / 2 else f"from {start!r} over {middle!r} to {end!r}"


def plain(value: Any) -> Any:  # noqa: ANN401
    """A value as JSON has it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, TrainFreq):
        return value.frequency if value.unit.value == "step" else [value.frequency, value.unit.value]
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return getattr(value, "__name__", type(value).__name__)


def one_line(error: BaseException) -> str:
    """An error's words on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
