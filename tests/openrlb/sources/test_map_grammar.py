"""The --map grammar and the path patterns."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrlb.errors import MapError
from openrlb.sources.mapping import Expression, Map
from openrlb.sources.pattern import PathPattern

texts = st.text(alphabet=string.ascii_letters + string.digits + " ,|='\"`/{}._-:äß", min_size=1, max_size=12)
sources = st.builds(Expression, texts, st.booleans())
columns = st.builds(Expression, texts)
patterns = st.sampled_from(["{algo}/{env}", "TD3_{env}_{seed}", "{_}/{config.lr}/run, {name}", "'{tag}'"]).map(PathPattern.parse)
maps = st.builds(
    Map,
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(("algo", "impl", "env", "seed", "name", "id", "metric"), sources)
        | dict.fromkeys(("step", "time"), columns),
    ),
    st.lists(texts, unique=True, max_size=3).map(tuple),
    st.lists(sources, max_size=2).map(tuple),
    st.dictionaries(st.text(alphabet=string.ascii_lowercase + ".", min_size=1, max_size=8), sources, max_size=2),
    st.lists(patterns, max_size=2).map(tuple),
)  # fmt: skip


@given(maps)
def test_a_map_reads_back_from_its_own_text(built: Map) -> None:
    if not str(built):
        return
    assert Map.parse([str(built)]) == built


@given(st.text(max_size=40))
def test_any_text_is_a_map_or_a_map_error(text: str) -> None:
    try:
        parsed = Map.parse([text])
    except MapError as error:
        assert error.what and error.why and error.fix
    else:
        assert Map.parse([str(parsed)]) == parsed


def test_constants_columns_and_several_values() -> None:
    parsed = Map.parse(["algo='my, algo', seed=config.seed ,value=a|b", "impl=\"it's\",value=c,tag='x',config.lr=`lr, rate`"])
    assert parsed.fields["algo"] == Expression("my, algo", constant=True)
    assert parsed.fields["seed"] == Expression("config.seed")
    assert parsed.fields["impl"] == Expression("it's", constant=True)
    assert parsed.values == ("a", "b", "c")
    assert parsed.config == {"lr": Expression("lr, rate")}
    assert parsed.columns() == ("config.seed", "lr, rate", "a", "b", "c")


def test_a_kind_needs_no_quotes() -> None:
    assert Map.parse(["kind=eval"]).fields["kind"] == Expression("eval", constant=True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names nothing"),
        ("algo", "is not FIELD=COLUMN"),
        ("algo=", "nothing stands after"),
        ("algo=a,,env=b", "is not FIELD=COLUMN"),
        ("algo=a,", "is not FIELD=COLUMN"),
        ("algo='open", "never closed"),
        ("algo='a'b", "text after the closing"),
        ("reward=x", "is no field"),
        ("algo=a,algo=b", "given twice"),
        ("value='5'", "never a constant"),
        ("config.=x", "is no field"),
        ("path:fixed", "no {field}"),
        ("path:{who}/{env}", "is no field"),
        ("path:{env", "do not pair"),
        ("path:{env}//{seed}", "do not pair"),
        ("algo:x", "is not FIELD=COLUMN"),
    ],
)
def test_what_is_wrong_with_a_map_is_said(text: str, says: str) -> None:
    with pytest.raises(MapError) as caught:
        Map.parse([text])
    assert says in f"{caught.value.what} {caught.value.why}"


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("{algo}/{env}__{seed}__{_}", ["logs", "ppo", "Hopper-v4__3__1699"], {"algo": "ppo", "env": "Hopper-v4", "seed": "3"}),
        ("TD3_{env}_{seed}", ["td3", "Walker", "TD3_Walker2d-v1_7.npy"], {"env": "Walker2d-v1", "seed": "7"}),
        ("{env}/seed {seed}", ["Ünïcode env", "seed 3"], {"env": "Ünïcode env", "seed": "3"}),
        ("{env}_{seed}", ["a_1_2.csv.gz"], {"env": "a_1", "seed": "2"}),
        ("{env}.csv", ["Hopper.csv"], {"env": "Hopper"}),
        ("{env}/{env}_{seed}", ["Ant", "Ant_1"], {"env": "Ant", "seed": "1"}),
        ("{env}/{env}_{seed}", ["Walker", "Walker2d_1"], None),
        ("{env}_{seed}", ["Hopper_x"], None),
        ("{algo}/{env}", ["only"], None),
        ("{algo}.{env}", ["axb"], None),
    ],
)
def test_a_pattern_reads_the_last_components(pattern: str, path: list[str], found: dict[str, str] | None) -> None:
    assert PathPattern.parse(pattern).match(path) == found


def test_a_path_that_fits_in_two_ways_is_refused() -> None:
    with pytest.raises(MapError, match="ambiguous"):
        PathPattern.parse("{algo}_{env}").match(["my_algo_Hopper"])


names = st.text(alphabet=string.ascii_letters + string.digits + "- .äß", min_size=1, max_size=8).filter(
    lambda text: text.strip() == text
)


@given(names, names, st.integers(0, 10**9))
def test_what_was_put_into_a_path_comes_out(algo: str, env: str, seed: int) -> None:
    found = PathPattern.parse("{algo}/{env}__{seed}__{_}").match(["root", algo, f"{env}__{seed}__1700000000.csv"])
    assert found == {"algo": algo, "env": env, "seed": str(seed)}


@pytest.mark.parametrize("words", ["kind='evl'", "algo=a,kind='evals'"])
def test_a_mistyped_kind_is_caught_with_the_map(words: str) -> None:
    with pytest.raises(MapError, match="a kind is one of") as error:
        Map.parse([words])
    assert "did you mean kind=eval?" in error.value.fix


def test_a_kind_that_names_a_column_is_no_kind_for_all_values() -> None:
    assert Map.parse(["kind=eval"]).kind() == Map.parse(["kind='eval'"]).kind() == "eval" and Map().kind() is None
    with pytest.raises(MapError, match="kind=evl is not usable"):
        Map.parse(["kind=evl"]).kind()
