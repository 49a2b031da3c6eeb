"""Groups of comparable runs: which runs are the same variant, which keys tell variants apart, which runs are doubles.

A variant is algorithm, implementation, source and project, and the configuration without what does not change training.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

from openrlb.errors import SelectionError, UsageError
from openrlb.store.segment import origin
from openrlb.store.variant import flat_config, is_logging_key
from openrlb.types import Curve, Run
from openrlb_analysis.result import Excluded

MAX_VARIANTS = 12
MOST_KEYS = 3
"""Variants that have a name are told apart from those of the same name by so many keys at most."""
FIELDS = ("algo", "impl", "source", "project", "env", "tag", "study", "commit")
"""What ``--by`` takes, beside ``config.KEY``."""

_UNSET = "(unset)"
_COMPLETED = {"finished": 3, "unknown": 2, "diverged": 1}
_LONG_ENOUGH = 0.95
"""A run that ends before this share of its longest double does not stand for it."""

_NAMES = ("name", "group")
"""Top-level keys that name a run but may hide a setting: said where they differ."""

_ENV_KEY = re.compile(r"(gym_?)?(env|environment|task|game|gym)(_?(name|id))?")
_SEED_KEY = re.compile(r"(?!n_|num_|number_)(.*_)?seeds?(_(id|number|value))?|random_state")
_NAME_KEY = re.compile(
    r"path|dir|directory|folder|run|output|(run|exp|experiment|job|trial|log|save|output|out|results?|checkpoint|ckpt|video)"
    r"_?(name|id|path|dir|directory|folder|file)"
)


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that are compared as one.

    Attributes:
        label: The shortest name that tells the group from the others, or the name the reader gave it.
        algo: The algorithm; several are joined by ``+``.
        impl: The implementation, in the same way.
        variant: What sets it apart from its siblings: ``key=value`` pairs, or an empty text.
        by: The values that define the group.
        curves: Its runs.
    """

    label: str
    algo: str
    impl: str
    variant: str
    by: Mapping[str, Any]
    curves: tuple[Curve, ...]


@dataclass(frozen=True, slots=True)
class Grouping:
    """All groups, the runs left out as doubles, and what a reader must know."""

    groups: tuple[Group, ...]
    excluded: tuple[Excluded, ...]
    notes: tuple[str, ...]


def group_runs(
    curves: Sequence[Curve], by: Sequence[str] = (), labels: Mapping[str, str] | Sequence[str] = (), pool: bool = False
) -> Grouping:
    """Sorts runs into groups.

    Args:
        curves: One curve of each run.
        by: What defines a group: names of :data:`FIELDS` and ``config.KEY``; empty for one group per variant.
        labels: New names, as a mapping or as ``OLD=NEW`` texts.
        pool: One group for each algorithm and implementation, whatever else differs.

    Raises:
        SelectionError: More than 12 variants of one algorithm.
        UsageError: An unknown ``by`` or label, or ``by`` together with ``pool``.
    """
    if by and pool:
        raise UsageError("--by and --pool exclude each other", "--pool groups by algorithm and implementation", "use one of them")
    curves, copies = _without_copies(curves)
    settings = {id(curve): _settings(curve.run) for curve in curves}
    dropped = {id(curve): _names(curve.run) for curve in curves}
    families: dict[tuple[str, ...], list[Curve]] = defaultdict(list)
    for curve in curves:
        families[_family(curve.run)].append(curve)
    for members in families.values():
        _drop_restatements(members, settings, dropped)
    kept, excluded = _without_doubles(curves, {one: settings[one] | dropped[one] for one in settings})
    if by or pool:
        groups, notes = _explicit(kept, tuple(by) or ("algo", "impl"), settings)
    else:
        groups, notes = _variants(kept, settings)
    return Grouping(_relabel(groups, labels), (*copies, *excluded), (*notes, *_dropped_notes(families, dropped)))


def _family(run: Run) -> tuple[str, str, str, str]:
    """What a variant is a variant of."""
    return run.algo, run.impl, run.source, run.project


def _settings(run: Run) -> dict[str, str]:
    """The configuration that may tell variants apart: key and the value as text, without logging keys."""
    return {key: _text(value) for key, value in flat_config(run.config).items() if not is_logging_key(key, value)}


def _names(run: Run) -> dict[str, str]:
    """The top-level keys of the configuration that name the run or its group."""
    return {str(key): _text(value) for key, value in run.config.items() if str(key).lower() in _NAMES}


_ENCODED = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str).encode


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """One text for equal JSON values: 1 and 1.0 are the same number."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, str):
        return value
    if type(value) is int or (type(value) is float and isfinite(value)):  # as the encoder has it, in a tenth of its time
        return repr(value)
    return _ENCODED(value)


def _drop_restatements(
    members: Sequence[Curve], settings: Mapping[int, dict[str, str]], dropped: Mapping[int, dict[str, str]]
) -> None:
    """Moves keys to ``dropped`` that by their name and their values only repeat the run's environment, seed or name.

    Equal values alone say nothing: a sweep's folders are often named after the value that is varied.
    """
    names = [name for curve in members for name in {curve.run.run, curve.run.name} if name]
    unique = {name for name in names if names.count(name) == 1 and len(name) > 3}
    for key in sorted({key for curve in members for key in settings[id(curve)]}):
        having = [(curve.run, settings[id(curve)][key]) for curve in members if key in settings[id(curve)]]
        repeats = (
            (_is_called(key, _ENV_KEY) and all(value == run.env for run, value in having))
            or (_is_called(key, _SEED_KEY) and all(value == str(run.seed) for run, value in having))
            or (
                _is_called(key, _NAME_KEY)
                and all(any(name in value for name in {run.run, run.name} & unique) for run, value in having)
            )
        )
        if repeats:
            for curve in members:
                if key in settings[id(curve)]:
                    dropped[id(curve)][key] = settings[id(curve)].pop(key)


def _is_called(key: str, pattern: re.Pattern[str]) -> bool:
    """True where the last part of a dotted key, or the last two (``env.id``), are such a name."""
    parts = [part.lower().replace("-", "_").strip("_") for part in key.split(".")]
    return any(pattern.fullmatch("_".join(parts[-count:])) is not None for count in (1, 2))


def _dropped_notes(
    families: Mapping[tuple[str, ...], Sequence[Curve]], dropped: Mapping[int, Mapping[str, str]]
) -> tuple[str, ...]:
    """Names the keys that differ and yet make no variants, because of what they are called."""
    notes, labels = [], _family_labels(list(families))
    for family, members in sorted(families.items()):
        keys = sorted({key for curve in members for key in dropped[id(curve)]})
        differing = [key for key in keys if len({dropped[id(curve)].get(key, _UNSET) for curve in members}) > 1]
        if differing:
            what = "taken for names of the run, its environment or its seed, not for variants"
            notes.append(f"{labels[family]}: {what}: {', '.join(differing)} (--by config.KEY splits by one)")
    return tuple(notes)


def _without_copies(curves: Sequence[Curve]) -> tuple[list[Curve], tuple[Excluded, ...]]:
    """Leaves out runs that came in a bundle where the run itself is there too: by any grouping, one run counts once."""
    own = {(curve.run.source, curve.run.run, curve.metric.kind): curve for curve in curves}
    kept, excluded = [], []
    for curve in curves:
        itself = own.get((origin(curve.run.source), curve.run.run, curve.metric.kind))
        if itself is None or itself is curve:
            kept.append(curve)
        else:
            alike = "the same values" if _same_values(curve, itself) else "other values"
            told = f"copy from a bundle of a run that is there itself ({itself.run.source}; {alike})"
            excluded.append(Excluded(curve.run.run, told))
    return kept, tuple(excluded)


def _same_values(curve: Curve, other: Curve) -> bool:
    """Whether two curves are equal to the bit."""
    return curve.values.tobytes() == other.values.tobytes() and curve.steps.tobytes() == other.steps.tobytes()


def _without_doubles(curves: Sequence[Curve], settings: Mapping[int, dict[str, str]]) -> tuple[list[Curve], tuple[Excluded, ...]]:
    """Of runs of one variant, environment, seed and metric kind, keeps the one to be used."""
    alike: dict[tuple[Any, ...], list[Curve]] = defaultdict(list)
    for curve in curves:
        if curve.run.seed is None:
            key: tuple[Any, ...] = (id(curve),)
        else:
            key = (
                *_family(curve.run),
                curve.run.env,
                curve.run.seed,
                curve.metric.kind,
                json.dumps(settings[id(curve)], sort_keys=True),
            )
        alike[key].append(curve)
    kept, excluded = [], []
    for members in alike.values():
        longest = max((_end(curve) for curve in members if curve.run.state in _COMPLETED), default=0)
        best, *others = sorted(members, key=lambda curve: _preference(curve, longest), reverse=True)
        kept.append(best)
        excluded += [Excluded(curve.run.run, _double(curve, best)) for curve in others]
    return kept, tuple(excluded)


def _end(curve: Curve) -> int:
    """The last step of a curve, 0 where it has no values."""
    return int(curve.steps[-1]) if len(curve.steps) else 0


def _preference(curve: Curve, longest: int) -> tuple[bool, bool, bool, int, str, str, int, str]:
    """Larger for the run to be used among doubles.

    First a run that is no reproduction and ended by itself, not before 95 % of the longest such double; then ``finished``
    before ``unknown`` before ``diverged``; then the newest.
    """
    run = curve.run
    long = _end(curve) * 100 >= longest * round(_LONG_ENOUGH * 100)
    own, rank = run.role != "reproduction", _COMPLETED.get(run.state, 0)
    return own, rank > 0, long, rank, run.created or "", curve.fetched, run.attempt, run.run


def _double(curve: Curve, best: Curve) -> str:
    """Why a run does not count beside its double, and whether their values are the same."""
    where = f" in {best.run.location}" if best.run.location and best.run.location != curve.run.location else ""
    alike = "the same values" if _same_values(curve, best) else "other values: --project at fetch keeps experiments apart"
    return f"duplicate of {best.run.run}{where} (same variant, environment and seed; {alike})"


def _variants(curves: Sequence[Curve], settings: Mapping[int, dict[str, str]]) -> tuple[list[Group], tuple[str, ...]]:
    """One group for each variant, and notes on what differs between environments only."""
    families: dict[tuple[str, ...], list[Curve]] = defaultdict(list)
    for curve in curves:
        families[_family(curve.run)].append(curve)
    names = _family_labels(list(families))
    groups, notes = [], []
    for family, members in sorted(families.items()):
        splitting, per_env = _differing(members, settings)
        short = _short_names(splitting)
        parts: dict[tuple[str, ...], list[Curve]] = defaultdict(list)
        for curve in members:
            parts[tuple(settings[id(curve)].get(key, _UNSET) for key in splitting)].append(curve)
        if len(parts) > MAX_VARIANTS:
            raise SelectionError(
                f"{names[family]} has {len(parts)} variants, more than {MAX_VARIANTS}",
                "its runs differ in " + ", ".join(splitting),
                f"choose the grouping with --by config.{splitting[0]}, or put them together with --pool",
            )
        if per_env:
            notes.append(f"{names[family]}: set per environment, not variants: {', '.join(per_env)}")
        words = _words_of_studies(parts, splitting)
        for values, runs in sorted(parts.items(), key=lambda part: [_natural(value) for value in part[0]]):
            variant = ",".join(f"{short[key]}={value}" for key, value in zip(splitting, values, strict=True))
            algo, impl, source, project = family
            defining = {"algo": algo, "impl": impl, "source": source, "project": project}
            defining |= {f"config.{key}": value for key, value in zip(splitting, values, strict=True)}
            defining |= {"study": words[values]} if words.get(values) else {}
            label = f"{names[family]} {words.get(values, variant)}".strip()
            groups.append(Group(label, algo, impl, variant, defining, tuple(runs)))
    return groups, tuple(notes)


def _words_of_studies(parts: Mapping[tuple[str, ...], Sequence[Curve]], keys: Sequence[str]) -> dict[tuple[str, ...], str]:
    """What variants are to studies, as their names: a tuned one differs from the default in every hyperparameter there is.

    Several of the same words are told apart by the few keys in which they differ; without such words there are none.
    """
    alike: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for values, runs in parts.items():
        ours = [curve.run for curve in runs if "study" not in curve.run.config]  # there it is a key like any other
        told = sorted({study_words(run) for run in ours} - {""})
        alike[" and ".join(told)].append(values)
    if len(parts) < 2 or set(alike) == {""}:
        return {}
    short, found = _short_names(keys), {}
    for words, members in alike.items():
        differing = [at for at in range(len(keys)) if len({values[at] for values in members}) > 1]
        if len(differing) > MOST_KEYS:
            continue
        for values in members:
            found[values] = f"{words} {','.join(f'{short[keys[at]]}={values[at]}' for at in differing)}".strip()
    return found


def _differing(members: Sequence[Curve], settings: Mapping[int, dict[str, str]]) -> tuple[list[str], list[str]]:
    """Keys that differ within an environment, and keys that differ only between environments."""
    keys = sorted({key for curve in members for key in settings[id(curve)]})
    splitting, per_env = [], []
    for key in keys:
        values: dict[str, set[str]] = defaultdict(set)
        for curve in members:
            values[curve.run.env].add(settings[id(curve)].get(key, _UNSET))
        if max(len(seen) for seen in values.values()) > 1:
            splitting.append(key)
        elif len(set().union(*values.values())) > 1:
            per_env.append(key)
    return splitting, per_env


def _family_labels(families: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """The shortest name of each (algo, impl, source, project): brackets only where the algorithm alone is not enough."""
    labels: dict[tuple[str, ...], str] = {}
    for algo in {family[0] for family in families}:
        alike = [family for family in families if family[0] == algo]
        for parts in ((), (1,), (2,), (3,), (1, 2), (1, 3), (2, 3), (1, 2, 3)):
            named = {family: ", ".join(family[part] for part in parts if family[part]) for family in alike}
            if len(set(named.values())) == len(alike):
                break
        labels |= {family: f"{algo} ({inside})" if inside else algo for family, inside in named.items()}
    return labels


def _short_names(keys: Sequence[str]) -> dict[str, str]:
    """The last part of each dotted key where that is enough to tell the keys apart."""
    last = [key.rsplit(".", 1)[-1] for key in keys]
    return {key: short if last.count(short) == 1 else key for key, short in zip(keys, last, strict=True)}


def _natural(value: str) -> tuple[bool, float, str]:
    """Sorts numbers by size and before words."""
    try:
        return False, float(value), ""
    except ValueError:
        return True, 0.0, value


def _explicit(
    curves: Sequence[Curve], by: tuple[str, ...], settings: Mapping[int, dict[str, str]]
) -> tuple[list[Group], tuple[str, ...]]:
    """Groups by what the reader named, and notes on what differs inside them."""
    parts: dict[tuple[str, ...], list[Curve]] = defaultdict(list)
    configs = {id(curve): flat_config(curve.run.config) for curve in curves}
    by = ("algo", *by) if "study" in by and "algo" not in by else by  # a study tunes one algorithm
    for name in by:
        _check_by(name, configs.values())
    for curve in curves:
        parts[tuple(_field(curve.run, name, configs[id(curve)]) for name in by)].append(curve)
    short = _short_names([name for name in by if name.startswith("config.")])
    groups, notes = [], []
    for values, members in sorted(parts.items(), key=lambda part: [_natural(value) for value in part[0]]):
        named = dict(zip(by, values, strict=True))
        plain = [value for name, value in named.items() if name not in short and name != "study" and value]
        variant = ",".join(f"{short[name]}={value}" for name, value in named.items() if name in short)
        rest = f"({', '.join(plain[1:])})" if plain[1:] else ""
        label = " ".join(word for word in (*plain[:1], named.get("study", ""), rest, variant) if word) or "(none)"
        algo, impl = ("+".join(sorted({getattr(curve.run, name) for curve in members} - {""})) for name in ("algo", "impl"))
        groups.append(Group(label, algo, impl, variant, named, tuple(members)))
        differing = [name for name in FIELDS[:4] if name not in by and len({getattr(curve.run, name) for curve in members}) > 1]
        differing += [key for key in _differing(members, settings)[0] if f"config.{key}" not in by]
        if differing:
            notes.append(f"{label} pools runs that differ in {', '.join(differing)}")
    if by == ("algo", "impl"):
        names = _family_labels([(group.algo, group.impl, "", "") for group in groups])
        groups = [replace(group, label=names[group.algo, group.impl, "", ""]) for group in groups]
    return groups, tuple(notes)


def _check_by(name: str, configs: Iterable[Mapping[str, Any]]) -> None:
    """Refuses a ``--by`` that names nothing."""
    if name in FIELDS:
        return
    keys = sorted({key for config in configs for key in config})
    if name.startswith("config.") and name.removeprefix("config.") in keys:
        return
    why = "the selected runs' configurations hold " + (", ".join(keys) or "nothing")
    if not name.startswith("config."):
        why = f"it takes {', '.join(FIELDS)} and config.KEY"
    raise UsageError(f"runs cannot be grouped by {name!r}", why, "try --by algo, or --by config.KEY with a key of the runs")


def _field(run: Run, name: str, config: Mapping[str, Any]) -> str:
    """The value of one ``--by`` name for one run."""
    if name.startswith("config."):
        key = name.removeprefix("config.")
        return _text(config[key]) if key in config else _UNSET
    if name == "tag":
        return ",".join(sorted(run.tags))
    if name == "commit":
        return run.git_commit or ""
    if name == "study":
        return study_words(run)
    return str(getattr(run, name))


def study_words(run: Run) -> str:
    """What a run is to a study, in the words that ``--by study`` puts behind its algorithm; an empty text where it is none's.

    A run of openrlb's studies is ``tuned (study NAME)`` or has the name of the baseline that a study declared; a run of
    others is named by its configuration's ``study``.

    Args:
        run: The run.

    >>> def words(*tags): return study_words(Run("openrlb", "a", "p", "a", "ppo", "Hopper-v5", tags=tags))
    >>> words("study:s1"), words("baseline-of:s1", "baseline:default"), words("mine")
    ('tuned (study s1)', 'default', '')
    """
    if named := run.config.get("study"):
        return str(named)
    tags = dict(reversed([(kind, name) for kind, colon, name in (tag.partition(":") for tag in run.tags) if colon]))
    if name := tags.get("study"):
        return f"tuned (study {name})"
    return tags.get("baseline", "baseline") if "baseline-of" in tags else ""


def _relabel(groups: Sequence[Group], labels: Mapping[str, str] | Sequence[str]) -> tuple[Group, ...]:
    """Gives groups the names the reader chose."""
    present = [group.label for group in groups]
    renamed = dict(labels) if isinstance(labels, Mapping) else dict(_split_label(text, present) for text in labels)
    unknown = [old for old in renamed if old not in present]
    if unknown:
        raise UsageError(
            f"no group is called {unknown[0]!r}", "the groups are " + ", ".join(present), "name one of them: --label 'OLD=NEW'"
        )
    result = tuple(replace(group, label=renamed.get(group.label, group.label)) for group in groups)
    names = [group.label for group in result]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise UsageError(
            f"two groups would be called {double!r}",
            "labels tell groups apart",
            "choose another --label, or --by to put groups together",
        )
    return result


def _split_label(text: str, present: Sequence[str]) -> tuple[str, str]:
    """Splits ``OLD=NEW`` where OLD is a group, since variants' labels hold equals signs themselves."""
    cuts = [index for index, character in enumerate(text) if character == "="]
    for cut in cuts:
        if text[:cut] in present and text[cut + 1 :]:
            return text[:cut], text[cut + 1 :]
    if not cuts or cuts[-1] in (0, len(text) - 1):
        raise UsageError(
            f"{text!r} renames nothing", "a label is written OLD=NEW", f"try --label '{(present or ['OLD'])[0]}=NEW'"
        )
    return text[: cuts[0]], text[cuts[0] + 1 :]
