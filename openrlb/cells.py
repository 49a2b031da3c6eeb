"""Other people's text in cells of tables, as text and nothing else."""

from __future__ import annotations

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet runs (https://owasp.org/www-community/attacks/CSV_Injection)."""


def inert(text: str) -> str:
    """A text that no spreadsheet takes for a formula; a number, even as text, stays what it is.

    >>> inert("=1+1"), inert("-1.5e3"), inert("@sum"), inert("ppo")
    ("'=1+1", '-1.5e3', "'@sum", 'ppo')
    """
    if not text.startswith(FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def markdown(text: str) -> str:
    r"""A text that stays in its cell of a Markdown table, and is no HTML there.

    >>> print(markdown("a|b <b>"))
    a\|b &lt;b>
    """
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
