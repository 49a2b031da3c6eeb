"""From what a tracker's file says of a run (settings, series by name) to the run: a ``--map``, typed or guessed.

A map's words for algorithm, environment, seed, tags and ``config.`` are keys of the run's settings, ``value`` and ``step``
are names of logged metrics.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from openrlb.errors import MapError, SourceError
from openrlb.sources.guess import absent, shown, usual
from openrlb.sources.identity import clean_settings, is_personal
from openrlb.sources.mapping import Expression, Map
from openrlb.sources.metrics import USUAL_COLUMNS, declared, kind_is_unknown, metric, names_something_else
from openrlb.sources.pattern import PathPattern
from openrlb.sources.proposal import described, propose
from openrlb.sources.protocol import MAX_SEED, Guess, Reading
from openrlb.sources.run_identity import ATARI_FRAME_SKIP, counts_frames
from openrlb.sources.tables import path_fields
from openrlb.types import EPISODIC_RETURN, Metric, MetricBatch, Run, RunBatch, RunState, StepUnit

if TYPE_CHECKING:
    from openrlb.types import Steps, Values

KIND_UNTOLD = "the map does not say what one value is (kind=eval, kind=episode, kind=rolling_mean)"
IDENTITY = ("algo", "impl", "env", "seed", "name")
_MARKS = {"cleanrl": re.compile(r"charts/(episodic_return|episodic_length|SPS|learning_rate)"),
          "sb3": re.compile(r"rollout/ep_(rew|len)_mean|time/(fps|total_timesteps)")}  # fmt: skip
_INNER_NAMES = ("name", "id")


@dataclass(frozen=True, slots=True)
class Series:
    """One metric's values on its axis.

    Attributes:
        steps: Shape ``(n,)``, int64.
        values: Shape ``(n,)``, float64.
        times_ms: Milliseconds since the run began, shape ``(n,)``, or None.
    """

    steps: Steps
    values: Values
    times_ms: Steps | None = None


@dataclass(slots=True)
class Tracked:
    """What a tracker's files say of one run.

    Attributes:
        run: The run's id.
        place: What a ``path:`` pattern is matched against.
        location: Where it was read, for the record.
        config: Its settings as logged.
        series: Its metrics by name.
        name: A name for people.
        project: Its project.
        state: How it ended.
        tags: Its tags.
        git_commit: The commit of the training code.
        hardware: The machine, without its name.
        created: When it began, ISO 8601.
        axis_unit: What the axis itself says of its steps; ``unknown`` where it says nothing.
        path_guess: A pattern for the path that its names fit, or None.
        blobs: Files to keep.
        files: Their hashes.
        notes: What was noticed.
    """

    run: str
    place: Path
    location: str
    config: dict[str, Any]
    series: dict[str, Series]
    name: str
    project: str
    state: RunState = "unknown"
    tags: tuple[str, ...] = ()
    git_commit: str | None = None
    hardware: dict[str, Any] = field(default_factory=dict)
    created: str | None = None
    axis_unit: StepUnit = "unknown"
    path_guess: str | None = None
    blobs: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def run_of(tracked: Tracked, reading: Reading) -> Iterator[Guess | RunBatch]:
    """The run, after the map that was guessed for it where one was.

    Raises:
        MapError: Algorithm or environment are not known, or the map does not fit.
        SourceError: The settings are no settings (too many, too deep).
    """
    own = _mirrored(tracked)
    given = reading.map
    fitted = _fit(given, tracked, path_fields(reading, tracked.place))
    told = _told(fitted, tracked, reading)
    if fitted != given and str(fitted) not in reading.guesses:
        reading.guesses.add(str(fitted))
        yield Guess(tracked.location, str(fitted))
    batches = tuple(_batches(fitted, tracked))
    impl = str(told.get("impl") or own.get("impl") or implementation(tracked.series))
    unit = (
        reading.options.step_unit
        or own.get("step_unit")
        or (tracked.axis_unit if tracked.axis_unit != "unknown" or not impl else "agent_step")
    )
    if unit == "unknown":
        tracked.notes.append("what a step counts is not said: --step-unit agent_step, or frame, puts it beside other runs")
    frames = ATARI_FRAME_SKIP if impl and unit == "agent_step" and counts_frames(str(told["env"])) else None
    promoted = {fitted.fields[name].text.removeprefix("config.") for name in IDENTITY if name in fitted.fields}
    # wherever the map takes them from, the settings' own words for these two do not make another variant
    promoted |= {found for name in ("env", "seed") if (found := _usual_key(name, _scalar_keys(tracked.config)))}
    extra = {key[7:]: value for key, value in told.items() if key.startswith("config.")}
    tags = [str(value) for key, value in told.items() if key.startswith("tag")]
    yield RunBatch(
        Run(
            source="folder",
            run=tracked.run,
            project=tracked.project,
            name=str(told.get("name") or tracked.name),
            algo=str(told["algo"]).strip(),
            env=str(told["env"]).strip(),
            impl=impl,
            seed=told.get("seed"),
            state=tracked.state,
            config=_cleaned({**without(tracked.config, promoted), **extra}, tracked),
            tags=tuple(dict.fromkeys([*tracked.tags, *tags])),
            step_unit=unit,
            frames_per_step=reading.options.frames_per_step or frames,
            normalized=reading.options.already_normalized,
            git_commit=tracked.git_commit,
            requirements=tracked.files.get("requirements.txt"),
            files=tracked.files,
            hardware=tracked.hardware,
            created=tracked.created,
            location=tracked.location,
            notes=tuple(dict.fromkeys(tracked.notes)),
        ),
        batches,
        tracked.blobs,
    )


def _mirrored(tracked: Tracked) -> dict[str, Any]:
    """What a mirror says of the run that it mirrors (``tracking/mirror.py``), taken out of its settings."""
    own = tracked.config.get("openrlb")
    if not isinstance(own, Mapping) or not isinstance(own.get("run"), str) or own.get("step_unit") not in get_args(StepUnit):
        return {}
    tracked.config = {key: value for key, value in tracked.config.items() if key != "openrlb"}
    tracked.notes.append(f"this mirrors the run {own['run'][:80]} of openrlb: where both are stored, they are one run twice")
    return {**own, "impl": str(own.get("impl") or "")[:200]} | ({"step_unit": None} if own["step_unit"] == "unknown" else {})


def implementation(names: Sequence[str] | Mapping[str, object]) -> str:
    """The implementation whose metric names these are, or an empty string.

    >>> implementation(["charts/SPS", "losses/value_loss"]), implementation(["eval/return"])
    ('cleanrl', '')
    """
    return next((impl for impl, mark in _MARKS.items() if any(mark.fullmatch(name) for name in names)), "")


def setting(values: Mapping[str, Any], key: str) -> object:
    """A setting by its dotted name, with or without ``config.`` before it, or None.

    >>> setting({"env": {"name": "Hopper-v4"}}, "config.env.name"), setting({"a.b": 1}, "a.b")
    ('Hopper-v4', 1)
    """
    for name in (key, key.removeprefix("config.")):
        if name in values:
            return values[name]
    first, _, rest = key.removeprefix("config.").partition(".")
    inner = values.get(first)
    return setting(inner, rest) if rest and isinstance(inner, Mapping) else None


def _fit(given: Map, tracked: Tracked, in_path: Collection[str]) -> Map:
    """The map with what was guessed: usual keys of the settings, then the path's own parts.

    Raises:
        MapError: Algorithm or environment can neither be found nor guessed, or a value column is not there.
    """
    for name in given.values:
        if name not in tracked.series:
            raise absent(name, tuple(tracked.series))
    fields, paths, values = dict(given.fields), given.paths, given.values
    keys = _scalar_keys(tracked.config)
    for name in ("algo", "env", "seed"):
        if name not in fields and name not in in_path:
            found = _usual_key(name, keys)
            if found:
                fields[name] = Expression(f"config.{found}")
    if tracked.path_guess and not given.paths:
        pattern = PathPattern.parse(tracked.path_guess)
        if ({"algo", "env", "seed"} - set(fields)) & set(pattern.names):
            paths, in_path = (pattern,), pattern.names
    missing = [name for name in ("algo", "env") if name not in fields and name not in in_path]
    if missing:
        raise _unknown(replace(given, fields=fields), missing, keys, tracked)
    if not values and not any(metric(name).canonical == EPISODIC_RETURN for name in tracked.series):
        guessed = usual("value", list(tracked.series))
        values = (guessed,) if guessed else ()
        if not guessed:
            example = next((name for name in tracked.series if not names_something_else(name)), "eval/return")
            tracked.notes.append(f"no metric is known to be a return: name it with --map, for instance value={example}")
    return replace(given, fields=fields, paths=paths, values=values)


def _scalar_keys(config: Mapping[str, Any], before: str = "", depth: int = 0) -> dict[str, Any]:
    """The settings that hold single values, by dotted key."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and depth < 3:
            found |= _scalar_keys(value, f"{before}{key}.", depth + 1)
        elif isinstance(value, str | int | float) and not isinstance(value, bool) and value != "" and not is_personal(str(key)):
            found[f"{before}{key}"] = value
    return found


def _usual_key(name: str, keys: Mapping[str, Any]) -> str | None:
    """The settings key that usually holds a field: ``env_id``, or ``env.name`` where the settings are nested.

    >>> _usual_key("env", {"lr": 0.1, "env.name": "Hopper-v4"}), _usual_key("seed", {"seed": "none"})
    ('env.name', None)
    """
    fitting = {key: value for key, value in keys.items() if (seed_of(value) is not None) == (name == "seed")}
    found = usual(name, list(fitting))
    if found or name == "seed":
        return found
    inner = [f"{word}.{end}" for word in USUAL_COLUMNS[name] for end in (*_INNER_NAMES, *USUAL_COLUMNS[name])]
    by_name = {key.lower(): key for key in reversed(fitting)}
    return next((by_name[key] for key in inner if key in by_name), None)


def _unknown(fitted: Map, missing: Sequence[str], keys: Mapping[str, Any], tracked: Tracked) -> MapError:
    """The error for a run whose algorithm or environment nothing tells: what there is, and one whole map to start from."""
    found = propose(replace(fitted, paths=()), keys, tracked.series)
    why = f"settings: {described(keys)}; logged: {shown(tuple(tracked.series)) or 'nothing'}"
    if not tracked.config:
        why = f"it logged no settings, and the path's names do not tell; logged: {shown(tuple(tracked.series)) or 'nothing'}"
    what = " and ".join({"algo": "the algorithm", "env": "the environment"}[name] for name in missing)
    verb = "is" if len(missing) == 1 else "are"
    fix = f"add {found.flags()}  {found.remark()}, or take parts of the path: path:{{algo}}/{{env}}_{{seed}}"
    return MapError(f"{what} {verb} not known", why, fix)


def _told(fitted: Map, tracked: Tracked, reading: Reading) -> dict[str, Any]:
    """What the fitted map says of this run.

    Raises:
        MapError: It names a setting for algorithm or environment that is not there, or a seed that is none.
    """
    guessed_path = fitted.paths != reading.map.paths
    told: dict[str, Any] = {}
    if fitted.paths:
        fitted_reading = replace(reading, map=fitted) if guessed_path else reading
        told |= path_fields(fitted_reading, tracked.place)
    sources: dict[str, Expression] = {name: fitted.fields[name] for name in IDENTITY if name in fitted.fields}
    sources |= {f"config.{key}": source for key, source in fitted.config.items()}
    sources |= {f"tag {number}": source for number, source in enumerate(fitted.tags)}
    for name, source in sources.items():
        value = source.text if source.constant else setting(tracked.config, source.text)
        if value is not None and not isinstance(value, Mapping | list) and str(value).strip():
            told[name] = value
        elif name in ("algo", "env"):
            raise absent(source.text, tuple(_scalar_keys(tracked.config)))
        else:
            tracked.notes.append(f"the map's {name.split()[0]}={source} names no setting of this run")
            if name in reading.map.fields:
                reading.unheld.setdefault(name, absent(source.text, tuple(_scalar_keys(tracked.config))))
    told |= {"seed": _whole_seed(told["seed"])} if "seed" in told else {}
    ignored = [name for name in ("metric", "id") if name in fitted.fields]
    tracked.notes += [f"the map's {name}= is for tables: a tracked run has its own" for name in ignored]
    return told


def _whole_seed(value: object) -> int:
    seed = seed_of(value)
    if seed is None:
        raise MapError(f"seed={value} is not usable", "a seed is a whole number", "name another key, or write --map \"seed='1'\"")
    return seed


def seed_of(value: object) -> int | None:
    """A value as a seed, digit by digit (a float holds no seed above 2^53), or None.

    >>> seed_of("7"), seed_of(1.0), seed_of(2**53 + 1), seed_of(2**63), seed_of("ppo"), seed_of(True)
    (7, 1, 9007199254740993, None, None, None)
    """
    if isinstance(value, bool) or not re.fullmatch(r"[+]?\d{1,19}(\.0*)?", str(value).strip()):
        return None
    seed = int(str(value).strip().split(".")[0])
    return seed if seed <= MAX_SEED else None


def without(config: Mapping[str, Any], promoted: set[str]) -> dict[str, Any]:
    """The settings without those that became the run's algorithm, environment and seed."""
    kept: dict[str, Any] = {}
    for key, value in config.items():
        if key in promoted:
            continue
        inner = {name.partition(".")[2] for name in promoted if name.startswith(f"{key}.")}
        kept[key] = without(value, inner) if inner and isinstance(value, Mapping) else value
    return kept


def _cleaned(config: Mapping[str, Any], tracked: Tracked) -> dict[str, Any]:
    try:
        return clean_settings(config)
    except ValueError as error:
        raise SourceError(f"{tracked.location} is not read", f"its settings hold {error}", "look at the run") from error


def _batches(fitted: Map, tracked: Tracked) -> Iterator[MetricBatch]:
    """Every metric; those that the map calls a value are returns, of the kind that it says."""
    kind = fitted.kind()
    returns = [name for name in fitted.values if not names_something_else(name)][:1]
    for name, series in tracked.series.items():
        if not len(series.values):
            continue
        found: Metric = metric(name)
        if name in fitted.values:
            sure = name in returns
            found = declared(name, kind) if sure else metric(name, kind if found.canonical else None)
            if sure and kind is None and kind_is_unknown(name):
                tracked.notes.append(KIND_UNTOLD)
        yield MetricBatch(found, series.steps, series.values, series.times_ms)
