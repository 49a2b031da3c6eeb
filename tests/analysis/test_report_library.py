"""plotly.js is compressed once and kept; what is kept is taken only where it is whole."""

from __future__ import annotations

import base64
import gzip
import json

import pytest

from openrlb.paths import cache_dir
from openrlb_analysis import report


def test_the_library_is_kept_and_a_damaged_copy_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "var Plotly = {};" * 50
    monkeypatch.setattr(report, "_plotly_js", lambda: script.encode())
    library = report._library.__wrapped__
    first = library()
    assert json.loads(gzip.decompress(base64.b64decode(first[0]))) == script
    (kept,) = (cache_dir() / "pages").iterdir()
    whole = kept.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(report, "packed", lambda *_: pytest.fail("it is there already"))
        assert library() == first
    for damaged in ("", whole[:-9], whole.replace(whole[-9:], "AAAAAAAAA"), whole.replace("\n", "\n\n")):
        kept.write_text(damaged)
        assert library() == first
        assert kept.read_text() == whole
    monkeypatch.setattr(report, "_plotly_js", lambda: script.encode() + b" ")
    assert library()[1] != first[1]


def test_the_library_is_the_one_that_plotly_gives() -> None:
    from plotly.offline import get_plotlyjs

    assert report._plotly_js() == get_plotlyjs().encode()
