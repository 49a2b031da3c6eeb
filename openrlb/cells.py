"""Other people's text in cells of tables and on terminals, as text and nothing else."""

from __future__ import annotations

import re

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet runs (https://owasp.org/www-community/attacks/CSV_Injection)."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NAMED = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
_MARKUP = re.compile(r"[\\|\[\]`*]")


def printable(text: str, kept: str = "") -> str:
    r"""A text in which control and direction-changing characters, and bytes that are no text, are written out.

    Args:
        text: Any text; terminals obey control characters, and a file's reader may look at it on one.
        kept: Characters that stay: a format's own line ends.

    >>> printable("a\tb"), printable("\x1b[2J"), printable(b"\xff".decode(errors="surrogateescape"))
    ('a\\tb', '\\x1b[2J', '\\udcff')
    """
    if text.isprintable():  # nearly every text, and 10 times as fast
        return text

    def written(found: re.Match[str]) -> str:
        sign = found[0]
        return sign if sign in kept else _NAMED.get(sign) or sign.encode("unicode_escape").decode()

    return _CONTROL.sub(written, text)


def inert(text: str) -> str:
    r"""A text that no spreadsheet takes for a formula and no terminal for a command; a number, even as text, stays what it is.

    >>> inert("=1+1"), inert("-1.5e3"), inert("@sum"), inert("ppo"), inert("\x1b[31mred")
    ("'=1+1", '-1.5e3', "'@sum", 'ppo', '\\x1b[31mred')
    """
    text = printable(text, kept="\t\n\r")
    if not text.startswith(FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def markdown(text: str) -> str:
    r"""A text that stays in its cell of a Markdown table, and is no link, no image and no HTML there.

    >>> print(markdown("a|b <b> [x](javascript:y)"))
    a\|b &lt;b> \[x\](javascript:y)
    """
    return _MARKUP.sub(r"\\\g<0>", printable(" ".join(text.split()))).replace("<", "&lt;")
