"""What is asked of a W&B project, and what a plan answers before anything large is fetched."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from openrlb.errors import MapError
from openrlb.sources.mapping import Expression, Map
from openrlb.sources.presets import Preset
from openrlb.types import Metric, Run, Selection, Skipped, StepUnit

if TYPE_CHECKING:
    from openrlb.sources.orlb_filter import OrlbFilter
    from openrlb.sources.wandb.client import Client
    from openrlb.sources.wandb.records import Listed

SOURCE = "wandb:"
"""What a W&B source begins with: ``wandb:ENTITY/PROJECT``."""

_MAP_FIELDS = frozenset({"algo", "impl", "env", "seed", "step", "time", "kind"})


@dataclass(frozen=True, slots=True)
class WandbQuery:
    """Which runs of a project are wanted, and what of them.

    Attributes:
        entity: The W&B user or team.
        project: The project.
        selection: Which runs; a ``where`` that asks for steps or metrics is judged once they are there.
        preset: How the project logs, or None to guess.
        map: What the user said in ``--map``; it goes before the preset. Columns are configuration keys (``config.`` may
            stand before them); a ``path:`` pattern reads the run's name; ``value=`` names metrics.
        all_metrics: Take every logged number, not only returns and other known names.
        system: Take the hardware metrics too.
        keep_personal: Keep e-mails, host and user names and home folders.
        filters: Further conditions in W&B's own filter language, each of which must hold.
        groups: rlops' filters, of which any may hold; then the metrics that they name are taken and no others.
        step_unit: What the steps count, in the user's word; it goes before the preset.
        frames_per_step: Environment frames for each agent step, in the user's word.
    """

    entity: str
    project: str
    selection: Selection = field(default_factory=Selection)
    preset: Preset | None = None
    map: Map = field(default_factory=Map)
    all_metrics: bool = False
    system: bool = False
    keep_personal: bool = False
    filters: tuple[Mapping[str, Any], ...] = ()
    groups: tuple[OrlbFilter, ...] = ()
    step_unit: StepUnit | None = None
    frames_per_step: int | None = None

    @property
    def source(self) -> str:
        """The source of the runs, as the store names it."""
        return f"{SOURCE}{self.entity}/{self.project}"

    def candidates(self, name: str) -> tuple[Expression, ...]:
        """Where a field (``algo``, ``env``, ``seed``, ``impl``, ``step``) comes from, the likeliest first; empty to guess.

        >>> from openrlb.sources.presets import load_presets
        >>> query = WandbQuery("e", "p", preset=load_presets()["baselines"], map=Map.parse(["env='Hopper-v4'"]))
        >>> query.candidates("env"), query.candidates("algo")[0], query.candidates("impl")[0].constant
        ((Expression(text='Hopper-v4', constant=True),), Expression(text='exp_name', constant=False), True)
        """
        if name in self.map.fields:
            return (self.map.fields[name],)
        if self.preset is None:
            return ()
        found = getattr(self.preset, name)
        if name == "impl":
            return (Expression(found, constant=True),) if found else ()
        texts = (found,) if isinstance(found, str) else found
        return tuple(_expression(text) for text in texts if text)

    def check(self) -> None:
        """Looks at the map.

        Raises:
            MapError: A field that means nothing for tracked runs, or a kind that there is none of.
        """
        for name in self.map.fields:
            if name not in _MAP_FIELDS:
                why = f"runs of W&B keep their own {name}; a map for them takes {', '.join(sorted(_MAP_FIELDS))}, value, path"
                raise MapError(f"--map {name}= is not usable here", why, "leave it out")
        self.map.kind()


def _expression(text: str) -> Expression:
    """A preset's word: a quoted text is a constant.

    >>> _expression("'PPG'"), _expression("algo")
    (Expression(text='PPG', constant=True), Expression(text='algo', constant=False))
    """
    quoted = re.fullmatch(r"'(.+)'|\"(.+)\"", text)
    return Expression(quoted[1] or quoted[2], constant=True) if quoted else Expression(text)


def parse_source(text: str) -> tuple[str, str]:
    """Entity and project of a source's name.

    >>> parse_source("wandb:openrlbenchmark/cleanrl")
    ('openrlbenchmark', 'cleanrl')

    Raises:
        MapError: Not ``wandb:ENTITY/PROJECT``.
    """
    match = re.fullmatch(r"wandb:([^/\s]+)/([^/\s]+)", text)
    if not match:
        why = "a project's address ends in ENTITY/PROJECT"
        raise MapError(f"{text!r} names no W&B project", why, "write it like wandb:openrlbenchmark/cleanrl")
    return match[1], match[2]


@dataclass(frozen=True, slots=True)
class KnownRun:
    """What the store knows of a run, to tell whether it changed since it was fetched.

    Attributes:
        record: The run's record.
        metrics: The stored metrics, hardware metrics among them.
    """

    record: Run
    metrics: frozenset[Metric] = frozenset()

    @property
    def system(self) -> bool:
        """True where hardware metrics are stored."""
        return any(metric.kind == "system" for metric in self.metrics)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a fetch would do.

    Attributes:
        runs: Runs that fit the selection, unchanged ones included.
        unchanged: Those that the store holds already, as they are.
        reread: Those that did not change, but are fetched again since they are read with another map or other flags.
        requests: About how many requests the rest takes.
        bytes: About how many bytes of history the rest is: eight for each logged value; None where it cannot be told.
        counts: Runs that fit, by (algorithm, environment).
        excluded: Runs that fit no description of the project, by name, with the reason.
        unselected: Runs of the project (after W&B's own filtering) that the selection leaves out.
        unmatched: Words of the selection that no run of the project means, as flags (``--env Hoper``).
        guess: The map that was guessed, to paste after ``--map``; None where nothing was guessed.
    """

    runs: int
    unchanged: int
    reread: frozenset[str]
    requests: int
    bytes: int | None
    counts: Mapping[tuple[str, str], int]
    excluded: tuple[Skipped, ...]
    unselected: int
    unmatched: tuple[str, ...]
    guess: str | None
    listed: tuple[Listed, ...] = field(repr=False)
    client: Client | None = field(repr=False)

    @property
    def to_fetch(self) -> int:
        """Runs that :func:`openrlb.sources.wandb.read` would fetch."""
        return len(self.listed)
