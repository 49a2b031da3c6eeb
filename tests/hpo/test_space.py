"""Search spaces: the packaged one is the paper's, a user's is checked line by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from openrlb.errors import UsageError
from openrlb_hpo.space import load_space


def test_the_packaged_space_holds_the_papers_ranges() -> None:
    space = load_space("eimer2023", "ppo")
    ranges = {parameter.name: (parameter.scale, parameter.values) for parameter in space.parameters}
    assert len(ranges) == 11
    assert ranges["learning_rate"] == ("log", (1e-6, 1e-2))
    assert ranges["n_epochs"] == ("integers", (5, 20))
    assert {algo: len(load_space("eimer2023", algo).parameters) for algo in ("dqn", "sac")} == {"dqn": 9, "sac": 7}


def test_equal_ranges_hash_equal_and_others_do_not(tmp_path: Path) -> None:
    one, two, other = (tmp_path / f"{name}.toml" for name in ("one", "two", "other"))
    one.write_text("[ppo]\na = { log = [0.1, 1.0] }\nb = { choices = [1, 2] }\n")
    two.write_text("name = 'x'\n[ppo]\nb = { choices = [1, 2] }\na = { log = [0.1, 1.0] }\n")
    other.write_text("[ppo]\na = { log = [0.1, 2.0] }\nb = { choices = [1, 2] }\n")
    digests = [load_space(str(path), "ppo").digest for path in (one, two, other)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("lr = { log = [0.0, 1.0] }", "cannot reach 0"),
        ("lr = { uniform = [1.0, 0.5] }", "lower and a larger upper end"),
        ("lr = { uniform = [0.5] }", "lower and a larger upper end"),
        ("lr = { integers = [1, 2.5] }", "whole numbers"),
        ("lr = { integers = [true, 3] }", "lower and a larger upper end"),
        ("lr = { choices = [] }", "empty list"),
        ("lr = { gaussian = [0, 1] }", "gaussian is none of"),
        ("lr = 0.1", "exactly one of"),
        ("lr = { uniform = [0.0, inf] }", "lower and a larger upper end"),
    ],
)
def test_a_range_without_meaning_is_refused_with_its_line(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"[ppo]\nok = {{ choices = [1] }}\n{line}\n")
    with pytest.raises(UsageError, match=r"mine\.toml, line 3: lr") as caught:
        load_space(str(path), "ppo")
    assert why in caught.value.why


@pytest.mark.parametrize(("name", "algo", "what"), [("absent", "ppo", "no space"), ("eimer2023", "trpo", "no space for trpo")])
def test_what_is_not_there_is_named_with_what_is(name: str, algo: str, what: str) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        load_space(name, algo)
    assert "eimer2023" in f"{caught.value.what}{caught.value.why}"
