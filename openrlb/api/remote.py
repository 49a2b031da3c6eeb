"""The remote half of ``fetch``: from a source's word to a W&B query, its plan and its runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb import config
from openrlb.errors import UsageError
from openrlb.store import Store
from openrlb.types import RunBatch, Selection, Skipped

if TYPE_CHECKING:
    from openrlb.sources import ReadOptions
    from openrlb.sources.orlb_filter import OrlbFilter
    from openrlb.sources.presets import Preset
    from openrlb.sources.wandb import KnownRun, Plan, WandbQuery

WANDB = "wandb:"
URL = re.compile(r"https?://[^/\s]+/(?P<entity>[^/\s?#]+)/(?P<project>[^/\s?#]+)(?P<rest>[/?#].*)?$")
"""A project's address as a browser shows it; W&B also runs on hosts of its users."""


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """What to take from a tracking service beside the returns and the provenance.

    Attributes:
        all_metrics: Every logged number.
        system: Hardware metrics too.
        keep_personal: Keep e-mails, host and user names.
        orlb_filters: rlops' filter strings; each header opens a group.
    """

    all_metrics: bool = False
    system: bool = False
    keep_personal: bool = False
    orlb_filters: tuple[str, ...] = ()


def queries(
    sources: Sequence[str | Path], selection: Selection, options: ReadOptions, remote: RemoteOptions
) -> tuple[list[WandbQuery], list[str | Path]]:
    """Splits a fetch's sources into W&B queries and local places.

    Args:
        sources: ``wandb:ENTITY/PROJECT``, preset names, folders and files; a folder wins over a preset of its name.
        selection: Which runs.
        options: How to read them.
        remote: What to take.

    Raises:
        UsageError: A W&B address or filter that means nothing, or a preset that names no project.
    """
    judged = [(source, _is_remote(source)) for source in sources]
    words = [address(str(source)) for source, tracked in judged if tracked]
    local = [source for source, tracked in judged if not tracked]
    if not words and not remote.orlb_filters:
        return [], local
    from openrlb.sources.mapping import Expression, Map
    from openrlb.sources.orlb_filter import parse
    from openrlb.sources.presets import load_presets
    from openrlb.sources.wandb import WandbQuery, parse_source

    presets = load_presets(config.merged().get(config.TRACKED, {}))
    shared = _shared(selection, options, remote)
    found = []
    for word in words:
        if word.startswith(WANDB):
            entity, project = parse_source(word)
            preset = _preset_of(entity, project, presets)
        else:
            preset = presets[word]
            entity, project = preset.entity, preset.project
            if not (entity and project):
                fix = f"name it: openrlb fetch wandb:{entity or 'ENTITY'}/PROJECT"
                raise UsageError(f"the preset {word} names no project", "its library has several, or none that is known", fix)
        found.append(WandbQuery(entity, project, preset=preset, map=Map.parse(options.map), **shared))
    alike: dict[tuple[str, ...], list[OrlbFilter]] = {}  # groups of one project may mean the same runs: they are one query
    for group in parse(remote.orlb_filters) if remote.orlb_filters else ():
        alike.setdefault((group.entity, group.project, group.env_key, group.algo_key, group.step_key), []).append(group)
    for (entity, project, env, algo, step), groups in alike.items():
        fields = {"env": Expression(env), "algo": Expression(algo), "step": Expression(step)}
        metrics = tuple(dict.fromkeys(metric for group in groups for metric in group.metrics))
        known = _preset_of(entity, project, presets)
        found.append(WandbQuery(entity, project, preset=known, map=Map(fields, metrics), groups=tuple(groups), **shared))
    return [query for number, query in enumerate(found) if query not in found[:number]], local


def _preset_of(entity: str, project: str, presets: Mapping[str, Preset]) -> Preset | None:
    """The preset of a project, or None."""
    return next((one for one in presets.values() if (one.entity, one.project) == (entity, project)), None)


def every_preset(selection: Selection, options: ReadOptions, remote: RemoteOptions) -> list[WandbQuery]:
    """The projects of all presets: what a fetch without a source asks beside the sample. None of them without a key.

    Args:
        selection: Which runs.
        options: How to read them; a map describes one project, so with a map it is none of these.
        remote: What to take.
    """
    from openrlb.sources.presets import load_presets
    from openrlb.sources.wandb import WandbQuery, key_available

    if options.map or not key_available():
        return []
    presets = load_presets(config.merged().get(config.TRACKED, {})).values()
    projects = {(preset.entity, preset.project): preset for preset in presets if preset.entity and preset.project}
    shared = _shared(selection, options, remote)
    return [WandbQuery(*project, preset=preset, **shared) for project, preset in projects.items()]


def _shared(selection: Selection, options: ReadOptions, remote: RemoteOptions) -> dict[str, Any]:
    """What every query of one fetch has in common."""
    wanted = {"all_metrics": remote.all_metrics, "system": remote.system, "keep_personal": remote.keep_personal}
    return {"selection": selection, **wanted, "step_unit": options.step_unit, "frames_per_step": options.frames_per_step}


def _is_remote(source: str | Path) -> bool:
    """True for a W&B address, and for a preset's name that is no folder."""
    from openrlb.sources.presets import load_presets

    text = str(source)
    if text.startswith(WANDB) or (isinstance(source, str) and _is_page(text)):
        return True
    plain = isinstance(source, str) and not set(text) & set("/\\.~") and not Path(text).exists()
    return plain and text in load_presets(config.merged().get(config.TRACKED, {}))


def _is_page(text: str) -> bool:
    """True for a project's address as a browser shows it."""
    from openrlb.sources.wandb.client import is_service

    return URL.match(text) is not None and is_service(text)


def is_elsewhere(source: str | Path) -> bool:
    """True for the address of a bundle: on the Hugging Face hub, or on a web server that is none of W&B.

    >>> [is_elsewhere(word) for word in ("hf://datasets/a/b", "https://example.org/a/b", "https://wandb.ai/a/b", "logs")]
    [True, True, False, False]
    """
    text = str(source)
    if not isinstance(source, str) or not text.startswith(("http://", "https://", "hf://")):
        return False
    from openrlb.sources.wandb.client import is_service

    return not is_service(text)


def address(word: str) -> str:
    """A project's address as ``wandb:ENTITY/PROJECT``, also where it was copied from a browser.

    Raises:
        UsageError: The address of one run.

    >>> address("https://wandb.ai/lab/weird/workspace?nw=x"), address("wandb:lab/weird")
    ('wandb:lab/weird', 'wandb:lab/weird')
    """
    found = URL.match(word)
    if not found:
        return word
    entity, project, rest = found["entity"], found["project"], found["rest"] or ""
    run = re.match(r"/(?:runs|r)/([^/?#]+)", rest)
    if run:
        fix = f"openrlb fetch {WANDB}{entity}/{project} --where \"run = '{run[1]}'\""
        raise UsageError("this is the address of one run", "a fetch takes a project, or a part of it", fix)
    return f"{WANDB}{entity}/{project}"


def project_of(word: str) -> tuple[str, str] | None:
    """Entity and project of a source that names a W&B project, else None: a preset keeps its own.

    Raises:
        UsageError: An address that means nothing.
    """
    from openrlb.sources.wandb import parse_source

    return parse_source(address(word)) if word.startswith(WANDB) or _is_page(word) else None


def meant(text: str) -> str:
    """What a word that is no folder may mean: a preset, or a project of W&B; empty where nothing suggests itself.

    >>> meant("cleanrll"), meant("lab/weird")
    ('did you mean the preset cleanrl?', 'if it is a project of Weights & Biases, write wandb:lab/weird')
    """
    from openrlb.sources.presets import load_presets
    from openrlb.store.environments import nearest

    close = nearest(text, load_presets(config.merged().get(config.TRACKED, {})), 1) if not set(text) & set("/\\.") else []
    if close:
        return f"did you mean the preset {close[0]}?"
    if re.fullmatch(r"[\w-]+/[\w.-]+", text):
        return f"if it is a project of Weights & Biases, write {WANDB}{text}"
    return ""


def with_experiments(sources: Sequence[str], filters: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Words beside a filter that name no source are its experiments, as rlops' users type them.

    Args:
        sources: The words after ``fetch``.
        filters: Those after ``--orlb-filter``.

    Raises:
        UsageError: There are several headers: whose experiments they are cannot be told.

    >>> with_experiments(["a2c", "ddpg?tag=v1"], ["?we=lab&wpn=weird"])
    ([], ('?we=lab&wpn=weird', 'a2c', 'ddpg?tag=v1'))
    """
    if not filters:
        return list(sources), ()
    kept = [
        word for word in sources if word == "sample" or "/" in word.partition("?")[0] or _is_remote(word) or Path(word).exists()
    ]
    experiments = [word for word in sources if word not in kept]
    headers = [word for word in filters if word.startswith("?")]
    if experiments and len(headers) > 1:
        right = " ".join(f"--orlb-filter '{word}'" for word in (*filters[:1], experiments[0], *headers[1:2], "EXPERIMENT"))
        why = f"{', '.join(experiments)} may belong to any of {len(headers)} headers"
        raise UsageError("the experiments cannot be told apart", why, f"write each one after its header: openrlb fetch {right}")
    return kept, (*filters, *experiments)


def read_remote(
    query: WandbQuery,
    store: Store,
    on_plan: Callable[[str, Plan], bool] | None,
    on_run: Callable[[str], None] | None,
) -> tuple[Plan, Iterator[RunBatch | Skipped]]:
    """Plans a query, has the plan agreed to, and gives its runs as they come.

    Args:
        query: What to fetch.
        store: What is there already.
        on_plan: Shown the plan before anything large is fetched; False stops.
        on_run: Called with each run's name as it is complete.

    Raises:
        NetworkError: No key, a refused one, or no connection.
        UsageError: The plan was not agreed to.
    """
    from openrlb.sources.wandb import plan, read

    planned = plan(query, known_runs(store, query.source))
    if on_plan is not None and not on_plan(query.source, planned):
        raise UsageError("nothing was fetched", f"{planned.to_fetch:,} runs were not agreed to", "add --yes, or select fewer")
    return planned, read(query, planned, on_run)


def known_runs(store: Store, source: str) -> dict[tuple[str, str], KnownRun]:
    """What the store has of a source, to tell changed runs from unchanged ones.

    Args:
        store: The store.
        source: The runs' source.
    """
    from openrlb.sources.wandb import KnownRun

    if not store.exists:
        return {}
    digests = store.digests()  # without one something of a run is lost: it is fetched anew
    records = [row.record for row in store.runs() if row.record.source == source and digests.get((source, row.record.run)) != ""]
    logged = store.metrics_of([(run.source, run.run) for run in records])
    return {
        (run.source, run.run): KnownRun(run, frozenset(item.metric for item in logged[run.source, run.run])) for run in records
    }
