"""One hyperparameter of a search space: its range, what a sampler draws for it, and what a drawn value means.

A sampler draws *params*: numbers, words and booleans under :attr:`Parameter.sampled_name`, as Optuna's distributions hold them.
The library is asked for *hyperparameters*. The two differ for a discount (``one_minus_log`` draws ``1 - gamma``), for choices
that are lists or objects (drawn by their JSON text), and for a value that follows from another (``divisors``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Scale = Literal["uniform", "log", "integers", "log_integers", "one_minus_log", "choices", "divisors"]
SCALES: tuple[Scale, ...] = get_args(Scale)
LISTS: tuple[Scale, ...] = ("choices", "divisors")
FREEZES_AT_ZERO = ("learning_rate", "clip_range", "clip_range_vf", "max_grad_norm")
"""A range of these cannot begin at exactly 0: nothing is learned there, and samplers do reach the ends of a range."""
_DUST = 1e-9  # 1 - 0.9999 is a rounding error away from 1e-4


class BadParameter(ValueError):  # noqa: N818 - the reason why a line of a space has no meaning
    """A parameter's table has no meaning.

    Args:
        why: The reason.
        key: Which key of the table is wrong (``default``), or an empty text for all of it.
    """

    def __init__(self, why: str, key: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.key = key


@dataclass(frozen=True, slots=True)
class Parameter:
    """One hyperparameter's range.

    Attributes:
        name: The library's own name for it; a dotted one is inside another (``policy_kwargs.net_arch``).
        scale: How values are drawn.
        values: The two ends of a range, both included, or the choices or divisors.
        of: For divisors, the hyperparameter that is divided, else an empty text.
        when: Under which values of other hyperparameters it is set at all; all conditions must hold.
        lowest_is_zero: True where the lower end of a logarithmic range stands for exactly 0.
        default: A value that the space's author declares, or None.
    """

    name: str
    scale: Scale
    values: tuple[Any, ...]
    of: str = ""
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    lowest_is_zero: bool = False
    default: Any = None

    @property
    def sampled_name(self) -> str:
        """Its name among the params.

        >>> Parameter("gamma", "one_minus_log", (1e-4, 0.1)).sampled_name
        'one_minus_gamma'
        >>> Parameter("gradient_steps", "divisors", (1, 2), of="train_freq").sampled_name
        'train_freq_per_gradient_steps'
        """
        if self.scale == "one_minus_log":
            return f"one_minus_{self.name}"
        return f"{self.of}_per_{self.name}" if self.scale == "divisors" else self.name

    @property
    def labels(self) -> tuple[Any, ...]:
        """What is drawn for each choice: itself, or the JSON text of a list or an object; empty for a range.

        >>> Parameter("policy_kwargs.net_arch", "choices", ([64], [64, 64])).labels
        ('[64]', '[64, 64]')
        """
        return tuple(map(_label, self.values)) if self.scale in LISTS else ()

    @property
    def is_searched(self) -> bool:
        """False for a single choice: it is always set, and never drawn."""
        return self.scale not in LISTS or len(self.values) > 1

    @property
    def is_ordered(self) -> bool:
        """True for ranges and for choices that are rising numbers: a sampler of directions can walk along them."""
        if self.scale not in LISTS:
            return True
        return all(map(is_number, self.values)) and list(self.values) == sorted(self.values)

    @property
    def size(self) -> int:
        """How many values there are, 0 where they are not counted (real numbers, logarithmic whole numbers)."""
        if self.scale == "integers":
            return int(self.values[1] - self.values[0] + 1)
        return len(self.values) if self.scale in LISTS else 0

    @property
    def range_words(self) -> str:
        """Which values it has, in words.

        >>> Parameter("lr", "log", (1e-5, 1e-2)).range_words, Parameter("gamma", "one_minus_log", (1e-4, 0.1)).range_words
        ('from 1e-05 to 0.01', 'from 0.9 to 0.9999')
        """
        if self.scale in LISTS:
            return f"one of {', '.join(json.dumps(value) for value in self.values)}" + (f" parts of {self.of}" if self.of else "")
        ends = sorted(self.meaning(end) for end in self.values)
        return f"from {ends[0]:.6g} to {ends[1]:.6g}"

    def at(self, share: float) -> Any:  # noqa: ANN401 - a choice can be anything
        """The param that lies at a share of the range: equal shares are equally likely under the parameter's scale.

        Args:
            share: From 0 to 1, both included.

        >>> Parameter("lr", "log", (1e-4, 1e-2)).at(0.5), Parameter("n", "integers", (1, 4)).at(0.99)
        (0.001, 4)
        """
        if self.size:
            index = min(int(share * self.size), self.size - 1)
            return int(self.values[0] + index) if self.scale == "integers" else self.labels[index]
        low, high = self.values
        if self.scale == "uniform":
            value = low + share * (high - low)
        elif self.scale == "log_integers":
            value = round((low - 0.5) * ((high + 0.5) / (low - 0.5)) ** share)
        else:
            value = low * (high / low) ** share
        return min(max(value, low), high)

    def holds(self, param: object) -> bool:
        """True where a param lies in the range, both ends included."""
        if self.scale in LISTS:
            return any(same(param, label) for label in self.labels)
        whole = self.scale in ("integers", "log_integers")
        right = isinstance(param, int) and not isinstance(param, bool) if whole else is_number(param)
        return bool(right and self.values[0] <= param <= self.values[1])

    def meaning(self, param: Any, divided: Any = None) -> Any:  # noqa: ANN401
        """The hyperparameter's value for a param.

        Args:
            param: What was drawn.
            divided: For divisors, the value of the hyperparameter that is divided.

        >>> Parameter("gamma", "one_minus_log", (1e-4, 0.1)).meaning(0.01)
        0.99
        >>> Parameter("gradient_steps", "divisors", (1, 2), of="train_freq").meaning(2, 9)
        4
        """
        if self.scale == "choices":
            value = self.values[self.labels.index(param)]
            return None if same(value, "null") else value
        if self.scale == "divisors":
            return max(divided // param, 1)
        drawn = 0.0 if self.lowest_is_zero and param == self.values[0] else param
        return 1 - drawn if self.scale == "one_minus_log" else drawn

    def param_of(self, value: Any, divided: Any = None) -> Any:  # noqa: ANN401
        """The param that means a hyperparameter's value, or None where the range does not hold it.

        >>> Parameter("gamma", "one_minus_log", (1e-4, 0.1)).param_of(0.9999)
        0.0001
        """
        if self.scale == "choices":
            wanted = _label(value)
            return next((label for label in self.labels if same(label, wanted, numbers=True)), None)
        if self.scale == "divisors":
            fits = is_number(divided) and is_number(value)
            return next((one for one in self.values if fits and max(divided // one, 1) == value), None)
        if not is_number(value):
            return None
        drawn = 1 - value if self.scale == "one_minus_log" else value
        if self.lowest_is_zero and drawn == 0:
            return self.values[0]
        if self.scale in ("integers", "log_integers"):
            drawn = int(drawn) if float(drawn).is_integer() else drawn
        else:
            ends = [end for end in self.values if math.isclose(drawn, end, rel_tol=_DUST)]
            drawn = ends[0] if ends and not self.holds(drawn) else float(drawn)
        return drawn if self.holds(drawn) else None

    def entry(self) -> dict[str, Any]:
        """The table that declares it in a space's file, and in JSON."""
        table: dict[str, Any] = {self.scale: list(self.values)}
        if self.of:
            table["of"] = self.of
        if self.when:
            table["when"] = {name: list(values) for name, values in self.when}
        if self.lowest_is_zero:
            table["lowest_is_zero"] = True
        if self.default is not None:
            table["default"] = self.default
        return table


def parameter(name: str, entry: object) -> Parameter:
    """Reads one parameter from its table.

    Args:
        name: The hyperparameter's name.
        entry: The table: one scale, and perhaps ``of``, ``when``, ``lowest_is_zero`` and ``default``.

    Raises:
        BadParameter: The table has no meaning.
    """
    if not isinstance(entry, dict) or sum(key in SCALES for key in entry) != 1:
        known = entry if isinstance(entry, dict) else {}
        odd = next((f"{key} is none of them; " for key in known if key not in (*SCALES, *_EXTRAS)), "")
        raise BadParameter(f"{odd}it needs exactly one of {', '.join(SCALES)}")
    odd = next((key for key in entry if key not in (*SCALES, *_EXTRAS)), "")
    if odd:
        raise BadParameter(f"{odd} is none of {', '.join((*SCALES, *_EXTRAS))}", odd)
    scale: Scale = next(key for key in SCALES if key in entry)
    values = _choices(scale, entry[scale]) if scale in LISTS else _ends(name, scale, entry[scale])
    of, lowest_is_zero = entry.get("of", ""), entry.get("lowest_is_zero", False)
    if (scale == "divisors") != bool(of) or not isinstance(of, str):
        raise BadParameter('divisors divide another hyperparameter, named by of = "train_freq"', "of" if of else "")
    if lowest_is_zero not in (True, False) or (lowest_is_zero and scale not in ("log", "one_minus_log")):
        raise BadParameter("lowest_is_zero is true or false, and for log and one_minus_log only", "lowest_is_zero")
    found = Parameter(name, scale, values, of, _conditions(entry.get("when", {})), lowest_is_zero, entry.get("default"))
    if found.default is not None and (scale == "divisors" or found.param_of(found.default) is None):
        raise BadParameter(f"its default {found.default!r} lies outside of it", "default")
    return found


_EXTRAS = ("of", "when", "lowest_is_zero", "default")


def _choices(scale: Scale, values: object) -> tuple[Any, ...]:
    """Checked choices or divisors."""
    if not isinstance(values, list) or not values:
        raise BadParameter(f"{scale} is an empty list, or none", scale)
    if not all(map(_is_json, values)):
        raise BadParameter(f"{scale} may hold numbers, words, booleans, lists and tables of such", scale)
    if scale == "divisors" and not all(isinstance(one, int) and not isinstance(one, bool) and one >= 1 for one in values):
        raise BadParameter("divisors are whole numbers from 1", scale)
    labels = list(map(_label, values))
    doubles = [label for index, label in enumerate(labels) if label in labels[:index]]  # 1, 1.0 and true are one to Optuna
    if doubles:
        raise BadParameter(f"{scale} holds {doubles[0]!r} twice", scale)
    return tuple(values)


def _ends(name: str, scale: Scale, values: object) -> tuple[Any, ...]:
    """The checked ends of a range."""
    if not isinstance(values, list) or len(values) != 2 or not all(map(is_number, values)) or values[0] >= values[1]:
        raise BadParameter(f"{scale} needs a lower and a larger upper end", scale)
    if "log" in scale and values[0] <= 0:
        raise BadParameter("a logarithmic range cannot reach 0", scale)
    if values[0] <= 0 and name in FREEZES_AT_ZERO:
        raise BadParameter(f"nothing is learned with a {name} of 0: begin the range a little above", scale)
    if "integers" not in scale:
        return tuple(map(float, values))
    if not all(isinstance(value, int) for value in values):
        raise BadParameter("the ends of a whole-number range are whole numbers", scale)
    return tuple(values)


def _conditions(when: object) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    """The conditions of a parameter, by name."""
    if not isinstance(when, dict):
        raise BadParameter("when is a table such as { use_sde = true }", "when")
    flat = flattened(when)
    return tuple(sorted((name, tuple(value) if isinstance(value, list) else (value,)) for name, value in flat.items()))


def flattened(table: Mapping[str, Any]) -> dict[str, Any]:
    """A nested table under dotted names.

    >>> flattened({"a": 1, "b": {"c": [2]}})
    {'a': 1, 'b.c': [2]}
    """
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            flat |= {f"{key}.{inner}": one for inner, one in flattened(value).items()}
        else:
            flat[key] = value
    return flat


def is_number(value: object) -> bool:
    """True for numbers that a float can hold; booleans are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e308  # NaN is not


def same(one: object, other: object, numbers: bool = False) -> bool:
    """Equality under which ``True`` is not 1; with ``numbers``, 1.0 is 1."""
    if numbers and is_number(one) and is_number(other):
        return one == other
    return type(one) is type(other) and one == other


def _label(value: object) -> Any:  # noqa: ANN401
    """What is drawn for a choice."""
    return value if isinstance(value, bool | int | float | str) else json.dumps(value, sort_keys=True)


def _is_json(value: object) -> bool:
    """True for what JSON can hold and a library can be asked for."""
    if isinstance(value, list):
        return all(map(_is_json, value))
    if isinstance(value, dict):
        return all(map(_is_json, value.values()))
    return isinstance(value, bool | str) or is_number(value)
