"""What a study is measured against, and what it tries first: each of them resolved by the runner before anything trains."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb.errors import NothingMatched, UsageError
from openrlb.store import RunRow, Store
from openrlb_hpo.parameters import flattened
from openrlb_hpo.records import Baseline, StudySettings

if TYPE_CHECKING:
    from openrlb.api.tune_plan import TuneOptions
    from openrlb.types import Run
    from openrlb_hpo.ledger import Ledger
    from openrlb_hpo.space import Space
    from openrlb_runners.batch import Choice
    from openrlb_runners.launchers.protocol import Launcher
    from openrlb_runners.request import PinnedRunner

DEFAULT, PUBLISHED = "default", "published"
LARGEST_CONFIG = 1 << 20  # bytes
PROBES = 3
"""So many random points of a space are asked about."""
SHOWN = 3
"""So many values are named in a note."""
FROM_STUDY = 3
"""So many of another study's best configurations are tried first (``--init-from``)."""

Effective = dict[str, dict[str, Any]]
"""A configuration's hyperparameters as they are applied, by environment."""


@dataclass(frozen=True)
class Declared:
    """What is declared before a study begins.

    Attributes:
        baselines: What is tested beside the incumbent.
        first: What is tried first, as :attr:`openrlb_hpo.records.StudySettings.first` holds it.
        notes: What is to be said of them.
    """

    baselines: tuple[Baseline, ...]
    first: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]


def declared(
    options: TuneOptions,
    choice: Choice,
    draft: StudySettings,
    runner: PinnedRunner | None,
    launcher: Launcher,
    store: Store,
    ledger: Ledger | None,
) -> Declared:
    """The baselines of a study and the configurations that it tries first.

    Args:
        options: What is asked for.
        choice: Algorithm and runner.
        draft: The settings so far.
        runner: The runner, or None where it is not built: nothing is resolved then.
        launcher: Where it is asked.
        store: The store, for runs that are named.
        ledger: Where another study may be, or None.

    Raises:
        UsageError: A baseline that the runner refuses, or another study that does not fit.
        NothingMatched: A run or study that is not there.
    """
    known = {DEFAULT: _default(draft), PUBLISHED: _published(choice, draft)}
    notes: list[str] = []
    asked = list(dict.fromkeys(options.baselines or (DEFAULT, PUBLISHED)))
    wanted = [one for word in asked if (one := _baseline(word, known, options, draft, store, notes)) is not None]
    names = [one.name for one in wanted]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"two baselines are called {twice}", "each needs its own name", "rename a file")
    others = [one for one in known.values() if one is not None and one.name not in names]
    effective = {} if runner is None else _resolved(draft, [*wanted, *others], runner, launcher)
    notes += [note for one in wanted if (note := _untrained(one.name, effective.get(one.name, {}), draft.steps))]
    if runner is not None:
        check_space(draft, runner, launcher)
    if runner is not None and options.baselines is None and effective.get(PUBLISHED) == effective[DEFAULT]:
        wanted = [one for one in wanted if one.name != PUBLISHED]
        notes.append("what is published for the algorithm here is the default configuration: it is one baseline")
    first = _first(draft, effective, notes) if runner is not None else []
    if options.init_from is not None:
        first += _from_study(options.init_from, draft, ledger)
    if draft.fixed and PUBLISHED in [one.name for one in wanted]:
        notes.append("--set holds for every configuration that is tried and for the default baseline, not for the published one")
    return Declared(tuple(wanted), tuple(_once(first)), tuple(notes))


def check_space(draft: StudySettings, runner: PinnedRunner, launcher: Launcher) -> None:
    """Asks the runner about points of the space before anything is trained: a misspelled name would fail every trial.

    Raises:
        UsageError: It refuses three random points.
    """
    from openrlb_hpo.proposals import propose
    from openrlb_hpo.space import Space
    from openrlb_runners.batch import merged

    space = Space.from_json(draft.space)
    for seed in range(PROBES):
        params = propose(space, "random", seed, []).params
        asked = merged(space.hyperparameters(params, draft.steps, draft.fixed), draft.fixed)
        try:
            _resolved(draft, [Baseline("probe", dict.fromkeys(draft.envs, asked), "")], runner, launcher)
        except UsageError as error:
            if seed == PROBES - 1:
                what, fix = (
                    f"the space {draft.space_name} cannot be searched",
                    "mend its names and ranges, or name another --space",
                )
                raise UsageError(what, f"the runner refuses its points: {error.why}", fix) from error
        else:
            return


def _untrained(name: str, effective: Effective, steps: int) -> str:
    """What a reader must know of a baseline that ends before its first update, else an empty text."""
    for env, values in effective.items():
        sizes = [values.get(key, 1) for key in ("n_steps", "n_envs")]
        rollout = sizes[0] * sizes[1] if "n_steps" in values and all(isinstance(one, int) for one in sizes) else 0
        begins = max(rollout, int(values.get("learning_starts", 0)))
        if begins >= steps:
            return f"baseline {name} learns nothing on {env}: its first update comes after {begins:,} steps, a run has {steps:,}"
    return ""


def _default(draft: StudySettings) -> Baseline:
    """The library's defaults, with what is set."""
    words = f"the defaults of {draft.impl}'s library" + (" and --set" if draft.fixed else "")
    return Baseline(DEFAULT, {env: dict(draft.fixed) for env in draft.envs}, words)


def _published(choice: Choice, draft: StudySettings) -> Baseline | None:
    """What the runner ships for the algorithm in every one of the environments, or None."""
    from openrlb_runners.published import published

    found = {env: published(choice.spec, choice.algo, env) for env in draft.envs}
    sources = {env: one.source for env, one in found.items() if one is not None}
    if len(sources) < len(draft.envs):
        return None
    values = {env: dict(one.hyperparameters) for env, one in found.items() if one is not None}
    return Baseline(PUBLISHED, values, "; ".join(dict.fromkeys(sources.values())))


def _baseline(
    word: str, known: Mapping[str, Baseline | None], options: TuneOptions, draft: StudySettings, store: Store, notes: list[str]
) -> Baseline | None:
    """The baseline that a word means; None for a published one that there is not and nobody asked for.

    Raises:
        UsageError: It means nothing.
        NothingMatched: There is no such run.
    """
    if word in known:
        found = known[word]
        if found is None:
            lacking = f"the runner {draft.impl} ships none for {draft.algo} on {', '.join(draft.envs)}"
            if options.baselines is not None:
                raise UsageError("there is no published baseline", lacking, "leave it out")
            notes.append(f"no published baseline: {lacking}")
        return found
    if word.endswith(".toml"):
        return _of_file(Path(word), draft, notes)
    return _of_run(word, draft, store, notes)


def _of_file(path: Path, draft: StudySettings, notes: list[str]) -> Baseline:
    """The baseline of a file, as ``run --hyperparameters`` reads it."""
    from openrlb_runners.batch import read_hyperparameters

    try:
        values = {env: read_hyperparameters(path, draft.algo, env) for env in draft.envs}
    except UsageError as error:
        raise UsageError(
            f"the baseline {path.name} cannot be used", error.why, "name a file as run --hyperparameters takes"
        ) from error
    steps = {one.pop("steps", draft.steps) for one in values.values()}
    if steps != {draft.steps}:
        told = ", ".join(f"{number:,}" for number in sorted(steps))
        notes.append(f"{path.name} names {told} steps; its baseline is tested with {draft.steps:,}, as everything else")
    return Baseline(path.stem, values, path.name)


def _of_run(word: str, draft: StudySettings, store: Store, notes: list[str]) -> Baseline:
    """The baseline of a stored run: its hyperparameters as they were applied.

    Raises:
        UsageError: The run is of another algorithm or runner, or its hyperparameters are not known.
        NothingMatched: There is no such run.
    """
    from openrlb.store.schema import literal
    from openrlb.types import Selection

    fits = re.fullmatch(r"[\w.:/-]{4,}", word)
    where = f"source = 'openrlb' AND starts_with(run, {literal(word)})"
    rows: list[RunRow] = []
    if fits and store.exists:
        rows = store.runs(Selection(where=where, role=("none", "tuning", "confirm", "test", "reproduction")))
    if not rows:
        fix = "name default, published, a .toml file, or a run that openrlb trained (openrlb list)"
        raise NothingMatched(f"there is no baseline {word!r}", "it is no name, no file and no stored run's id", fix)
    if len(rows) > 1:
        raise UsageError(f"{word!r} means {len(rows)} runs", ", ".join(row.record.run for row in rows[:5]), "type more of the id")
    run = rows[0].record
    if (run.algo, run.impl) != (draft.algo, draft.impl):
        why = f"it is {run.algo} of {run.impl}, the study is {draft.algo} of {draft.impl}"
        raise UsageError(f"the run {run.run} cannot be a baseline", why, "name a run of the same algorithm and runner")
    if run.env not in draft.envs:
        notes.append(f"the baseline {run.run} was trained on {run.env}")
    values = _applied(run, store)
    return Baseline(run.run, {env: dict(values) for env in draft.envs}, f"the run {run.run} ({run.env}, seed {run.seed})")


def _applied(run: Run, store: Store) -> dict[str, Any]:
    """The hyperparameters that a run really applied, from the configuration that its runner wrote.

    Raises:
        UsageError: That configuration is not stored.
    """
    digest = run.files.get("config.json", "")
    try:
        if not digest.isalnum() or (path := store.layout.blob(digest)).stat().st_size > LARGEST_CONFIG:
            raise ValueError("it is not there")
        values = json.loads(path.read_bytes())["hyperparameters"]
        return dict(values)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = f"its configuration (config.json) cannot be read: {error}"
        raise UsageError(f"the run {run.run} cannot be a baseline", why, "name another run of the same settings") from error


def _resolved(
    draft: StudySettings, baselines: Sequence[Baseline], runner: PinnedRunner, launcher: Launcher
) -> dict[str, Effective]:
    """Each baseline's hyperparameters as they are applied, all asked for at once.

    Raises:
        UsageError: The runner refuses one.
    """
    from openrlb_hpo.seeds import STRIDE, seed_of
    from openrlb_runners.request import TrainingRequest
    from openrlb_runners.resolve import resolve

    requests = [
        TrainingRequest(
            algo=draft.algo,
            env=env,
            seed=seed_of("tuning", 0),
            steps=draft.steps,
            hyperparameters=baseline.hyperparameters[env],
            env_kwargs=draft.env_kwargs,
            evaluation=draft.evaluation,
            threads=draft.threads,
            device=draft.device,
        )
        for baseline in baselines
        for env in draft.envs
    ]
    answers = iter(resolve(runner, requests, launcher))
    found = {baseline.name: {env: next(answers)["hyperparameters"] for env in draft.envs} for baseline in baselines}
    for name, by_env in found.items():
        for values in by_env.values():
            if isinstance(count := values.get("n_envs"), int) and count > STRIDE:
                why = f"it has n_envs={count}, and a run owns {STRIDE} seeds"
                raise UsageError(
                    f"the baseline {name} cannot be kept apart from other runs", why, "use fewer environments at once"
                )
    return found


def _first(draft: StudySettings, effective: Mapping[str, Effective], notes: list[str]) -> list[Mapping[str, Any]]:
    """The places of the default and the published configuration in the space, where they lie inside."""
    from openrlb_hpo.space import Space

    space = Space.from_json(draft.space)
    found: list[Mapping[str, Any]] = []
    for name in (DEFAULT, PUBLISHED):
        if name not in effective:
            continue
        places = [space.params_of(values) for values in effective[name].values()]
        if places[0] is None or any(place != places[0] for place in places):
            odd = list(dict.fromkeys(word for values in effective[name].values() for word in space.misfits(values)))
            outside = f"lies outside the space ({'; '.join(odd[:SHOWN])}{'; ...' if len(odd) > SHOWN else ''})"
            why = outside if None in places else "has another place in the space for each environment"
            notes.append(f"the {name} configuration {why}: it is not tried first")
            continue
        origin = name
        if beside := _beside(space, effective[name], effective.get(DEFAULT, {})):
            origin = f"{name} without {', '.join(beside[:SHOWN])}{' ...' if len(beside) > SHOWN else ''}"
            notes.append(f"the space does not hold {', '.join(beside)}: what is tried first is the {name} configuration without")
        found.append({"origin": origin, "params": places[0]})
    return found


def _beside(space: Space, effective: Effective, default: Effective) -> list[str]:
    """What sets a configuration apart from the default one although the space does not hold it: its trials do not have it."""
    names = tuple(one.name for one in space.parameters)
    found: dict[str, None] = {}
    for env, values in effective.items():
        plain = flattened(default.get(env, values))
        for name, value in flattened(values).items():
            held = any(name == one or name.startswith(f"{one}.") for one in names)
            if not held and value != plain.get(name):
                found[name] = None
    return list(found)


def _from_study(name: str, draft: StudySettings, ledger: Ledger | None) -> list[Mapping[str, Any]]:
    """The best configurations of another study, by its tuning seeds.

    Raises:
        UsageError: It is of another algorithm or space, or its tuning goes on.
        NothingMatched: There is none of that name.
    """
    from openrlb_hpo.racing import ranking

    if ledger is None:
        raise NothingMatched(f"there is no study {name!r}", "no study has begun yet", "leave --init-from out")
    other = ledger.read(name)
    theirs = other.settings
    for what, mine, its in (("algorithm", draft.algo, theirs.algo), ("space", draft.space_digest, theirs.space_digest)):
        if mine != its:
            why = f"its {what} is {its}, this one's is {mine}"
            raise UsageError(f"{theirs.name} cannot begin this study", why, f"name a study of the same {what}")
    if other.frozen_at is None:
        why = "its tuning is not over: the same command would mean another study later"
        raise UsageError(f"{theirs.name} cannot begin this study", why, "let it end first")
    return [{"origin": f"study {theirs.name}", "params": dict(trial.params)} for trial in ranking(other)[:FROM_STUDY]]


def _once(first: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Equal places once, under their first origin."""
    kept: list[Mapping[str, Any]] = []
    for one in first:
        if all(one["params"] != other["params"] for other in kept):
            kept.append(one)
    return kept
