"""Text from files may hold control characters; a terminal must not obey them."""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_NAMED = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def printable(text: str) -> str:
    r"""One line of text in which control and direction-changing characters are written out.

    >>> printable("a\tb"), printable("\x1b[2J")
    ('a\\tb', '\\x1b[2J')
    """
    return _CONTROL.sub(lambda found: _NAMED.get(found[0]) or found[0].encode("unicode_escape").decode(), text)
