"""Which names hold secrets, and the secrets that this machine itself knows. Nothing of openrlb is imported here."""

from __future__ import annotations

import base64
import netrc
import os
import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

SHORTEST = 8
"""A shorter value of a variable with a secret's name is no secret: a test's ``x`` would take letters out of words."""
MOST_BYTES = 4096
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_ALWAYS = frozenset(
    "secret secrets password passwords passwd passphrase credential credentials apikey webhook privatekey".split()
)
_LAST = frozenset("pwd cookie cookies authorization token key pass".split())
_KEYS = frozenset(
    """api secret private access storage encryption wandb ssh signing account service auth deploy license master client gpg
    session subscription admin openai anthropic hf aws azure gcp google github gitlab slack comet neptune mlflow""".split()
)
_PASSES = frozenset("db user my admin root smtp ftp sql mysql postgres redis auth login mail http proxy".split())
_NO_TOKENS = frozenset(
    """mask pad cls eos bos sep unk vocab next last first start end stop special prompt image action reward state per each num n
    new line""".split()
)
_OF_VARIABLES = frozenset(
    "key keys token tokens secret secrets pass password passwd pwd credential credentials apikey passphrase".split()
)


def is_secret_name(name: str) -> bool:
    """Whether a setting, a flag or a variable of this name holds a secret, however its words are joined.

    Args:
        name: The name; dots may lead to it.

    >>> [is_secret_name(name) for name in ("WANDB_API_KEY", "--hub-token", "wandbApiKey", "AWS_SECRET_ACCESS_KEY", "db_pass")]
    [True, True, True, True, True]
    >>> [is_secret_name(name) for name in ("max_tokens", "key", "pad_token", "tokenizer", "forward_pass", "monkey")]
    [False, False, False, False, False, False]
    """
    words = _words(name)
    while words and words[-1].isdigit():
        words.pop()
    if not _ALWAYS.isdisjoint(words):
        return True
    if not words or words[-1] not in _LAST:
        return False
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last == "key":
        return before in _KEYS
    return before in _PASSES if last == "pass" else before not in _NO_TOKENS if last == "token" else True


def known_secrets() -> tuple[str, ...]:
    """The secrets that this machine knows, in every form in which they may be written, the longest first.

    They are the values of environment variables with a secret's name, the passwords of the netrc file (where ``wandb login``
    keeps its key) and the token of the Hugging Face hub; each as it is, in base64 and as part of an address.
    """
    found = {value for name, value in os.environ.items() if not _OF_VARIABLES.isdisjoint(_words(name)) and not _is_path(value)}
    found |= {*_of_netrc(), *_of_hub()}
    forms = {form for value in found if len(value) >= SHORTEST for form in _forms(value)}
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def _is_path(value: str) -> bool:
    return value.startswith(("/", "~", ".", "\\")) or value[1:3] in (":\\", ":/")


def _of_netrc() -> set[str]:
    """The passwords of the netrc file."""
    found: set[str] = set()
    with suppress(OSError, netrc.NetrcParseError, UnicodeDecodeError, RuntimeError):
        path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
        found = {password for _, _, password in netrc.netrc(str(path)).hosts.values() if password}
    return found


def _of_hub() -> set[str]:
    """The token of the Hugging Face hub."""
    with suppress(OSError, UnicodeDecodeError, RuntimeError):
        home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
        path = Path(os.environ.get("HF_TOKEN_PATH") or home / "token")
        if path.stat().st_size <= MOST_BYTES:
            return {path.read_text(encoding="utf-8").strip()}
    return set()


def _forms(value: str) -> set[str]:
    r"""A secret as it may be written: itself, in an address, and in base64 wherever in a longer text it begins.

    >>> import base64
    >>> text = base64.b64encode(b"user:correct-horse-battery").decode()
    >>> any(form in text for form in _forms("correct-horse-battery"))
    True
    """
    forms = {value, quote(value, safe="")}
    data = value.encode("utf-8", "surrogateescape")
    for offset in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            whole = encode(b"\0" * offset + data).decode().rstrip("=")
            forms.add(whole[(0, 2, 3)[offset] : len(whole) - (1 if (offset + len(data)) % 3 else 0)])
    return forms
