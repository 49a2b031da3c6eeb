"""Secrets and personal data in what leaves the machine: a page or a bundle is read by others, so that neither may hold any.

A store may hold them in spite of every source's own care: a fetch with ``--keep-personal``, a token in a setting that
nobody foresaw. Only :mod:`openrlb.secret_names` is imported here, so that every layer can use it.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

from openrlb.secret_names import is_secret_name, known_secrets

__all__ = ["Scrubber", "distinct", "is_secret_name", "scrubbed", "scrubbed_rows"]

Kept = TypeVar("Kept")

SECRET, LOGIN, EMAIL, HOME = "secret", "login in an address", "e-mail address", "home folder"
"""What there is to take out, as it is counted."""

_HAS_NAME = re.compile(r"key|token|pass|pwd|secret|credential|webhook|cookie|authorization", re.I)
_NAMED = re.compile(
    r"(?<![\w.-])(-{0,2}[A-Za-z][\w.-]{0,100})"
    r"(['\"]?(?:\]\s*)?\s*[=:]\s*(?:[rbf](?=['\"]))?|['\"]\s*,\s*(?=['\"])|\s+)"
)
"""A name and what divides it from its value: a sign, a comma in a list of words, or blanks."""
_QUOTED = re.compile(r"(['\"])((?:(?!\1)[^\n])*)\1")
_BARE = re.compile(r"(?!(?:none|null|true|false)\b|\[secret\])[^\s'\",;&()\[\]{}]+(?![^\s'\",;&)\]}])", re.I)
_LONG = re.compile(r"[\w+/=-]{20,}")
_HEXADECIMAL = re.compile(r"[0-9a-f]{40}", re.I)
_NETRC = re.compile(r"(\blogin\s+\S+\s+password\s+)(?!\[secret\])\S+")
_WANDB_KEY = re.compile(r"(\bwandb\W{1,6}login\b[^\n]{0,40}?|(?<![\w.-])key\W{1,4})\b[0-9a-f]{40}\b", re.I)
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S)
_WEBHOOK = re.compile(r"(hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks)/[\w/-]+")
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[\w+/=.~-]{16,}")
_TOKENS = re.compile(
    r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{20,}|sk-[\w-]{20,}"
    r"|wandb_v\d+_\w{20,}|local-[0-9a-f]{40}|xox[abprs]-[\w-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{16}|pypi-[\w-]{32,}|AIza[\w-]{30,}"
    r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,})"
)
_LOGIN = re.compile(r"(?<=://)[^\s/@'\"<>]+@(?=[^\s/@])")
_SSH_LOGIN = re.compile(r"(?<![\w.+-])[\w.-]+@(?=[\w.-]+:[\w.~-]+/)")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}")
_HOME = re.compile(r"(?:/home/|/Users/|(?<![\w])[A-Za-z]:[\\/]Users[\\/])[^\\/\s'\",;:)\]]+|(?<![\w/.])/root(?=/|$)")
_NUMBERS = frozenset((int, float, bool, type(None)))
"""What holds no text: most of a page is long lists of it."""
_MAY_HOLD = re.compile(r"[@:/\\=]|-----|sk-|gh[pousr]_|hf_|pat|AKIA|ASIA|AIza|xox|wandb|local-|eyJ|bearer|basic|login|key", re.I)


@dataclass(slots=True)
class Scrubber:
    """Takes secrets and personal data out of texts and records, and counts what it took.

    Attributes:
        taken: How often each kind of thing was taken out.
    """

    taken: Counter[str] = field(default_factory=Counter)
    _known: tuple[str, ...] = field(default_factory=known_secrets)

    def text(self, text: str, program: bool = False) -> str:
        """A text without secrets, logins, e-mail addresses and home folders.

        Args:
            text: Any text.
            program: It is a program, which shall still run and be known by its hash: what a name is set to is taken out where
                it stands in quotes, ``password=password`` and its authors' e-mail addresses stay.

        >>> scrubber = Scrubber()
        >>> scrubber.text("clone https://ann:ghp_abc@github.com/a/b to /home/ann/b, --api-key=12345678")
        'clone https://github.com/a/b to ~/b, --api-key=[secret]'
        >>> dict(scrubber.taken)
        {'secret': 1, 'login in an address': 1, 'home folder': 1}
        >>> scrubber.text("password = 'hunter2'"), scrubber.text("f(api_key=key, token=None)", program=True)
        ("password = '[secret]'", 'f(api_key=key, token=None)')
        """
        for value in self._known:
            if value in text:
                self.taken[SECRET] += text.count(value)
                text = text.replace(value, "[secret]")
        if _HAS_NAME.search(text):
            text = self._named(text, program)
        if not _MAY_HOLD.search(text):
            return text
        text = self._sub(_PEM, lambda _: "[secret]", text, SECRET)
        text = self._sub(_WEBHOOK, lambda found: f"{found[1]}/[secret]", text, SECRET)
        text = self._sub(_NETRC, lambda found: f"{found[1]}[secret]", text, SECRET)
        text = self._sub(_WANDB_KEY, lambda found: f"{found[1]}[secret]", text, SECRET)
        text = self._sub(_BEARER, lambda found: f"{found[1]} [secret]", text, SECRET)
        text = self._sub(_LOGIN, lambda _: "", text, LOGIN)
        text = self._sub(_TOKENS, lambda _: "[secret]", text, SECRET)
        text = self._sub(_SSH_LOGIN, lambda _: "", text, LOGIN)
        if not program:
            text = self._sub(_EMAIL, lambda _: "[e-mail]", text, EMAIL)
        home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
        if len(home) > 1 and home in text:
            text = self._sub(re.compile(rf"(?<![\w.]){re.escape(home)}(?=[/\\]|$|[^\w.-])"), lambda _: "~", text, HOME)
        return self._sub(_HOME, lambda _: "~", text, HOME)

    def value(self, value: Kept) -> Kept:
        """A record, mapping or list with every text in it scrubbed, keys as well; arrays and numbers stay the same objects.

        >>> Scrubber().value({"lr": 0.1, "wandb_api_key": "abc", "logs": ["/home/ann/x"]})
        {'lr': 0.1, 'wandb_api_key': '[secret]', 'logs': ['~/x']}
        """
        return self._value(value)  # type: ignore[no-any-return]

    def _value(self, value: Any) -> Any:  # noqa: ANN401 - any record
        """The same for any value."""
        if isinstance(value, str):
            return value if type(value) is not str else self.text(value)
        if isinstance(value, Mapping):
            names = distinct((key for key in value if isinstance(key, str)), self.text)
            return {names.get(key, key): self._entry(key, item) for key, item in value.items()}
        if type(value) in (list, tuple) and _NUMBERS.issuperset(map(type, value)):
            return value[:]
        if isinstance(value, list):
            return self._words(value)
        if type(value) is tuple:
            new = tuple(self._words(value))
            return value if all(map(_alike, value, new)) else new
        if is_dataclass(value) and not isinstance(value, type):
            return self._record(value)
        return value

    def _words(self, words: Sequence[Any]) -> list[Any]:
        """A list's items; of a command line's words a flag may say that the next one is a secret."""
        found = []
        for before, word in zip([None, *words], words, strict=False):
            secret = isinstance(before, str) and isinstance(word, str) and _follows(before, word)
            if secret:
                self.taken[SECRET] += 1
            found.append("[secret]" if secret else self._value(word))
        return found

    def _named(self, text: str, program: bool) -> str:
        """A text in which what has a secret's name has no value."""
        parts, kept, place = [], 0, 0
        while found := _NAMED.search(text, place):
            place = found.end()
            if not is_secret_name(found[1]):
                continue
            value = _value_of(text, found, program)
            if value is not None and value[0] < value[1] and text[value[0] : value[1]] != "[secret]":
                parts += [text[kept : value[0]], "[secret]"]
                kept = place = value[1]
                self.taken[SECRET] += 1
        return "".join([*parts, text[kept:]])

    def _entry(self, key: object, item: Any) -> Any:  # noqa: ANN401 - any value
        """A mapping's value: a secret where its key says so."""
        if isinstance(key, str) and isinstance(item, str) and item and is_secret_name(key):
            self.taken[SECRET] += 1
            return "[secret]"
        return self._value(item)

    def _record(self, record: Any) -> Any:  # noqa: ANN401 - any dataclass
        """A dataclass, the same object where nothing in it was taken out."""
        from dataclasses import replace

        old = {one.name: getattr(record, one.name) for one in fields(record) if one.init}
        new = {name: self._value(item) for name, item in old.items()}
        return replace(record, **new) if not all(_alike(new[name], old[name]) for name in old) else record

    def _sub(self, pattern: re.Pattern[str], by: Callable[[re.Match[str]], str], text: str, kind: str) -> str:
        """A text with every match of a pattern replaced, and counted."""
        changed, count = pattern.subn(by, text)
        if count:
            self.taken[kind] += count
        return changed


def scrubbed(value: Kept) -> Kept:
    """A value without secrets and personal data, where nobody asks what was taken out; see :class:`Scrubber`.

    >>> scrubbed(("ask ann@example.org", 3))
    ('ask [e-mail]', 3)
    """
    return Scrubber().value(value)


def scrubbed_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same of a table of texts, lists of texts and numbers, whose texts repeat: each is looked at once.

    >>> scrubbed_rows([{"run": "/home/ann/x", "tags": ["ann@example.org"], "seed": 1}])
    [{'run': '~/x', 'tags': ['[e-mail]'], 'seed': 1}]
    """
    scrubber, known = Scrubber(), {}

    def cell(value: Any) -> Any:  # noqa: ANN401 - any cell
        if type(value) is str:
            if value not in known:
                known[value] = scrubber.text(value)
            return known[value]
        return [cell(one) for one in value] if isinstance(value, list) else value

    secret = {name for row in rows[:1] for name in row if is_secret_name(name)}
    return [{name: "[secret]" if name in secret and value else cell(value) for name, value in row.items()} for row in rows]


def distinct(names: Iterable[str], clean: Callable[[str], str]) -> dict[str, str]:
    """A clean name for each name, no two alike: what cleaning made equal is numbered, so that nothing is lost.

    Args:
        names: The names.
        clean: What takes secrets and personal data out of a name.

    >>> distinct(["/home/bob/x", "~/x", "/home/ann/x", "loss"], Scrubber().text)
    {'/home/bob/x': '~/x (3)', '~/x': '~/x', '/home/ann/x': '~/x (2)', 'loss': 'loss'}
    """
    cleaned = {name: clean(name) for name in names}
    used = {name for name, new in cleaned.items() if new == name}
    for name, new in sorted(cleaned.items()):
        if new == name:
            continue
        number = 1
        while cleaned[name] in used:
            number += 1
            cleaned[name] = f"{new} ({number})"
        used.add(cleaned[name])
    return cleaned


def _value_of(text: str, found: re.Match[str], program: bool) -> tuple[int, int] | None:
    """Where the value of a name begins and ends; None where there is none."""
    name, divider, place = found[1], found[2], found.end()
    assigned, flag = divider.strip(" \t\n'\"]rbf") in ("=", ":"), name.startswith("-")
    if quoted := _QUOTED.match(text, place):
        return quoted.span(2) if assigned or flag else None
    if (
        program
        or (not assigned and not flag and not _LONG.match(text, place))
        or (divider.isspace() and text[place : place + 1] == "-")
    ):
        return None
    bare = _BARE.match(text, place)
    return bare.span() if bare else None


def _follows(before: str, word: str) -> bool:
    """Whether a word is a secret because of the one before it."""
    if before.startswith("-") and word and is_secret_name(before):
        return True
    return before == "login" and _HEXADECIMAL.fullmatch(word) is not None


def _alike(one: object, other: object) -> bool:
    """Whether a value came back as it was."""
    return one is other or (isinstance(one, str) and one == other)
