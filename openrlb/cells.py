"""Other people's text in cells of tables and on terminals, as text and nothing else."""

from __future__ import annotations

import re
import unicodedata

_LINE_SIGNS = ("\t", "\r", "\n")
_FORMULA = ("=", "+", "-", "@")
"""With the signs of a line's end what a cell begins with that a spreadsheet runs, full-width ones too, and perhaps behind blanks
(https://owasp.org/www-community/attacks/CSV_Injection)."""

_BLANK = re.compile("[\\s\u00ad\u180e\u200b-\u200d\u2060-\u2064\ufeff]+")

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

    >>> inert("=1+1"), inert("-1.5e3"), inert("@sum"), inert("ppo"), inert("\x1b[31mred"), inert(" \uff0b1")
    ("'=1+1", '-1.5e3', "'@sum", 'ppo', '\\x1b[31mred', "' \uff0b1")
    """
    text = printable(text, kept="\t\n\r")
    if text[:1].isalnum():  # nearly every text
        return text
    blank = _BLANK.match(text)
    first = unicodedata.normalize("NFKC", text[blank.end() if blank else 0 :][:1])
    if not text.startswith(_LINE_SIGNS) and not first.startswith(_FORMULA):
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
