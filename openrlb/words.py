"""Durations and counts, as people read them."""

from __future__ import annotations


def span(seconds: float | None) -> str:
    """A duration for people.

    >>> span(42.4), span(125), span(7325), span(None)
    ('42 s', '2 min 5 s', '2 h 2 min', '?')
    """
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def counted(count: int, thing: str, things: str | None = None) -> str:
    """A count with its noun.

    >>> counted(1, "run"), counted(2000, "run"), counted(2, "study", "studies")
    ('1 run', '2,000 runs', '2 studies')
    """
    return f"{count:,} {thing if count == 1 else things or f'{thing}s'}"
