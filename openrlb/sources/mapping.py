"""The ``--map`` grammar: which column, constant or part of a path gives a run's algorithm, environment, values ...

::

    map     = item ("," item)*
    item    = field "=" source  |  "value" "=" column ("|" column)*  |  "path:" pattern
    source  = column | 'constant' | "constant"
    column  = bare words up to the next comma, or `any text` between backquotes
    pattern = components between slashes, with {field} in them; {_} is ignored, {seed} takes digits only

A quote inside a quoted text is written twice. Fields: algo, impl, env, seed, step, value, time (seconds), kind, metric,
name, id, tag, config.KEY. ``value``, ``tag`` and ``path`` may be given several times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import cast, get_args

from openrlb.errors import MapError
from openrlb.sources.pattern import PathPattern
from openrlb.types import MetricKind

FIELDS = ("algo", "impl", "env", "seed", "step", "value", "time", "kind", "metric", "name", "id", "tag")
COLUMN_ONLY = ("step", "value", "time")
_FIX = "write it like --map \"algo='mine',env=env_id,seed=seed,step=global_step,value=return\""


@dataclass(frozen=True, slots=True)
class Expression:
    """Where one field comes from: a column of the data, or the same text for every row.

    Attributes:
        text: The column's name, or the constant.
        constant: True for a constant.
    """

    text: str
    constant: bool = False

    def __str__(self) -> str:
        """The expression as it is typed."""
        if self.constant:
            return _quote(self.text, "'")
        plain = self.text and self.text == self.text.strip() and self.text[0] not in "'\"`"
        return self.text if plain and not set(self.text) & set(",|") else _quote(self.text, "`")


@dataclass(frozen=True, slots=True)
class Map:
    """A parsed ``--map``.

    Attributes:
        fields: Where the single fields come from, by name.
        values: The value columns.
        tags: The tags.
        config: Configuration keys.
        paths: Patterns for the path; the first that fits is used.
    """

    fields: dict[str, Expression] = field(default_factory=dict)
    values: tuple[str, ...] = ()
    tags: tuple[Expression, ...] = ()
    config: dict[str, Expression] = field(default_factory=dict)
    paths: tuple[PathPattern, ...] = ()

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Map:
        """Parses every ``--map`` argument into one map.

        Raises:
            MapError: Not well formed, an unknown field, or a field given twice.

        >>> parsed = Map.parse(["algo='mine', env=config.env.name", "value=reward|score,path:{_}/{seed}"])
        >>> parsed.fields["algo"], parsed.values
        (Expression(text='mine', constant=True), ('reward', 'score'))
        >>> str(parsed)
        "algo='mine',env=config.env.name,value=reward|score,path:{_}/{seed}"
        """
        building = _Building()
        for argument in arguments:
            _Scanner(argument, building).parse()
        return cls(building.fields, tuple(building.values), tuple(building.tags), building.config, tuple(building.paths))

    def __str__(self) -> str:
        """The map as one ``--map`` argument; parsing it gives an equal map."""
        items = [f"{name}={self._field(name)}" for name in FIELDS if name in self.fields]
        items += [f"config.{key}={source}" for key, source in self.config.items()]
        items += [f"tag={source}" for source in self.tags]
        if self.values:
            items.append("value=" + "|".join(str(Expression(name)) for name in self.values))
        for path in self.paths:
            text = path.text
            plain = text == text.strip() and text[0] not in "'\"`" and "," not in text
            items.append("path:" + (text if plain else _quote(text, "'")))
        return ",".join(items)

    def _field(self, name: str) -> str:
        """A field's source as it is typed; a kind needs no quotes."""
        source = self.fields[name]
        return source.text if name == "kind" and source.constant else str(source)

    def columns(self) -> tuple[str, ...]:
        """Every column that the map names, once each."""
        sources = [*self.fields.values(), *self.config.values(), *self.tags]
        return tuple(dict.fromkeys([source.text for source in sources if not source.constant] + list(self.values)))

    def kind(self) -> MetricKind | None:
        """What one value is, where the map says it for all of them; a tracked run has no column that could.

        Raises:
            MapError: It is no kind.
        """
        if "kind" not in self.fields:
            return None
        told = self.fields["kind"]
        if not told.constant:
            raise no_kind(told.text)
        return cast("MetricKind", told.text)

    def path_fields(self) -> frozenset[str]:
        """The fields that the path gives."""
        return frozenset(name for path in self.paths for name in path.names)


def no_kind(word: str) -> MapError:
    """The error for a kind that there is none of.

    >>> no_kind("evl").fix
    'did you mean kind=eval?'
    """
    close = get_close_matches(word, get_args(MetricKind), n=1)
    fix = f"did you mean kind={close[0]}?" if close else "say what one value is, for instance kind=eval"
    return MapError(f"kind={word} is not usable", f"a kind is one of {', '.join(get_args(MetricKind))}", fix)


def _quote(text: str, mark: str) -> str:
    """Quoted text, with the mark inside it doubled."""
    return mark + text.replace(mark, mark * 2) + mark


@dataclass(slots=True)
class _Building:
    """A map while its arguments are parsed."""

    fields: dict[str, Expression] = field(default_factory=dict)
    values: list[str] = field(default_factory=list)
    tags: list[Expression] = field(default_factory=list)
    config: dict[str, Expression] = field(default_factory=dict)
    paths: list[PathPattern] = field(default_factory=list)

    def add(self, name: str, sources: list[Expression], item: str) -> None:
        """Takes one ``name=source`` item."""
        if name in COLUMN_ONLY and any(source.constant for source in sources):
            raise MapError(f"--map {item} is not usable", f"{name} names a column, never a constant", "leave the quotes out")
        if name == "value":
            self.values += [source.text for source in sources if source.text not in self.values]
        elif name == "tag":
            self.tags += sources
        elif name.startswith("config.") and len(name) > len("config."):
            self._once(self.config, name.removeprefix("config."), sources[0], item)
        elif name == "kind" and sources[0].text in get_args(MetricKind):
            self._once(self.fields, name, Expression(sources[0].text, constant=True), item)
        elif name == "kind" and sources[0].constant:
            raise no_kind(sources[0].text)
        elif name in FIELDS:
            self._once(self.fields, name, sources[0], item)
        else:
            raise MapError(
                f"--map {item} is not usable", f"{name!r} is no field; fields are {', '.join(FIELDS)}, config.KEY", _FIX
            )

    def add_path(self, text: str) -> None:
        """Takes one ``path:`` item."""
        self.paths.append(PathPattern.parse(text))

    @staticmethod
    def _once(into: dict[str, Expression], name: str, source: Expression, item: str) -> None:
        if into.get(name, source) != source:
            raise MapError(f"--map {item} is not usable", f"{name} is given twice", "keep one of the two")
        into[name] = source


class _Scanner:
    """Reads one ``--map`` argument from left to right."""

    def __init__(self, text: str, building: _Building) -> None:
        self.text = text
        self.at = 0
        self.building = building

    def parse(self) -> None:
        """Reads all items."""
        if not self.text.strip():
            raise MapError("an empty --map", "it names nothing", _FIX)
        while True:
            self._item()
            if self.at >= len(self.text):
                return
            self.at += 1  # the comma that ended the item

    def _item(self) -> None:
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in "=:,":
            self.at += 1
        name = self.text[start : self.at].strip()
        sign = self.text[self.at : self.at + 1]
        if sign not in ("=", ":") or not name or (sign == ":" and name != "path"):
            raise self._error(f"{self.text[start:].strip() or 'the end'!r} is not FIELD=COLUMN, FIELD='CONSTANT' or path:PATTERN")
        self.at += 1
        if name == "path":
            self.building.add_path(self._source(stops=",").text)
            return
        stops = ",|" if name == "value" else ","
        sources = [self._source(stops)]
        while self.text[self.at : self.at + 1] == "|":
            self.at += 1
            sources.append(self._source(stops))
        self.building.add(name, sources, self.text[start : self.at].strip())

    def _source(self, stops: str) -> Expression:
        """One column or constant, up to the next stop."""
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1
        mark = self.text[self.at : self.at + 1]
        if mark and mark in "'\"`":
            text = self._quoted(mark)
            while self.text[self.at : self.at + 1].isspace():
                self.at += 1
            if self.at < len(self.text) and self.text[self.at] not in stops:
                raise self._error(f"there is text after the closing {mark}: {self.text[self.at :]!r}")
            if mark == "`" and not text:
                raise self._error("a column without a name")
            return Expression(text, constant=mark != "`")
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in stops:
            self.at += 1
        text = self.text[start : self.at].strip()
        if not text:
            raise self._error("nothing stands after the sign =")
        return Expression(text)

    def _quoted(self, mark: str) -> str:
        """The text between two marks; a doubled mark stands for itself."""
        pieces = []
        start = self.at
        while True:
            end = self.text.find(mark, self.at + 1)
            if end < 0:
                raise self._error(f"the quote {self.text[start:]!r} is never closed")
            pieces.append(self.text[self.at + 1 : end])
            self.at = end + 1
            if self.text[self.at : self.at + 1] != mark:
                return mark.join(pieces)

    def _error(self, why: str) -> MapError:
        return MapError(f"--map {self.text} cannot be understood", why, _FIX)
