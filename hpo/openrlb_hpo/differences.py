"""What makes one study another than an older one, so that nobody begins anew what was to go on."""

from __future__ import annotations

from collections.abc import Mapping

from openrlb_hpo.records import StudySettings

_LABELS = {
    "algo": "the algorithm",
    "impl": "--impl",
    "runner_source": "the source of the runner",
    "lock": "the lock of the runner's environment",
    "envs": "--env",
    "space_name": "--space",
    "space_digest": "the ranges of --space",
    "fixed": "--set",
    "env_kwargs": "--env-set",
    "eta": "--racing",
    "test_block": "--fresh-test-seeds",
    "baselines": "--baseline",
    "first": "the configurations that are tried first",
    "normalization": "--normalize",
    "scale": "the scale of --normalize",
    "evaluation": "--eval-every or --eval-episodes",
    "repetition": "--new-study",
}
_SAID_BY_OTHERS = ("space", "kind")
_LONGEST = 40


def settings_that_differ(one: StudySettings, other: StudySettings) -> tuple[str, ...]:
    """What makes two studies different ones, in words of the command line, with the values of both.

    Args:
        one: The settings of a study.
        other: Those of another.

    >>> mine = StudySettings("ppo", "sb3", "s", "l", ("CartPole-v1",), 1000, {}, "zoo", "d")
    >>> from dataclasses import replace
    >>> settings_that_differ(mine, replace(mine, steps=2000, tuning_seeds=1))
    ('--steps: 1000 and 2000', '--tuning-seeds: 3 and 1')
    >>> settings_that_differ(mine, replace(mine, lock="another")), settings_that_differ(mine, mine)
    (("the lock of the runner's environment",), ())
    """
    found = []
    for name in StudySettings.__dataclass_fields__:
        values = getattr(one, name), getattr(other, name)
        if values[0] == values[1] or name in _SAID_BY_OTHERS:
            continue
        label = _LABELS.get(name, f"--{name.replace('_', '-')}")
        if name == "baselines":
            values = tuple([baseline.name for baseline in value] for value in values)  # type: ignore[assignment]
        told = [_told(value) for value in values]
        brief = label.startswith("--") and told[0] != told[1] and max(map(len, told)) <= _LONGEST
        found.append(f"{label}: {told[0]} and {told[1]}" if brief else label)
    return tuple(dict.fromkeys(found))


def _told(value: object) -> str:
    """A setting for people."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={one}" for key, one in value.items()) or "none"
    return str(value)
