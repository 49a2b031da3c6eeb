"""Search spaces: plain TOML files, checked before anything trains, hashed so that two studies can say they searched alike.

A file has one table per algorithm, with one line per hyperparameter under the library's own name::

    [ppo]
    learning_rate = { log = [1e-5, 2e-3], default = 3e-4 }
    n_epochs = { integers = [1, 20] }
    gamma = { one_minus_log = [1e-4, 0.03] }                       # 1 - gamma is drawn, logarithmically
    use_sde = { choices = [true, false] }
    sde_sample_freq = { choices = [4, 8, 16], when = { use_sde = true } }
    policy_kwargs.net_arch = { choices = [[64, 64], [256, 256]] }

``uniform``, ``log``, ``integers``, ``log_integers`` and ``one_minus_log`` take two ends, both included; ``choices`` takes any
JSON values, the word ``"null"`` meaning none; ``gradient_steps = { divisors = [1, 2], of = "train_freq" }`` divides another
hyperparameter; ``lowest_is_zero = true`` lets the lower end of a logarithmic range stand for 0.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openrlb.config import parsed_toml
from openrlb.errors import UsageError
from openrlb.paths import asset
from openrlb.types import stable_hash
from openrlb_hpo.parameters import SCALES, BadParameter, Parameter, flattened, is_number, parameter, same
from openrlb_hpo.seeds import STRIDE

LARGEST_FILE = 1_000_000  # bytes
_LOOKS = 100  # parses until the line of a mistake is given up: a value of thousands of lines would take minutes
ROLLOUT_ALGORITHMS = (
    "ppo",
    "ppo_lstm",
    "ppo_mask",
    "trpo",
)  # a batch is drawn from n_steps * n_envs steps; elsewhere n_steps is another thing
_LONG_ROLLOUT = 1000  # steps an off-policy algorithm may go past the end where train_freq is not a number (an episode)


@dataclass(frozen=True, slots=True)
class Space:
    """The search space of one algorithm.

    Attributes:
        name: The file's name for itself.
        algo: The algorithm.
        source: Where the ranges come from.
        parameters: In the file's order.
    """

    name: str
    algo: str
    source: str
    parameters: tuple[Parameter, ...]

    @property
    def digest(self) -> str:
        """A hash of the ranges alone: equal for equal spaces, whatever their names, order and declared defaults.

        >>> a, b = (Space(n, "ppo", "", (Parameter("lr", "log", (1e-5, 1e-2)),)) for n in "ab")
        >>> a.digest == b.digest
        True
        """
        tables = {one.name: replace(one, default=None).entry() for one in self.parameters}
        return stable_hash([self.algo, tables])

    @property
    def searched(self) -> tuple[Parameter, ...]:
        """The parameters that are drawn, by the names of their params: a single choice is none of them."""
        return tuple(sorted((one for one in self.parameters if one.is_searched), key=lambda one: one.sampled_name))

    @property
    def default(self) -> dict[str, Any] | None:
        """The params that the space's author declares as default, or None where a parameter declares none."""
        params = {one.sampled_name: one.param_of(one.default) for one in self.searched}
        return None if None in params.values() else params

    def to_json(self) -> dict[str, Any]:
        """The space as plain JSON values, parameters as a space's file writes them."""
        tables = {one.name: one.entry() for one in self.parameters}
        return {"name": self.name, "algo": self.algo, "source": self.source, "parameters": tables}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Space:
        """Rebuilds a space from :meth:`to_json`.

        Raises:
            UsageError: The record is none, or has no meaning.

        >>> space = Space("mine", "ppo", "", (Parameter("lr", "log", (1e-5, 1e-2)),))
        >>> Space.from_json(space.to_json()) == space
        True
        """
        entries = record.get("parameters")
        if not isinstance(entries, Mapping):
            raise UsageError("a stored space was not understood", "it has no parameters", "name the space's file instead")
        name, algo, source = (str(record.get(key, "")) for key in ("name", "algo", "source"))
        try:
            space = cls(name, algo, source, tuple(parameter(key, entry) for key, entry in entries.items()))
            _check_links(space, stored=True)
        except BadParameter as error:
            raise UsageError("a stored space was not understood", error.why, "name the space's file instead") from error
        return space

    def without(self, names: Mapping[str, Any] | tuple[str, ...]) -> Space:
        """The space less some hyperparameters: what ``--set`` fixes is not searched.

        >>> space = Space("mine", "ppo", "", (Parameter("lr", "log", (1e-5, 1e-2)),))
        >>> space.without({"lr": 0.1}).parameters
        ()
        """
        fixed = set(flattened(names)) if isinstance(names, Mapping) else set(names)
        gone = {one.name for one in self.parameters if any(_is_within(one.name, name) for name in fixed)}
        return replace(self, parameters=tuple(one for one in self.parameters if one.name not in gone))

    def check_inside(self, params: Mapping[str, Any]) -> None:
        """Checks that params are one point of the space.

        Raises:
            UsageError: One is missing, unknown or outside of its range.
        """
        known = {one.sampled_name: one for one in self.searched}
        for name in params:
            if name not in known:
                raise _outside(self, f"it has no {name}")
        for name, one in known.items():
            if name not in params:
                raise _outside(self, f"{name} is missing")
            if not one.holds(params[name]):
                held = list(one.labels) if one.labels else f"{one.values[0]} to {one.values[1]}"
                raise _outside(self, f"{name} is {params[name]!r}, which is not in {held}")

    def hyperparameters(self, params: Mapping[str, Any], steps: int, fixed: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What params ask of the library.

        Parameters whose condition does not hold are left out. ``buffer_size`` is cut to what a run of so many steps can fill
        (a larger buffer is memory alone), and the ``batch_size`` of an algorithm with rollouts to ``n_steps * n_envs``
        (the library does so itself): neither changes what is trained.

        Args:
            params: One point of the space.
            steps: Training steps of a run.
            fixed: Hyperparameters that are set beside the space (``n_envs``); they are looked at, not returned. None where
                they are not known: the batch is then left to the library.

        Returns:
            The hyperparameters, nested.

        Raises:
            UsageError: The params are not in the space.

        >>> space = Space("", "ppo", "", (Parameter("gamma", "one_minus_log", (1e-4, 0.1)),
        ...                               Parameter("policy_kwargs.net_arch", "choices", ([64], [64, 64]))))
        >>> space.hyperparameters({"one_minus_gamma": 0.01, "policy_kwargs.net_arch": "[64]"}, 1000)
        {'gamma': 0.99, 'policy_kwargs': {'net_arch': [64]}}
        """
        chosen = self._chosen(params, fixed or {})
        _cut(self.algo, chosen, fixed, steps)
        return _nested({one.name: chosen[one.name] for one in self.parameters if one.name in chosen})

    def active(self, params: Mapping[str, Any], fixed: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The params that count: one whose condition does not hold was drawn for nothing.

        Args:
            params: One point of the space.
            fixed: Hyperparameters that are set beside the space.

        Raises:
            UsageError: The params are not in the space.
        """
        self.check_inside(params)
        free = [one for one in self.parameters if one.scale == "choices" and not one.when]
        known = flattened(fixed or {}) | {one.name: one.meaning(params.get(one.sampled_name, one.labels[0])) for one in free}
        return {one.sampled_name: params[one.sampled_name] for one in self.searched if _holds(one, known)}

    def params_of(self, hyperparameters: Mapping[str, Any]) -> dict[str, Any] | None:
        """The place of a configuration in the space, or None where it lies outside.

        A parameter whose condition does not hold stands at its declared default, or in the middle of its range. What the
        space does not name is not looked at.

        Args:
            hyperparameters: A whole configuration, nested, as the runner resolves it.

        >>> Space("", "ppo", "", (Parameter("gamma", "one_minus_log", (1e-4, 0.1)),)).params_of({"gamma": 0.99, "lr": 1.0})
        {'one_minus_gamma': 0.010000000000000009}
        """
        places = self._places(_under_names(hyperparameters, {one.name for one in self.parameters}))
        if None in places.values():
            return None
        return {one.sampled_name: places[one.name] for one in self.searched}

    def misfits(self, hyperparameters: Mapping[str, Any]) -> list[str]:
        """Which values of a configuration lie outside of the space, in words; none where :meth:`params_of` finds its place.

        Args:
            hyperparameters: A whole configuration, nested, as the runner resolves it.

        >>> Space("", "ppo", "", (Parameter("n_steps", "choices", (32, 64)),)).misfits({"n_steps": 48})
        ['n_steps is 48, not one of 32, 64']
        """
        given = _under_names(hyperparameters, {one.name for one in self.parameters})
        places = self._places(given)
        odd = [one for one in self.parameters if places[one.name] is None]
        told = {
            one.name: f"{one.name} is {json.dumps(given[one.name])}, not {one.range_words}" for one in odd if one.name in given
        }
        return [told.get(one.name, f"it has no {one.name}") for one in odd]

    def _places(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The param of every parameter for values under dotted names; None where a value lies outside."""
        places: dict[str, Any] = {}
        for one in self._by_dependence():
            places[one.name] = one.param_of(given[one.name], given.get(one.of)) if one.name in given else None
            if places[one.name] is None and not _holds(one, given):
                places[one.name] = one.at(0.5) if one.default is None else one.param_of(one.default)
        return places

    def _chosen(self, params: Mapping[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
        """The value of every parameter that is set, under its dotted name."""
        self.check_inside(params)
        known = flattened(fixed)
        chosen: dict[str, Any] = {}
        for one in self._by_dependence():
            if not _holds(one, known | chosen):
                continue
            divided = (known | chosen).get(one.of)
            if one.scale == "divisors" and not (isinstance(divided, int) and divided >= 1):
                raise _outside(self, f"{one.name} divides {one.of}, which is {divided!r}")
            chosen[one.name] = one.meaning(params[one.sampled_name] if one.is_searched else one.labels[0], divided)
        return chosen

    def _by_dependence(self) -> Iterator[Parameter]:
        """The parameters, those first that others divide or hang on."""
        yield from (one for one in self.parameters if not one.of and not one.when)
        yield from (one for one in self.parameters if one.of or one.when)


def load_space(name: str, algo: str) -> Space:
    """Reads the space of an algorithm from a packaged file or one of the user's.

    Args:
        name: A packaged space (``zoo``, ``eimer2023``), or the path of a TOML file.
        algo: The algorithm.

    Raises:
        UsageError: No such space, no table for the algorithm, or a range or default that has no meaning; the line is named.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = asset("hpo", "spaces", f"{name}.toml") if name in packaged_spaces() else path
    if path.suffix != ".toml" or not path.is_file():
        fix = f"write --space {' or '.join(packaged_spaces())}, or the path of a .toml file of your own"
        what = "no such file" if path.suffix == ".toml" else "it is neither packaged nor the path of a .toml file"
        raise UsageError(f"there is no space {name!r}", what, fix)
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UsageError(f"the space {path.name} cannot be read", f"it is larger than {LARGEST_FILE} bytes", "mend the file")
        text = path.read_text(encoding="utf-8")
        table = parsed_toml(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"the space {path.name} cannot be read", str(error), "mend the file") from error
    entries = table.get(algo)
    if not isinstance(entries, dict) or not entries:
        held = ", ".join(key for key, value in table.items() if isinstance(value, dict)) or "none"
        raise UsageError(f"{path.name} has no space for {algo}", f"it holds: {held}", f"write a table [{algo}]")
    parameters = []
    for keys, entry in _entries(entries, ()):
        try:
            parameters.append(parameter(".".join(keys), entry))
        except BadParameter as error:
            raise _bad_line(path.name, text, (algo, *keys), error) from error
    space = Space(str(table.get("name", path.stem)), algo, str(table.get("source", "")), tuple(parameters))
    try:
        _check_links(space)
    except _BadLink as error:
        keys = next(keys for keys, _ in _entries(entries, ()) if ".".join(keys) == error.name)
        raise _bad_line(path.name, text, (algo, *keys), error) from error
    return space


def packaged_spaces() -> tuple[str, ...]:
    """The names of the spaces that come with openrlb.

    >>> packaged_spaces()
    ('zoo', 'eimer2023')
    """
    return tuple(sorted((file.stem for file in asset("hpo", "spaces").glob("*.toml")), reverse=True))


class _BadLink(BadParameter):
    """A parameter that hangs on another one in a way that has no meaning."""

    def __init__(self, name: str, why: str, key: str = "") -> None:
        super().__init__(why, key)
        self.name = name


def _check_links(space: Space, stored: bool = False) -> None:
    """Checks conditions and divisors against the parameters that they name; what a stored space lacks was fixed (``--set``).

    Raises:
        BadParameter: One names what is not there or hangs on something itself, or two parameters share a name.
    """
    plain = {one.name: one for one in space.parameters if not one.of and not one.when}
    fixed = {name for one in space.parameters for name in (one.of, *(name for name, _ in one.when))} if stored else set()
    fixed -= {one.name for one in space.parameters}
    for index, one in enumerate(space.parameters):
        for other in space.parameters[:index]:
            names = {other.name, other.sampled_name} & {one.name, one.sampled_name}
            if names or _is_within(one.name, other.name):
                raise _BadLink(one.name, f"{other.name} sets it too")
        if one.name == "n_envs" and any(is_number(value) and value > STRIDE for value in one.values):
            raise _BadLink(one.name, f"a run owns {STRIDE} seeds, and each of its environments takes one", one.scale)
        if one.of and one.of not in fixed and (one.of not in plain or not _all_whole(plain[one.of])):
            raise _BadLink(one.name, f"{one.of} is no parameter of whole numbers from 1 that is always set", "of")
        for name, values in one.when:
            if name in fixed:
                continue
            if name not in plain or plain[name].scale != "choices":
                raise _BadLink(one.name, f"its condition names {name}, which is no choice that is always made", "when")
            for value in values:
                if not any(same(value, choice) for choice in plain[name].values):
                    raise _BadLink(one.name, f"its condition waits for {name} = {value!r}, which is no choice", "when")


def _all_whole(one: Parameter) -> bool:
    """True where every value is a whole number from 1."""
    return all(isinstance(value, int) and not isinstance(value, bool) and value >= 1 for value in one.values)


def _entries(table: Mapping[str, Any], before: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The parameters' tables with their keys: a table that holds tables and no scale is a name's first part."""
    for key, value in table.items():
        inner = isinstance(value, dict) and bool(value) and not set(value) & set(SCALES)
        if inner and all(isinstance(one, dict) for one in value.values()):
            yield from _entries(value, (*before, key))
        else:
            yield (*before, key), value


def _bad_line(file: str, text: str, keys: tuple[str, ...], error: BadParameter) -> UsageError:
    """The refusal of a line."""
    line = _line(text, (*keys, error.key)) if error.key else 0
    name = ".".join(keys[1:])
    fix = f"write for instance {name} = {{ log = [1e-5, 1e-2] }} or {{ choices = [32, 64] }}"
    return UsageError(f"{file}, line {line or _line(text, keys)}: {name} has no meaning", error.why, fix)


def _line(text: str, keys: tuple[str, ...]) -> int:
    """The line on which the statement begins that sets a key of a TOML text, from 1; 0 where there is none.

    The text up to a line is valid TOML exactly where a statement ends there, so no second parser is needed.
    """
    lines = text.split("\n")
    before, holds = 0, len(lines)  # so many lines lack the key, so many hold it
    looks = _LOOKS
    while holds - before > 1 and looks:
        end = middle = (before + holds) // 2
        table: Any = None
        for end in range(middle, holds + 1):
            looks -= 1
            with suppress(tomllib.TOMLDecodeError):
                table = parsed_toml("\n".join(lines[:end]))
                break
            if not looks:
                return 0
        for key in keys:
            table = table.get(key) if isinstance(table, dict) else None
        before, holds = (before, middle) if table is not None else (end, holds)
    return before + 1 if holds - before <= 1 else 0


def _outside(space: Space, why: str) -> UsageError:
    """The refusal of params."""
    return UsageError(f"these params are no point of the space {space.name}", why, "check that the space is the study's own")


def _is_within(name: str, outer: str) -> bool:
    """True for a hyperparameter's own name and for a part of it."""
    return name == outer or name.startswith(f"{outer}.") or outer.startswith(f"{name}.")


def _holds(one: Parameter, known: Mapping[str, Any]) -> bool:
    """True where all conditions of a parameter hold."""
    found = {name: "null" if known.get(name) is None else known[name] for name, _ in one.when}
    return all(any(same(found[name], value, numbers=True) for value in values) for name, values in one.when)


def _cut(algo: str, chosen: dict[str, Any], fixed: Mapping[str, Any] | None, steps: int) -> None:
    """Cuts what a run cannot use: buffer and batch."""
    known = flattened(fixed or {}) | chosen
    n_envs = known.get("n_envs", 1)
    if is_number(chosen.get("buffer_size")):
        rollout = known.get("train_freq", _LONG_ROLLOUT)
        past_the_end = (rollout if is_number(rollout) else _LONG_ROLLOUT) * n_envs + n_envs
        chosen["buffer_size"] = min(chosen["buffer_size"], steps + past_the_end)
    if fixed is None and "n_envs" not in chosen:
        return
    if algo in ROLLOUT_ALGORITHMS and is_number(chosen.get("batch_size")) and is_number(known.get("n_steps")):
        chosen["batch_size"] = min(chosen["batch_size"], known["n_steps"] * n_envs)


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names as nested tables."""
    table: dict[str, Any] = {}
    for name, value in flat.items():
        *outer, last = name.split(".")
        inner = table
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[last] = value
    return table


def _under_names(table: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    """The values of a nested table under dotted names, as far as it has them."""
    found = {}
    for name in names:
        value: Any = table
        for key in name.split("."):
            value = value[key] if isinstance(value, Mapping) and key in value else _ABSENT
        if value is not _ABSENT:
            found[name] = value
    return found


_ABSENT = object()
