"""What the runs of a listing hold between them: to tell words that no run knows, and to propose a whole map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from openrlb.errors import MapError
from openrlb.sources.orlb_filter import OrlbFilter
from openrlb.sources.proposal import KEYS_SHOWN, Proposal, described, propose
from openrlb.sources.tracked import seed_of
from openrlb.sources.wandb.query import WandbQuery
from openrlb.sources.wandb.records import flat, lookup
from openrlb.sources.wandb.wanted import history_keys, shown

KEPT = 500
"""The settings of so many runs are compared; their logged names are collected from all."""


@dataclass(slots=True)
class Survey:
    """The runs of a listing, taken together.

    Attributes:
        query: What was asked.
        runs: How many runs there are.
        keys: Their settings by dotted key, with the first value of each.
        logged: The names under which they logged numbers.
        silent: Whether W&B does not say of every run what it logged.
        records: Settings that hold further settings.
        held: The fields whose key, in the user's word, at least one run has.
    """

    query: WandbQuery
    runs: int = 0
    keys: dict[str, Any] = field(default_factory=dict)
    logged: set[str] = field(default_factory=set)
    silent: bool = False
    records: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    _numbers: dict[str, set[int]] = field(default_factory=dict)
    _kept: int = 0

    def add(self, remote: Any) -> None:  # noqa: ANN401 -- wandb is not typed
        """Takes one run of the listing."""
        config = remote.config
        self.runs += 1
        for name in ("algo", "env", "seed", "impl"):
            source = self.query.map.fields.get(name)
            value = None if source is None or source.constant else lookup(config, source.text)
            if source is not None and (source.constant or not (value is None or isinstance(value, Mapping | list))):
                self.held.add(name)
            if source is not None and isinstance(value, Mapping):
                self.records.add(source.text)
        _, _, numeric = history_keys(remote)
        self.silent |= numeric is None
        self.logged |= numeric or frozenset()
        if self._kept < KEPT:
            self._kept += 1
            for key, value in flat(config):
                self.keys.setdefault(key, value)
                seed = None if isinstance(value, float) else seed_of(value)
                if seed is not None:
                    self._numbers.setdefault(key, set()).add(seed)

    def counting(self) -> tuple[str, ...]:
        """The settings that hold a different whole number in each run."""
        return tuple(key for key, values in self._numbers.items() if 1 < len(values) == self._kept)

    def unknown_fields(self) -> list[str]:
        """The fields for which the user named a key, or a metric, that no run has."""
        said = self.query.map
        found: list[str] = [name for name in ("algo", "env", "seed", "impl") if name in said.fields and name not in self.held]
        if not self.silent:
            found += ["step"] if "step" in said.fields and said.fields["step"].text not in {*self.logged, "_step"} else []
            found += ["value"] if set(said.values) - self.logged else []
        return found if self.runs else []

    def check_words(self) -> None:
        """Makes sure that some run has each key and metric that the user named.

        Raises:
            MapError: Not so; with everything that there is, and the whole line to paste.
        """
        unknown = self.unknown_fields()
        if unknown:
            raise self.misnamed(unknown)

    def misnamed(self, unknown: Sequence[str]) -> MapError:
        """The error for fields whose key or metric no run has."""
        return self.error(f"no run of {self.query.source} has {' and no '.join(map(self._word, unknown))}", unknown)

    def error(self, what: str, lacking: Sequence[str]) -> MapError:
        """The error that says everything at once: what there is, and one whole line to paste."""
        why = f"settings: {described(self.keys)}; logged: {shown(self.logged)}"
        hints = [hint for name in lacking for hint in self._hints(name)]
        near = f"did you mean {', '.join(hints)}? " if hints else ""
        found = self.proposal()
        return MapError(what, why, f"{near}{self._command(found)}  {found.remark()}")

    def proposal(self) -> Proposal:
        """A whole map: what the user said and some run has, and what the names suggest."""
        said, unknown = self.query.map, self.unknown_fields()
        fields = {name: source for name, source in said.fields.items() if name not in unknown}
        for name in ("algo", "env", "seed"):  # a preset's own keys, where a run has them
            known = [one for one in self.query.candidates(name) if one.constant or one.text.removeprefix("config.") in self.keys]
            if name not in fields and name not in said.path_fields() and known:
                fields[name] = known[0]
        step = self.query.candidates("step")
        if "step" not in fields and step and step[0].text in self.logged:
            fields["step"] = step[0]
        values = tuple(name for name in said.values if name in self.logged or self.silent)
        return propose(replace(said, fields=fields, values=values), self.keys, self.logged, self.counting())

    def _word(self, name: str) -> str:
        """A field as the user said it."""
        if name == "value":
            missing = [word for word in self.query.map.values if word not in self.logged]
            return f"logged {' and '.join(missing)}"
        text = self.query.map.fields[name].text
        record = f", which is a record of {', '.join(sorted(self._inside(text)))}" if text in self.records else ""
        return f"{name}={text}{record}"

    def _inside(self, text: str) -> list[str]:
        """The settings inside a record."""
        return [key for key in self.keys if key.startswith(f"{text.removeprefix('config.')}.")][:KEYS_SHOWN]

    def _hints(self, name: str) -> list[str]:
        """The nearest names for a word that no run has."""
        said = self.query.map
        words = [word for word in said.values if word not in self.logged] if name == "value" else []
        words += [said.fields[name].text] if name in said.fields else []
        names = list(self.logged if name in ("value", "step") else self.keys)
        found = [self._inside(word)[:1] if word in self.records else get_close_matches(word, names, n=1) for word in words]
        return [f"{name}={one}" for close in found for one in close]

    def _command(self, found: Proposal) -> str:
        """The whole line to paste."""
        if not self.query.groups:
            return f"openrlb fetch {self.query.source} {found.flags()}"
        group = self.query.groups[0]
        texts = {name: source.text for name, source in found.map.fields.items()}
        better = OrlbFilter(
            group.entity, group.project, texts["env"], texts["algo"], found.map.values, texts.get("step", group.step_key)
        )
        return f"openrlb fetch --orlb-filter '{better.words()[0]}' --orlb-filter 'EXPERIMENT'"
