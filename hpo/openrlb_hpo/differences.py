"""What makes one study another than an older one, so that nobody begins anew what was to go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from openrlb_hpo.records import StudyRecord, StudySettings

_LABELS = {
    "algo": "the algorithm",
    "impl": "--impl",
    "runner_source": "the source of the runner",
    "lock": "the lock of the runner's environment",
    "envs": "--env",
    "space": "what --space declares",
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
_SAID_BY_OTHERS = ("kind",)
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
        if name == "space" and (one.space_name, one.space_digest) != (other.space_name, other.space_digest):
            continue  # said by its name or its ranges
        label = _LABELS.get(name, f"--{name.replace('_', '-')}")
        if name == "baselines":
            values = tuple([baseline.name for baseline in value] for value in values)  # type: ignore[assignment]
        told = [_told(value) for value in values]
        brief = label.startswith("--") and told[0] != told[1] and max(map(len, told)) <= _LONGEST
        found.append(f"{label}: {told[0]} and {told[1]}" if brief else label)
    return tuple(dict.fromkeys(found))


def unfinished_alike(settings: StudySettings, studies: Iterable[StudyRecord]) -> tuple[str, ...]:
    """What to say before a study is begun beside others of its algorithm and environments that are not finished.

    Args:
        settings: The study that is to begin, or goes on.
        studies: The studies that are there.

    Returns:
        A sentence for each: what differs, and how to go on with it.
    """
    from openrlb_hpo.contract import verify
    from openrlb_hpo.planner import Done, next_step

    found = []
    for one in studies:
        theirs = one.settings
        if theirs.algo != settings.algo or {*theirs.envs} != {*settings.envs} or theirs.digest == settings.digest or verify(one):
            continue
        held = [row.number for row in one.reservations if row.state == "open"]
        if isinstance(next_step(one, held), Done):
            continue
        unlike = "; ".join(settings_that_differ(theirs, settings))
        here = (theirs.impl, theirs.lock, theirs.runner_source) == (settings.impl, settings.lock, settings.runner_source)
        how = f"openrlb worker {one.name} goes on with it" if here else "the openrlb that began it goes on with it"
        found.append(f"{one.name} is not finished, and differs from this study ({unlike}): {how}")
    return tuple(found)


def _told(value: object) -> str:
    """A setting for people."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={one}" for key, one in value.items()) or "none"
    return str(value)
