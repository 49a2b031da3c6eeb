"""Environment names as people say them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase

VERSION = re.compile(r"-v\d+$", re.IGNORECASE)
ATARI_SUFFIX = re.compile(r"(NoFrameskip|Deterministic)$")


def base_name(env: str) -> str:
    """An environment id without its namespace and version; Atari's frame-skip words count as version.

    >>> base_name("Hopper-v4"), base_name("ALE/Pong-v5"), base_name("PongNoFrameskip-v4"), base_name("hopper-hop")
    ('Hopper', 'Pong', 'Pong', 'hopper-hop')
    """
    name = env.rsplit("/", 1)[-1]
    short = VERSION.sub("", name)
    return ATARI_SUFFIX.sub("", short) if short != name else short


def matching(asked: str, envs: Iterable[str]) -> list[str]:
    """The environments that a word means: a full id, a glob, or a name in any version; case does not matter.

    ``Hopper`` means Hopper-v1 to Hopper-v5, but neither HopperBulletEnv-v0 nor hopper-hop.

    >>> matching("hopper", ["Hopper-v1", "Hopper-v5", "HopperBulletEnv-v0", "hopper-hop"])
    ['Hopper-v1', 'Hopper-v5']
    >>> matching("Hopper-v5", ["Hopper-v1", "Hopper-v5"]), matching("hopper*", ["Hopper-v5", "hopper-hop"])
    (['Hopper-v5'], ['Hopper-v5', 'hopper-hop'])
    >>> matching("CartPole", ["CartPole", "CartPole-v1"])  # some log folders say no version
    ['CartPole', 'CartPole-v1']
    """
    known, word = sorted(set(envs)), asked.lower()
    exact = [env for env in known if env.lower() == word]
    if exact and VERSION.search(asked):
        return exact
    if any(letter in asked for letter in "*?["):
        return [env for env in known if fnmatchcase(env.lower(), word)]
    return [env for env in known if env in exact or base_name(env).lower() == word]


def nearest(asked: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names that look most like a word, for "did you mean".

    >>> nearest("Hoper", ["Hopper-v4", "Ant-v4"])
    ['Hopper-v4']
    """
    by_lower: dict[str, str] = {}
    for name in sorted(set(known)):
        by_lower.setdefault(name.lower(), name)
        by_lower.setdefault(base_name(name).lower(), name)
    found = [by_lower[match] for match in get_close_matches(asked.lower(), by_lower, n=2 * count, cutoff=0.5)]
    return list(dict.fromkeys(found))[:count]
