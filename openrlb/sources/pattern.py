"""Patterns for the parts of a path: ``{algo}/{env}__{seed}__{_}``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from openrlb.errors import MapError

PATH_FIELDS = ("algo", "impl", "env", "seed", "name", "id", "tag")
DATA_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".npy", ".npz")
_FIX = "write it like --map 'path:{algo}/{env}__{seed}__{_}'"


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A pattern for the last components of a path.

    Attributes:
        text: The pattern as typed.
        names: The fields in it, in order; ``_`` left out.
        depth: How many components it covers.
    """

    text: str
    names: tuple[str, ...]
    depth: int

    @classmethod
    def parse(cls, text: str) -> PathPattern:
        """Checks a pattern.

        Raises:
            MapError: No field in it, an unknown field, or braces that do not pair.

        >>> PathPattern.parse("{algo}/{env}_{seed}").names
        ('algo', 'env', 'seed')
        """
        text = text.strip().strip("/")
        fields = re.findall(r"\{([^{}]*)\}", text)
        unknown = [name for name in fields if not (name == "_" or name in PATH_FIELDS or re.fullmatch(r"config\.\S+", name))]
        if unknown:
            allowed = ", ".join(PATH_FIELDS)
            raise MapError(f"path:{text} is not usable", f"{{{unknown[0]}}} is no field; {allowed}, config.KEY and _ are", _FIX)
        if re.search(r"[{}]", re.sub(r"\{[^{}]*\}", "", text)) or "" in text.split("/"):
            raise MapError(f"path:{text} is not usable", "its braces or slashes do not pair", _FIX)
        names = tuple(dict.fromkeys(name for name in fields if name != "_"))
        if not names:
            raise MapError(f"path:{text} is not usable", "it has no {field}", _FIX)
        return cls(text, names, text.count("/") + 1)

    def match(self, components: Sequence[str]) -> dict[str, str] | None:
        """What the fields are in a path, or None where the pattern does not fit its last components.

        The extension of a data file may be left out of the pattern.

        Raises:
            MapError: The path fits in more than one way, so that no answer would be sure.

        >>> PathPattern.parse("{algo}/{env}_{seed}").match(["logs", "ppo", "Hopper-v4_3.csv"])
        {'algo': 'ppo', 'env': 'Hopper-v4', 'seed': '3'}
        """
        if len(components) < self.depth:
            return None
        last = components[len(components) - self.depth :]
        for name in dict.fromkeys((without_suffix(last[-1]), last[-1])):
            target = "/".join((*last[:-1], name))
            shortest = re.fullmatch(self._regex(lazy=True), target)
            if shortest is None:
                continue
            longest = re.fullmatch(self._regex(lazy=False), target)
            first, second = self._found(shortest), self._found(longest)
            if first != second:
                why = f"{target} fits as {first} and as {second}"
                raise MapError(f"path:{self.text} is ambiguous", why, "put more of the path's fixed text into the pattern")
            return first
        return None

    def _regex(self, lazy: bool) -> str:
        """The pattern as a regular expression whose fields take as little, or as much, as they can."""
        seen: dict[str, str] = {}
        pieces = []
        for piece in re.split(r"(\{[^{}]*\})", self.text):
            name = piece[1:-1]
            if not piece.startswith("{"):
                pieces.append(re.escape(piece))
            elif name in seen:
                pieces.append(f"(?P={seen[name]})")
            else:
                kind = "[0-9]+" if name == "seed" else "[^/]+"
                group = f"field_{self.names.index(name)}" if name != "_" else ""
                body = kind + ("?" if lazy else "")
                pieces.append(f"(?P<{group}>{body})" if group else f"(?:{body})")
                if group:
                    seen[name] = group
        return "".join(pieces)

    def _found(self, match: re.Match[str] | None) -> dict[str, str]:
        return {} if match is None else {name: match[f"field_{number}"] for number, name in enumerate(self.names)}


def without_suffix(name: str) -> str:
    """A file's name without the extension of a data file.

    >>> without_suffix("Hopper-v4_1.csv.gz"), without_suffix("Hopper-v1.5")
    ('Hopper-v4_1', 'Hopper-v1.5')
    """
    stem = name[:-3] if name.lower().endswith(".gz") else name
    for suffix in DATA_SUFFIXES:
        if stem.lower().endswith(suffix) and len(stem) > len(suffix):
            return stem[: -len(suffix)]
    return stem
