"""Settings files beside logs: rl_zoo3's ``args.yml`` and ``config.yml``, Spinning Up's ``config.json``."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from openrlb.errors import SourceError
from openrlb.sources.files import read_bounded
from openrlb.sources.identity import clean_settings
from openrlb.sources.protocol import MAX_SEED, MAX_SETTINGS_BYTES

LOGGING_KEYS = frozenset({
    "conf_file", "log_folder", "log_interval", "tensorboard_log", "verbose", "uuid", "progress", "track", "wandb_project_name",
    "wandb_tags", "save_freq", "save_replay_buffer", "storage", "study_name", "optimization_log_path", "no_optim_plots",
    "trained_agent", "yaml_file", "logger_kwargs", "output_dir",
})  # fmt: skip
"""Arguments that say where and how a run is logged, not what it is."""
TUNING_KEYS = frozenset({
    "sampler", "pruner", "n_trials", "n_jobs", "n_startup_trials", "n_evaluations", "max_total_trials",
    "optimize_hyperparameters", "trial_id",
})  # fmt: skip
"""rl_zoo3's arguments for its tuner; they mean nothing for a run that was not tuned."""
_MAX_NODES = 100_000
_MERGE = "tag:yaml.org,2002:merge"
_ORDERED = "tag:yaml.org,2002:python/object/apply:collections.OrderedDict"


@dataclass(slots=True)
class Settings:
    """What the settings files of a run folder say.

    Attributes:
        values: Every setting that is kept, free of personal data; algorithm, environment and seed left out.
        algo: The algorithm, or None.
        env: The environment's id, or None.
        seed: The seed, or None.
        files: The files that were read.
        problems: Files that could not be read, with the reason.
    """

    values: dict[str, Any] = field(default_factory=dict)
    algo: str | None = None
    env: str | None = None
    seed: int | None = None
    files: list[Path] = field(default_factory=list)
    problems: list[tuple[Path, str]] = field(default_factory=list)


def find_settings(folder: Path, environments: Collection[str] = ()) -> Settings:
    """Reads the settings files that belong to a run folder: in it, and in its sub-folder named after the environment.

    Args:
        folder: The run folder.
        environments: The environment ids that the logs in it name.
    """
    found = Settings()
    merged: dict[str, Any] = {}
    for place in (folder, *_settings_folders(folder)):
        names = ("config.json", "args.yml", "config.yml") if place == folder else ("args.yml", "config.yml")
        loaded: dict[str, Any] = {}
        files, problems = [], []
        for path in (place / name for name in names):
            if not path.is_file() or path.is_symlink():
                continue
            files.append(path)
            try:
                loaded.update(_load(path))
            except (SourceError, OSError, ValueError) as error:
                problems.append((path, getattr(error, "why", None) or str(error)))
        inner = place.relative_to(folder).as_posix()
        own = inner in (".", loaded.get("env"), *environments) or folder.name.startswith(f"{inner}_")
        if own and files:
            merged.update(loaded)
            found.files += files
            found.problems += problems
            if place != folder:
                break
    _promote(found, merged)
    return found


def _settings_folders(folder: Path) -> list[Path]:
    """Sub-folders with rl_zoo3's settings; an environment id like ``ALE/Pong-v5`` makes two levels."""
    files = [path for inner in ("*", "*/*") for name in ("args.yml", "config.yml") for path in folder.glob(f"{inner}/{name}")]
    return sorted({path.parent for path in files if not path.parent.is_symlink()})


def _promote(found: Settings, merged: Mapping[str, Any]) -> None:
    """Takes algorithm, environment and seed out of the settings, and what is no setting."""
    algo = merged.get("algo") or merged.get("algorithm")
    env = merged.get("env") or merged.get("env_id") or merged.get("env_name")
    seed = merged.get("seed")
    found.algo = algo if isinstance(algo, str) else None
    found.env = env if isinstance(env, str) and "<" not in env else None
    found.seed = seed if isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed <= MAX_SEED else None
    dropped = LOGGING_KEYS | {"algo", "algorithm", "env", "env_id", "env_name", "seed"}
    if merged.get("optimize_hyperparameters") is not True:
        dropped |= TUNING_KEYS
    found.values = {key: value for key, value in merged.items() if key not in dropped}


def _load(path: Path) -> dict[str, Any]:
    """One settings file as clean JSON values.

    Raises:
        SourceError: Not a mapping, not well formed, or it asks for Python objects.
        ValueError: Too deep or too large.
    """
    data = read_bounded(path, MAX_SETTINGS_BYTES)
    loaded = _json(path, data) if path.suffix == ".json" else load_yaml(path.name, data)
    if not isinstance(loaded, Mapping):
        raise SourceError(f"{path.name} is not read", "it holds no settings by name", "look at the file")
    return clean_settings(loaded)


def _json(path: Path, data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path.name} is not read", f"it is not well-formed JSON: {error}", "look at the file") from error


def load_yaml(name: str, data: bytes) -> object:
    r"""Loads YAML safely. The one tag of rl_zoo3, an OrderedDict, becomes a dictionary; every other tag is refused.

    Raises:
        SourceError: Not well formed, or a tag that asks for a Python object.

    >>> load_yaml("a.yml", b"!!python/object/apply:collections.OrderedDict\n- - - lr\n    - 0.1\n")
    {'lr': 0.1}
    """
    import yaml

    try:
        return yaml.load(data, Loader=_loader())  # noqa: S506 -- a SafeLoader with one tag more
    except yaml.constructor.ConstructorError as error:
        why = f"it asks for a Python object, which is never made: {error.problem}"
        raise SourceError(f"{name} is not read", why, "write its settings as plain YAML") from error
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, TypeError, AttributeError) as error:  # PyYAML's own slips
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(f"{name} is not read", f"it is no YAML that openrlb reads: {first}", "look at the file") from error


@lru_cache(maxsize=1)
def _loader() -> type:
    """A safe YAML loader that knows rl_zoo3's OrderedDict."""
    import yaml

    class Loader(yaml.SafeLoader):
        """SafeLoader with one tag more, without merge keys, and with a limit on what aliases grow to."""

        def __init__(self, stream: bytes) -> None:
            super().__init__(stream)
            self.nodes = 0
            self.sizes: dict[int, int] = {}

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            """One node; an alias counts as many nodes as what it stands for."""
            alias, before = self.check_event(yaml.AliasEvent), self.nodes
            node = super().compose_node(parent, index)
            if alias:
                if id(node) not in self.sizes:
                    raise yaml.composer.ComposerError(None, None, "an alias inside what it stands for", None)
                self.nodes += self.sizes[id(node)]
            else:
                self.nodes += 1
                self.sizes[id(node)] = self.nodes - before
            if self.nodes > _MAX_NODES:
                raise yaml.composer.ComposerError(None, None, f"more than {_MAX_NODES:,} values, aliases written out", None)
            return node

        def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 -- the stub says dict, it is a name
            """One mapping; a merge key multiplies what it names, so it is refused."""
            node = super().compose_mapping_node(anchor)
            if any(key.tag == _MERGE for key, _ in node.value):
                raise yaml.composer.ComposerError(None, None, "merge keys (<<) are not read", node.start_mark)
            return node

    def ordered(loader: yaml.SafeLoader, node: yaml.Node) -> dict[Any, Any]:
        if not isinstance(node, yaml.SequenceNode):
            raise yaml.constructor.ConstructorError(None, None, "an OrderedDict that is no list of pairs", node.start_mark)
        arguments = loader.construct_sequence(node, deep=True)
        pairs = arguments[0] if arguments else []
        if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            raise yaml.constructor.ConstructorError(None, None, "an OrderedDict that is no list of pairs", node.start_mark)
        try:
            return dict(pairs)
        except TypeError as error:
            raise yaml.constructor.ConstructorError(None, None, "an OrderedDict with unusable keys", node.start_mark) from error

    Loader.add_constructor(_ORDERED, ordered)
    return Loader
