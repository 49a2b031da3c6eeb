"""A few inputs of every fuzzed parser, the same ones each time; ``just fuzz`` tries as many as there is time for."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from fuzzing.child import inputs, tried
from fuzzing.holding import Target
from fuzzing.targets import TARGETS

HEAVY = ("bundle", "segment", "query", "--where", "optuna")
"""A store or a bundle is made for each input."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", TARGETS, ids=[one.name for one in TARGETS])
def test_what_is_sound_is_read_and_what_is_almost_right_is_read_or_refused(target: Target, tmp_path: Path) -> None:
    count = 3 if target.name.startswith(HEAVY) else 8
    found = [tried(target, data, tmp_path / "folder") for _, data in islice(inputs(target, 0, 0), count)]
    assert found[0] == "read" and set(found) <= {"read", "refused"}
