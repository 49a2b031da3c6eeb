"""What presets there are: how the projects of known libraries log, and reading flags that were kept under a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from openrlb import config
from openrlb.errors import UsageError

if TYPE_CHECKING:
    from openrlb.sources.presets import Preset

PACKAGED = "openrlb"
"""Where a preset that nobody changed is kept."""
OWN = "openrlb.toml"
"""Where a user's presets are kept."""


@dataclass(frozen=True, slots=True)
class PresetRow:
    """One preset.

    Attributes:
        name: Its name.
        use: What to type.
        source: The W&B project; empty for kept reading flags, which fit any folder.
        impl: The implementation's name.
        map: The same as ``--map`` words; where a field has several keys, the likeliest.
        keys: Every key that a field may have, the likeliest first.
        metrics: What one value of each metric is.
        step_unit: What steps count.
        frames_per_step: Frames of one agent step, by glob of environments.
        kept: ``openrlb`` for a packaged one, else ``openrlb.toml``.
        others: Further flags of a kept reading.
    """

    name: str
    use: str
    source: str
    impl: str
    map: str
    keys: dict[str, list[str]]
    metrics: dict[str, str]
    step_unit: str
    frames_per_step: dict[str, int]
    kept: str
    others: dict[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, Any]:
        """The row as a table shows it."""
        metrics = [f"{name} ({kind})" for name, kind in self.metrics.items()]
        frames = [f"{count}" if glob == "*" else f"{glob}: {count}" for glob, count in self.frames_per_step.items()]
        return asdict(self) | {"kinds": metrics, "frames": frames}


def presets(names: Sequence[str] = ()) -> list[PresetRow]:
    """Every preset, or those that are named: W&B projects first, then kept reading flags.

    Raises:
        UsageError: No preset has a name, or one in ``openrlb.toml`` cannot be understood.

    >>> [row] = presets(["sb3"])
    >>> row.use, row.map
    ('openrlb fetch sb3', 'algo=algo,env=env,seed=seed,step=global_step,value=rollout/ep_rew_mean|eval/mean_reward')
    """
    from openrlb.sources.presets import load_presets

    mine = config.merged()
    tracked = load_presets(mine.get(config.TRACKED, {}))
    rows = [_tracked_row(one, name in mine.get(config.TRACKED, {})) for name, one in tracked.items()]
    rows += [_kept_row(name) for name in mine.get(config.PRESETS, {})]
    for name in names:
        if name not in {row.name for row in rows}:
            raise unknown(name, [row.name for row in rows])
    return [row for row in rows if not names or row.name in names]


def reading(name: str) -> dict[str, Any]:
    """The reading flags kept under a name.

    Raises:
        UsageError: No such name, or it is a project's.
    """
    from openrlb.sources.presets import load_presets

    mine = config.merged()
    if name not in mine.get(config.PRESETS, {}) and name in load_presets(mine.get(config.TRACKED, {})):
        raise UsageError(
            f"the preset {name} is a W&B project", "--preset names flags for reading a folder", f"openrlb fetch {name}"
        )
    return config.preset(name)


def unknown(name: str, known: Sequence[str]) -> UsageError:
    """The error for a preset that there is none of, with the nearest name."""
    from openrlb.store.environments import nearest

    close = nearest(name, known)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return UsageError(
        f"there is no preset {name!r}", f"presets are {', '.join(known)}", f"{hint}openrlb fetch --presets shows all"
    )


def tracked_table(entity: str, project: str, words: Sequence[str], flags: dict[str, Any]) -> dict[str, Any]:
    """How a W&B project logs, as ``openrlb.toml`` keeps it in ``[wandb.NAME]``.

    Args:
        entity: The entity.
        project: The project.
        words: The ``--map`` it was read with.
        flags: ``step_unit`` and ``frames_per_step``, where they were given.

    Raises:
        UsageError: The map says something that such a table has no key for.

    >>> tracked_table("lab", "weird", ["env=problem,algo='PPO',step=t,value=score,kind=eval"], {"step_unit": "frame"})["metrics"]
    {'score': 'eval'}
    """
    from openrlb.sources.mapping import Map
    from openrlb.sources.metrics import declared

    told = Map.parse(words)
    beyond = [*(["path:"] if told.paths else []), *(["config."] if told.config else []), *(["tag="] if told.tags else [])]
    impl = told.fields.get("impl")
    beyond += ["impl="] if impl is not None and not impl.constant else []
    if beyond:
        why = f"a project's table in openrlb.toml has no key for {' and '.join(beyond)}"
        raise UsageError("the map cannot be kept as a preset", why, "leave that out, or give the --map each time")
    table: dict[str, Any] = {"entity": entity, "project": project}
    for name in ("env", "algo", "seed"):
        if name in told.fields:
            source = told.fields[name]
            table[name] = [f"'{source.text}'" if source.constant else source.text]
    table |= {"impl": impl.text} if impl is not None else {}
    table |= {"step": told.fields["step"].text} if "step" in told.fields else {}
    table |= {key: flags[key] for key in ("step_unit", "frames_per_step") if flags.get(key)}
    if told.values:
        table["metrics"] = {name: told.kind() or declared(name).kind for name in told.values}
    return table


def _tracked_row(preset: Preset, mine: bool) -> PresetRow:
    """A project's preset."""
    keys = {name: list(getattr(preset, name)) for name in ("env", "algo", "seed")} | {
        "step": [preset.step] if preset.step else []
    }
    items = [f"{name}={keys[name][0]}" for name in ("algo", "env", "seed", "step") if keys[name]]
    items += ["value=" + "|".join(metric.name for metric in preset.metrics)] if preset.metrics else []
    return PresetRow(
        name=preset.name,
        use=f"openrlb fetch {preset.name}",
        source=f"wandb:{preset.entity}/{preset.project}" if preset.entity and preset.project else "",
        impl=preset.impl,
        map=",".join(items),
        keys={name: found for name, found in keys.items() if found},
        metrics={metric.name: metric.kind for metric in preset.metrics},
        step_unit=preset.step_unit,
        frames_per_step=dict(preset.frames_per_step),
        kept=OWN if mine else PACKAGED,
    )


def _kept_row(name: str) -> PresetRow:
    """Kept reading flags."""
    entry = config.preset(name)
    frames = entry.pop("frames_per_step", None)
    return PresetRow(
        name=name,
        use=f"openrlb fetch FOLDER --preset {name}",
        source="",
        impl="",
        map=",".join(entry.pop("map", ())),
        keys={},
        metrics={},
        step_unit=entry.pop("step_unit", ""),
        frames_per_step={"*": frames} if frames else {},
        kept=OWN,
        others=entry,
    )
