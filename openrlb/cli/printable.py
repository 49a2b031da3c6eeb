"""Text from files may hold control characters, which a terminal must not obey, and bytes that are no text."""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NAMED = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def printable(text: str) -> str:
    r"""One line of text in which control and direction-changing characters, and bytes that are no text, are written out.

    >>> printable("a\tb"), printable("\x1b[2J"), printable(b"\xff".decode(errors="surrogateescape"))
    ('a\\tb', '\\x1b[2J', '\\udcff')
    """
    return _CONTROL.sub(lambda found: _NAMED.get(found[0]) or found[0].encode("unicode_escape").decode(), text)
