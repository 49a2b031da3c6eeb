"""Whose logs a run folder holds: the map's word, then the settings files', then the logs' headers and the folder's name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openrlb.errors import MapError
from openrlb.sources.identity import clean_settings
from openrlb.sources.mapping import Expression
from openrlb.sources.protocol import MAX_SEED, Reading
from openrlb.sources.tables import path_fields
from openrlb.sources.zoo import Settings

EVALUATION_FOLDERS = frozenset({"eval", "evals", "evaluation", "evaluations", "eval_logs", "eval_monitor", "eval_env"})
ATARI_FRAME_SKIP = 4
"""The frame skip of Stable-Baselines3's AtariWrapper, which stands outside the Monitor."""


@dataclass(slots=True)
class Identity:
    """Who a run is.

    Attributes:
        algo: The algorithm, ``unknown`` where nothing tells it.
        env: The environment's id.
        seed: The seed, or None.
        impl: The implementation, or an empty string.
        name: A name from the map, or None.
        tags: Tags from the map.
        config: The configuration.
        evaluation: True where the episodes are evaluations without a training step.
        notes: How the names were found, where that is not plain.
    """

    algo: str
    env: str
    seed: int | None
    impl: str
    name: str | None
    tags: tuple[str, ...]
    config: dict[str, Any]
    evaluation: bool
    notes: list[str] = field(default_factory=list)


def identify(place: Path, header_env: str | None, settings: Settings, impl: str, reading: Reading) -> Identity:
    """Finds out whose logs these are.

    Args:
        place: The run's folder or file.
        header_env: The environment that the monitor files name, or None.
        settings: The settings files.
        impl: The implementation that writes such logs.
        reading: The fetch.

    Raises:
        MapError: The environment is not known, or the map does not fit.
    """
    notes: list[str] = []
    told = _mapped(place, settings, reading, notes)
    benchmark = _benchmark(place, header_env)
    algo, env = told.get("algo") or settings.algo, told.get("env") or settings.env
    if benchmark:
        algo, env = algo or benchmark[0], env or benchmark[1]
        notes.append("evaluation episodes of one trained agent (rl_zoo3.benchmark): no training steps, no training seed")
    if algo is None:
        algo = _algo_from_folder(place, header_env)
        if algo:
            notes.append("the algorithm is the folder's word")
    env = env or header_env
    if env is None:
        why = "neither the logs nor a settings file name it"
        raise MapError(
            "the environment is not known", why, "say it with --map \"env='Hopper-v4'\" or --map path:{algo}/{env}_{_}"
        )
    if header_env and env != header_env:
        notes.append(f"the monitor files name the environment {header_env}")
    if algo is None:
        algo = "unknown"
        notes.append("the algorithm is in no file: say it with --map \"algo='NAME'\"")
    evaluation = benchmark is not None or (place.is_dir() and place.name.lower() in EVALUATION_FOLDERS)
    if evaluation and not benchmark:
        notes.append(f"the folder's name ({place.name}) says that these are evaluation episodes: they stand at no training step")
    seed = told.get("seed")
    tags = tuple(text for key, text in told.items() if key.startswith("tag"))
    config = settings.values | clean_settings({key[7:]: value for key, value in told.items() if key.startswith("config.")})
    return Identity(
        str(algo), str(env), settings.seed if seed is None else _seed(seed), str(told.get("impl") or impl), told.get("name"),
        tuple(map(str, tags)), config, evaluation, notes,
    )  # fmt: skip


def _seed(value: object) -> int:
    """A mapped seed."""
    text = str(value).strip()
    seed = int(text.split(".")[0]) if re.fullmatch(r"\d{1,19}(\.0*)?", text) else -1
    if not 0 <= seed <= MAX_SEED:
        why = "a seed is a whole number from 0 to 2**63 - 1"
        raise MapError(f"seed={text[:40]} is not usable", why, "write --map \"seed='1'\"")
    return seed


def _mapped(place: Path, settings: Settings, reading: Reading, notes: list[str]) -> dict[str, Any]:
    """What the map says: constants, parts of the path, and keys of the settings; a key that is not there is noted."""
    told: dict[str, Any] = dict(path_fields(reading, place))
    sources: dict[str, Expression] = {name: source for name, source in reading.map.fields.items() if name != "kind"}
    sources |= {f"config.{key}": source for key, source in reading.map.config.items()}
    sources |= {f"tag {number}": source for number, source in enumerate(reading.map.tags)}
    for name, source in sources.items():
        value = source.text if source.constant else _setting(settings.values, source.text.removeprefix("config."))
        if value is not None and not isinstance(value, dict | list):
            told[name] = value
        elif name in ("algo", "impl", "env", "seed", "id", "name") or name.startswith(("config.", "tag")):
            notes.append(f"the map's {name.split()[0]}={source} names no setting of this run")
    return told


def _setting(values: Mapping[str, Any], key: str) -> object:
    """A setting by its dotted name, or None."""
    if key in values:
        return values[key]
    first, _, rest = key.partition(".")
    inner = values.get(first)
    return _setting(inner, rest) if rest and isinstance(inner, Mapping) else None


def _benchmark(place: Path, header_env: str | None) -> tuple[str, str] | None:
    """Algorithm and environment of a folder ``benchmark/<algo>-<environment>``, apart from the environment's version."""
    if place.parent.name != "benchmark" or header_env is None or "-" not in place.name:
        return None
    algo, _, env = place.name.partition("-")
    same = _without_version(env) == _without_version(header_env.replace("/", "-"))
    return (algo, header_env if env == header_env.replace("/", "-") else env) if same and algo else None


def _algo_from_folder(place: Path, header_env: str | None) -> str | None:
    """The algorithm in rl_zoo3's folder names ``<algo>/<environment>_<number>`` and ``<algo>-<environment>``."""
    if header_env is None or not place.is_dir():
        return None
    env = re.escape(header_env.replace("/", "-"))
    if re.fullmatch(rf"{env}_\d+(_[0-9a-f-]+)?", place.name):
        return place.parent.name or None
    beside = re.fullmatch(rf"([A-Za-z][A-Za-z0-9_]*)[-_]{env}(_\d+)?", place.name)
    return beside[1].rstrip("_-") if beside else None


def _without_version(env: str) -> str:
    """An environment's id without its version.

    >>> _without_version("Pendulum-v1")
    'Pendulum'
    """
    return re.sub(r"-v\d+$", "", env)


def counts_frames(env: str) -> bool:
    """Whether a monitor counts emulator frames: Atari's frame skip is a wrapper outside the Monitor.

    >>> counts_frames("PongNoFrameskip-v4"), counts_frames("Hopper-v4")
    (True, False)
    """
    return "NoFrameskip" in env
