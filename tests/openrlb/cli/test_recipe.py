"""Recipes: what decides a figure is in one file, typed flags go before it and say so, and it draws the same again."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import batch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import Result

from openrlb.api.recipe import read_recipe, recipe_text, recipes
from openrlb.store import Store

Cli = Callable[..., Result]


@pytest.fixture
def groups(store: Store) -> Store:
    """Four seeds of two learning rates in two environments."""
    store.write(
        batch(f"{rate}-{env}-{seed}", env=env, seed=seed, offset=seed + 10 * rate, config={"learning_rate": rate})
        for rate in (1, 2)
        for env in ("Hopper-v4", "Ant-v4")
        for seed in range(4)
    )
    store.fold()
    return store


FLAGS = st.dictionaries(
    st.from_regex(r"[a-z]{1,8}(-[a-z]{1,4})?", fullmatch=True),
    st.text(max_size=20) | st.integers(-(10**9), 10**9) | st.booleans() | st.lists(st.text(max_size=8), min_size=1, max_size=3)
    | st.floats(allow_nan=False, allow_infinity=False),
    max_size=6,
)  # fmt: skip


@settings(max_examples=60)
@given(FLAGS, st.lists(st.text(max_size=30), max_size=3))
def test_what_is_written_reads_back_equal(flags: dict[str, str | int | bool | float | list[str]], about: list[str]) -> None:
    text = recipe_text(flags, about)  # type: ignore[arg-type]
    Path("made.toml").write_text(text, encoding="utf-8")
    assert read_recipe("made.toml").flags == flags
    assert tomllib.loads(text)["plot"] == flags


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        ("[plot]\nmetrc = 'iqm'", "made.toml sets 'metrc'", "did you mean metric?"),
        ("[plot]\noutput = 'x.html'", "made.toml sets 'output'", ""),
        ("[plot]\nrecipe = 'made.toml'", "made.toml sets 'recipe'", ""),
        ("[plot]\nmetric = ['iqm']", "made.toml sets 'metric' to a list", "write metric = "),
        ("[plot]\npool = 'yes'", "made sets 'pool' to yes", "true or false"),
        ("[plot]\nmetric = true", "made sets 'metric' to true", "not true or false"),
        ("[plot]\nenv = [{a = 1}]", "made.toml sets 'env'", ""),
        ("[plot]\nlevel = 'high'", "", ""),
        ("[plot]\nmetric = 'iqm'\n[other]\nx = 1", "made.toml is no recipe", "under [plot]"),
        ("plot = 3", "made.toml is no recipe", "under [plot]"),
        ("[plot", "the recipe made.toml cannot be read", "mend the file"),
        ("[plot]\ninterval-from = 3\ninterval_from = 4", "made.toml sets interval-from twice", "leave one"),
        ("#" * 100_001, "made.toml is no recipe", ""),
    ],
)
def test_a_recipe_that_is_not_understood_is_refused_with_a_hint(cli: Cli, text: str, what: str, fix: str) -> None:
    Path("made.toml").write_text(text)
    done = cli("plot", "--recipe", "made.toml")
    assert done.exit_code == 2 and what in done.stderr and fix in done.stderr and "Traceback" not in done.stderr


def test_a_recipe_that_is_not_there_is_refused_with_the_nearest_name(cli: Cli) -> None:
    done = cli("plot", "--recipe", "hoper-iqm")
    assert done.exit_code == 2 and "did you mean --recipe hopper-iqm?" in done.stderr
    missing = cli("plot", "--recipe", "none.toml")
    assert missing.exit_code == 2 and "none.toml cannot be read" in missing.stderr


def test_packaged_recipes_are_understood_and_say_what_they_show(cli: Cli) -> None:
    listed = json.loads(cli("plot", "--recipe", "list", "--json").stdout)
    assert [row["recipe"] for row in listed] == [one.name for one in recipes()] and listed
    assert all(len(row["about"]) > 20 for row in listed)
    for one in recipes():
        done = cli("plot", "--recipe", one.name)
        assert done.exit_code == 3 and "the store is empty" in done.stderr, one.name


def test_a_saved_recipe_holds_every_flag_and_draws_the_same_bytes(cli: Cli, groups: Store) -> None:
    words = [
        "--by",
        "config.learning_rate",
        "--env",
        "Hopper",
        "--metric",
        "mean",
        "--resamples",
        "300",
        "--label",
        "learning_rate=1=one",
    ]
    first = cli("plot", *words, "--curves", "--x", "steps", "--size", "column", "-o", "a/fig.svg", "--save-recipe", "fig.toml")
    assert first.exit_code == 0, first.stderr
    assert "recipe: fig.toml" in first.stderr
    flags = tomllib.loads(Path("fig.toml").read_text())["plot"]
    assert flags["by"] == ["config.learning_rate"] and flags["resamples"] == 300 and flags["size"] == "column"
    assert flags["score"] == "final:10%" and flags["interval"] == "calibrated", "defaults too: they may change"
    assert not {"output", "json", "save-recipe", "recipe", "table", "format"} & set(flags)
    again = cli("plot", "--recipe", "fig.toml", "-o", "b/fig.svg")
    assert again.exit_code == 0 and "note: --" not in again.stderr
    third = cli("plot", "--recipe", "fig.toml", "-o", "c/fig.svg")
    assert third.exit_code == 0
    numbers = sorted(path.name for path in Path("a").glob("*-numbers.csv"))
    assert numbers == ["fig-learning-curves-by-agent-step-numbers.csv", "fig-numbers.csv"]
    for name in numbers:
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes() == Path("c", name).read_bytes()


def test_typed_flags_and_the_environment_go_before_a_recipe_and_say_so(
    cli: Cli, groups: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("r.toml").write_text("[plot]\nmetric = 'mean'\nenv = 'Hopper'\nresamples = 200\npool = true\n")
    plain = cli("plot", "--recipe", "r.toml", "--json")
    assert plain.exit_code == 0, plain.stderr
    assert json.loads(plain.stdout)["metric"] == "mean" and "note: --" not in plain.stderr
    monkeypatch.setenv("OPENRLB_PLOT_SCORE", "last")
    typed = cli("plot", "--recipe", "r.toml", "--json", "--metric", "median", "--env", "Ant", "--resamples", "200")
    answer = json.loads(typed.stdout)
    assert answer["metric"] == "median" and list(answer["step"]) == ["Ant-v4"] and answer["rule"] == "last"
    assert "note: --metric median was typed: it replaces mean of the recipe r" in typed.stderr
    assert "note: --env Ant was typed: it replaces Hopper of the recipe r" in typed.stderr
    assert "note: --score last is set in the environment: it is not set in the recipe r" in typed.stderr
    assert "--resamples" not in typed.stderr, "an equal value replaces nothing"


def test_settings_of_openrlb_toml_do_not_change_what_a_recipe_draws(cli: Cli, groups: Store) -> None:
    Path("openrlb.toml").write_text("[plot]\nscore = 'last'\npool = true\nresamples = 200\n")
    assert json.loads(cli("plot", "--json").stdout)["rule"] == "last"
    Path("r.toml").write_text("[plot]\nresamples = 300\npool = true\n")
    answer = json.loads(cli("plot", "--recipe", "r.toml", "--json").stdout)
    assert answer["rule"] == "final:10%" and answer["interval"]["resamples"] == 300
