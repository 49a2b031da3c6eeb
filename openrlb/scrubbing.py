"""Secrets and personal data in what leaves the machine: a page or a bundle is read by others, so that neither may hold any.

A store may hold them in spite of every source's own care: a fetch with ``--keep-personal``, a token in a setting that
nobody foresaw. Nothing of openrlb is imported here, so that every layer can use it.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

Kept = TypeVar("Kept")

SECRET, LOGIN, EMAIL, HOME = "secret", "login in an address", "e-mail address", "home folder"
"""What there is to take out, as it is counted."""

SHORTEST = 8
"""A shorter value of a variable with a secret's name is no secret: a test's ``x`` would take letters out of words."""

_NAME = (
    r"(?:[\w.-]*[_.-])?(?:api[_-]?key|password|passwd|passphrase|secret(?:[_-]?key)?"
    r"|(?:auth|access|api|hub|hf|git\w*|bearer)[_-]?token)"
)
_IS_SECRET = re.compile(f"-*(?:{_NAME}|token)", re.IGNORECASE)
_QUOTED = re.compile(rf"(?<![\w.-])(-*{_NAME}['\"]?(?:\]\s*)?\s*[=:]\s*[rbf]?)(['\"])(?:(?!\2)[^\n])+\2", re.IGNORECASE)
_ASSIGNED = re.compile(
    rf"(?<![\w.-])(-*{_NAME})(['\"]?\s*[=:]\s*|\s+(?=[\w+/-]{{20,}}))"
    r"(?!(?:none|null|true|false)\b|\[secret\])[^\s'\",;&()\[\]{}]+(?![^\s'\",;&)\]}])", re.IGNORECASE,
)  # fmt: skip
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[\w+/=.~-]{16,}")
_TOKENS = re.compile(
    r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{20,}|sk-[\w-]{20,}"
    r"|wandb_v\d+_\w{20,}|xox[abprs]-[\w-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{16}|pypi-[\w-]{32,}|AIza[\w-]{30,}"
    r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,})"
)
_LOGIN = re.compile(r"(?<=://)[^\s/@'\"<>]+@(?=[^\s/@])")
_SSH_LOGIN = re.compile(r"(?<![\w.+-])[\w.-]+@(?=[\w.-]+:[\w.~-]+/)")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}")
_HOME = re.compile(r"(?:/home/|/Users/|(?<![\w])[A-Za-z]:[\\/]Users[\\/])[^\\/\s'\",;:)\]]+|(?<![\w/.])/root(?=/|$)")
_MAY_HOLD = re.compile(
    r"[@:/\\=]|key|token|passw|secret|passphrase|sk-|gh[pousr]_|hf_|pat|AKIA|ASIA|AIza|xox|wandb_v|eyJ|bearer", re.I
)


def is_secret_name(name: str) -> bool:
    """Whether a setting, a flag or a variable of this name holds a secret.

    >>> is_secret_name("WANDB_API_KEY"), is_secret_name("--hub-token"), is_secret_name("max_tokens"), is_secret_name("key")
    (True, True, False, False)
    """
    return _IS_SECRET.fullmatch(name.rsplit(".", 1)[-1]) is not None


@dataclass(slots=True)
class Scrubber:
    """Takes secrets and personal data out of texts and records, and counts what it took.

    Attributes:
        taken: How often each kind of thing was taken out.
    """

    taken: Counter[str] = field(default_factory=Counter)
    _variables: list[str] = field(default_factory=lambda: _secret_variables())

    def text(self, text: str, program: bool = False) -> str:
        """A text without secrets, logins, e-mail addresses and home folders.

        Args:
            text: Any text.
            program: It is a program: what a name is set to is taken out where it stands in quotes, and ``password=password``
                stays what it is.

        >>> scrubber = Scrubber()
        >>> scrubber.text("clone https://ann:ghp_abc@github.com/a/b to /home/ann/b, --api-key=12345678")
        'clone https://github.com/a/b to ~/b, --api-key=[secret]'
        >>> dict(scrubber.taken)
        {'secret': 1, 'login in an address': 1, 'home folder': 1}
        >>> scrubber.text("password = 'hunter2'"), scrubber.text("f(api_key=key, token=None)", program=True)
        ("password = '[secret]'", 'f(api_key=key, token=None)')
        """
        for value in self._variables:
            if value in text:
                self.taken[SECRET] += text.count(value)
                text = text.replace(value, "[secret]")
        if not _MAY_HOLD.search(text):
            return text
        text = self._sub(_QUOTED, lambda found: f"{found[1]}{found[2]}[secret]{found[2]}", text, SECRET)
        if not program:
            text = self._sub(_ASSIGNED, lambda found: f"{found[1]}{found[2]}[secret]", text, SECRET)
        text = self._sub(_BEARER, lambda found: f"{found[1]} [secret]", text, SECRET)
        text = self._sub(_LOGIN, lambda _: "", text, LOGIN)
        text = self._sub(_TOKENS, lambda _: "[secret]", text, SECRET)
        text = self._sub(_SSH_LOGIN, lambda _: "", text, LOGIN)
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
            return {self._value(key): self._entry(key, item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if type(value) is tuple:
            new = tuple(self._value(item) for item in value)
            return value if all(map(_alike, value, new)) else new
        if is_dataclass(value) and not isinstance(value, type):
            return self._record(value)
        return value

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


def _secret_variables() -> list[str]:
    """The values of environment variables with a secret's name, the longest first, so that none is left in part."""
    found = {value for name, value in os.environ.items() if is_secret_name(name) and len(value) >= SHORTEST}
    return sorted(found, key=len, reverse=True)


def _alike(one: object, other: object) -> bool:
    """Whether a value came back as it was."""
    return one is other or (isinstance(one, str) and one == other)
