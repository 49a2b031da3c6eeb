"""The plan of a fetch: which runs a project has, which of them fit, and which the store has already."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Any

from openrlb.errors import NothingMatched, OpenrlbError, SourceError
from openrlb.sources.wandb.client import ANOTHER_SHAPE, Client, not_understood
from openrlb.sources.wandb.query import KnownRun, Plan, WandbQuery
from openrlb.sources.wandb.records import LOGGED_NOTHING, Listed, UnknownRunError, identify
from openrlb.sources.wandb.survey import KEPT, Survey
from openrlb.sources.wandb.unmatched import nothing_fits, said, unmatched
from openrlb.sources.wandb.wanted import Guesses, numeric_keys
from openrlb.types import Run, Skipped

REQUESTS_PER_RUN = 5
"""History exports: where they are and one file; files: their list, requirements.txt and wandb-metadata.json."""
REQUESTS_PER_LIVE_RUN = 7
BYTES_PER_VALUE = 8


def make_plan(query: WandbQuery, known: Mapping[tuple[str, str], KnownRun]) -> Plan:
    """Lists a project's runs and says what fetching them would take.

    Raises:
        NetworkError: No key, or no connection.
        SourceError: W&B refuses the project, there is none of that name, or none of its runs can be understood.
        NothingMatched: The project has no run that fits W&B's part of the selection.
        MapError: No run's algorithm, environment or return can be told.
        SelectionError: The selection's ``where`` does not parse.
    """
    from openrlb.store.select import fits
    from openrlb.store.where import check_where, told

    query.check()
    check_where(query.selection.where)
    client = Client()
    guesses, survey = Guesses(), Survey(query)
    excluded: list[tuple[tuple[str, ...], Skipped]] = []
    chosen: list[Listed] = []
    unselected: list[Listed] = []
    asked = server_filters(query)
    lost: list[Skipped] = []
    for remote in _once(client.list_runs(query.entity, query.project, asked, lost)):
        try:
            survey.add(remote)
            listed = identify(remote, query, guesses)
        except UnknownRunError as error:
            excluded.append((error.missing, Skipped(f"{query.source}/{remote.id}", str(error))))
            continue
        except ANOTHER_SHAPE as error:
            unclear = not_understood(f"{query.source}/{remote.id}", str(error))
            excluded.append((LOGGED_NOTHING, unclear))  # not to ``lost``: the listing counts those beside the ones that it gave
            continue
        if not fits(listed.run, query.selection):
            unselected.append(listed)
        elif listed.run.line_count == 0 and not listed.has_events:
            excluded.append((LOGGED_NOTHING, Skipped(f"{query.source}/{remote.id}", "it logged nothing")))
        else:
            chosen.append(listed)
    excluded += [(LOGGED_NOTHING, item) for item in lost]
    if excluded and not chosen and not unselected and all(item.damaged for _, item in excluded):
        what = f"none of the {len(excluded)} runs of {query.source} could be understood"
        raise SourceError(what, excluded[0][1].reason, "pip install --upgrade openrlb wandb, or fetch a folder of logs instead")
    met = told([listed.run for listed in chosen], query.selection.where) if chosen and query.selection.where else None
    if met is not None:  # else the condition needs the points, and is judged when they are there
        unselected += [listed for listed, fitting in zip(chosen, met, strict=True) if not fitting]
        chosen = [listed for listed, fitting in zip(chosen, met, strict=True) if fitting]
    if not survey.runs and not excluded:
        raise _nothing_like_that(query, client) if asked else _empty(query)
    survey.check_words()
    _check_described(survey, excluded, len(chosen) + len(unselected))
    if not chosen:
        why = f"{len(unselected)} other runs and {len(excluded)} that cannot be used are there" + _first(excluded)
        hints = [close for _, close in unmatched(query, unselected, []) if close]
        fix = f"did you mean {', '.join(hints)}?" if hints else "widen it"
        raise NothingMatched(f"no run of {query.source} fits the selection", why, fix)
    held = [(listed, known.get((query.source, listed.run.run))) for listed in chosen]
    fresh = [_with_what_is_held(listed, before, query) for listed, before in held if not is_unchanged(listed, before, query)]
    return Plan(
        runs=len(chosen),
        unchanged=len(chosen) - len(fresh),
        reread=frozenset(listed.run.run for listed, before in held if before is not None and _as_old(listed.run, before.record)),
        requests=sum(map(_requests, fresh)),
        bytes=_bytes(fresh),
        counts=Counter((listed.run.algo, listed.run.env) for listed in chosen),
        excluded=tuple(item for _, item in excluded),
        unselected=len(unselected),
        unmatched=tuple(said(*one) for one in unmatched(query, [*chosen, *unselected], chosen)),
        guess=guesses.text(query.map),
        listed=tuple(fresh),
        client=client,
    )


def server_filters(query: WandbQuery) -> dict[str, Any]:
    """The part of a selection that W&B itself can judge, never narrower than ours.

    Names are compared without regard to case and environments by their base name, so W&B is asked for texts that hold the
    word; our own comparison follows.

    >>> from openrlb.types import Selection
    >>> from openrlb.sources.mapping import Map
    >>> server_filters(WandbQuery("e", "p", Selection(env=("Hopper",)), map=Map.parse(["env=env_id"])))
    {'$and': [{'$or': [{'config.env_id': {'$regex': '(?i)Hopper'}}]}]}
    """
    parts: list[dict[str, Any]] = [dict(item) for item in query.filters]
    parts += [{"$or": [group.mongo() for group in query.groups]}] if query.groups else []
    for name in ("env", "algo"):
        words, sources = getattr(query.selection, name), query.candidates(name)
        simple = all(not source.constant and "." not in source.text.removeprefix("config.") for source in sources)
        if words and sources and simple and not query.map.paths:
            keys = [source.text.removeprefix("config.") for source in sources]
            patterns = [{"$regex": f"(?i){_contained(word)}"} for word in words]
            parts.append({"$or": [{f"config.{key}": pattern} for key in keys for pattern in patterns]})
    if query.selection.since:
        from openrlb.store.select import checked_date

        parts.append({"createdAt": {"$gte": checked_date(query.selection.since).replace("+00:00", "Z")}})
    return {"$and": parts} if parts else {}


def _contained(word: str) -> str:
    """A pattern that every name contains which a word or a glob can mean.

    >>> _contained("Hopper v4") == re.escape("Hopper v4"), _contained("Hopper*")
    (True, 'Hopper')
    """
    fixed = re.split(r"[*?]|\[[^\]]*\]", word) if re.search(r"[*?\[]", word) else [word]
    return re.escape(max(fixed, key=len))


def is_unchanged(listed: Listed, known: KnownRun | None, query: WandbQuery) -> bool:
    """Whether the store holds a run as W&B has it and as it is asked for now, with every metric that is asked for."""
    if known is None or _as_listed(listed.run) != _as_listed(known.record):
        return False
    if query.system and listed.has_events and not known.system:
        return False
    numeric = numeric_keys(listed.remote) - {listed.step_key}
    if query.all_metrics and not numeric <= {metric.name for metric in known.metrics}:
        return False
    return {metric for name, metric in listed.metrics.items() if name in numeric} <= known.metrics


def _as_listed(run: Run) -> Run:
    """What a listing tells of a run, to compare: its configuration or name may be edited long after its last sign of life.

    What its files tell is left out, and the commit, which does not change.
    """
    return replace(run, tags=tuple(sorted(run.tags)), requirements=None, files={}, hardware={}, git_commit=None, notes=())


def _with_what_is_held(listed: Listed, known: KnownRun | None, query: WandbQuery) -> Listed:
    """A changed run takes along the metrics that the store holds of it: nothing that was asked for once is lost."""
    if known is None:
        return listed
    others = {metric.name: metric for metric in known.metrics if metric.kind != "system" and metric.name not in listed.metrics}
    metrics = {**listed.metrics, **dict(sorted(others.items()))}
    return replace(listed, metrics=metrics, system=listed.system or known.system)


def _as_old(run: Run, known: Run) -> bool:
    """Whether W&B has nothing new of a run: where it is fetched again, it is read in another way."""
    return all(getattr(run, name) == getattr(known, name) for name in ("state", "line_count", "heartbeat"))


def _once(remotes: Iterable[Any]) -> Iterator[Any]:
    """Each run once: a listing that shifts between two of its pages gives one twice."""
    seen: set[str] = set()
    for remote in remotes:
        if remote.id not in seen:
            seen.add(remote.id)
            yield remote


def _first(excluded: list[tuple[tuple[str, ...], Skipped]]) -> str:
    """The first of the runs that cannot be used, with its reason."""
    return f" ({excluded[0][1].location}: {excluded[0][1].reason})" if excluded else ""


def _requests(listed: Listed) -> int:
    """About how many requests a run takes."""
    return (REQUESTS_PER_LIVE_RUN if listed.run.state == "running" else REQUESTS_PER_RUN) + listed.system


def _bytes(fresh: list[Listed]) -> int | None:
    """About how large the histories are; exports are smaller, live rows larger."""
    if any(listed.run.line_count is None or listed.logged is None for listed in fresh):
        return None
    return sum(BYTES_PER_VALUE * (listed.run.line_count or 0) * len(listed.logged or ()) for listed in fresh)


def _empty(query: WandbQuery) -> NothingMatched:
    """The error for a project without runs."""
    return NothingMatched(f"no run was found in {query.source}", "W&B gives no run of it", "check the project's name")


def _nothing_like_that(query: WandbQuery, client: Client) -> OpenrlbError:
    """The error for a selection of which W&B gives no run: what the project holds instead."""
    survey, known = Survey(query), []
    for remote in islice(_once(client.list_runs(query.entity, query.project, {}, [])), KEPT):
        with suppress(UnknownRunError, *ANOTHER_SHAPE):
            survey.add(remote)
            known.append(identify(remote, query, Guesses()))
    if not survey.runs:
        return _empty(query)
    unknown = survey.unknown_fields()
    return survey.misnamed(unknown) if unknown else nothing_fits(query, known)


def _check_described(survey: Survey, excluded: list[tuple[tuple[str, ...], Skipped]], described: int) -> None:
    """Stops where no run of the project could be described: then the description is wrong, not the runs.

    Raises:
        MapError: With everything that is missing and a whole map to start from.
    """
    lacking = [missing for missing, _ in excluded if missing != LOGGED_NOTHING]
    if described or not lacking:
        return
    everywhere = [name for name in ("algo", "env", "value") if all(name in missing for missing in lacking)]
    missing = everywhere or list(Counter(lacking).most_common(1)[0][0])
    words = {"algo": "algorithm", "env": "environment", "value": "return"}
    several = f"none of the {len(excluded)} runs" if len(excluded) > 1 else "the one run"
    what = f"{several} of {survey.query.source} could {'not ' if len(excluded) == 1 else ''}be read"
    raise survey.error(f"{what}: no {' and no '.join(words[name] for name in missing)} is known", [])
