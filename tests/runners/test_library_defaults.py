"""The defaults that the sb3 runner ships, and a file of them that is broken."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from openrlb.errors import UsageError
from openrlb_runners.library_defaults import FILE, code_of, library_defaults
from openrlb_runners.spec import find_runner


def test_what_ships_was_answered_by_the_code_and_the_lock_that_ship() -> None:
    spec = find_runner("sb3")
    kept = json.loads((spec.folder / FILE).read_bytes())
    assert kept["code"] == code_of(spec), "the sb3 runner changed: OPENRLB_HOME=FOLDER python runners/make_defaults.py"
    assert set(spec.algorithms) - set(kept["algorithms"]) == {"ppo_mask"}, "it needs an environment with action masks"


def test_a_default_that_hangs_on_the_environment_is_none() -> None:
    spec = find_runner("sb3")
    known = library_defaults(spec, "sac")
    assert known is not None
    assert (known["gamma"], known["batch_size"], known["policy"]) == (0.99, 256, "MlpPolicy")
    assert "target_entropy" not in known or not isinstance(known["target_entropy"], float)
    assert library_defaults(spec, "no-such-algorithm") is None


def test_a_broken_file_is_named_and_a_missing_one_is_none(tmp_path: Path) -> None:
    spec = replace(find_runner("sb3"), folder=tmp_path)
    assert library_defaults(spec, "ppo") is None
    for broken in ("{", "[]", "{}", '{"algorithms": 1}', '{"algorithms": {"ppo": 1}}'):
        (tmp_path / FILE).write_text(broken)
        with pytest.raises(UsageError, match="cannot be read"):
            library_defaults(spec, "ppo")
