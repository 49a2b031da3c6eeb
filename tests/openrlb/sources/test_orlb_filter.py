"""rlops' filter strings: read as rlops reads them, written back the same, and nonsense named."""

from __future__ import annotations

import ast
from typing import Any
from urllib.parse import parse_qs, quote, urlparse

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wandb_server import WandbRun, matches

from openrlb.errors import UsageError
from openrlb.sources.orlb_filter import Experiment, OrlbFilter, parse
from openrlb.types import Run

README = [
    "?we=openrlbenchmark&wpn=cleanrl&ceik=env_id&cen=exp_name&metric=charts/episodic_return",
    "ppo_continuous_action?tag=v1.0.0-27-gde3f410&cl=CleanRL PPO",
    "?we=openrlbenchmark&wpn=baselines&ceik=env&cen=exp_name&metric=charts/episodic_return",
    "baselines-ppo2-mlp?cl=openai/baselines PPO2",
]


def test_the_strings_of_rlops_readme() -> None:
    cleanrl, baselines = parse(README)
    assert (cleanrl.entity, cleanrl.project, cleanrl.env_key) == ("openrlbenchmark", "cleanrl", "env_id")
    assert (baselines.project, baselines.env_key) == ("baselines", "env")
    assert cleanrl.experiments == (Experiment("ppo_continuous_action", ("v1.0.0-27-gde3f410",), label="CleanRL PPO"),)
    assert baselines.labels() == {"baselines-ppo2-mlp": "openai/baselines PPO2"}


def test_defaults_several_metrics_and_escapes() -> None:
    [group] = parse(["?we=e&metrics=a/b&metrics=c&xaxis=step", "a%2Bb?cl=two\\nlines&tag=x%26y&k=a+b"])
    assert (group.project, group.env_key, group.algo_key, group.step_key) == ("cleanrl", "env_id", "exp_name", "step")
    assert group.metrics == ("a/b", "c")
    assert group.experiments[0] == Experiment("a+b", ("x&y",), None, "two\nlines", (("k", ("a b",)),))
    assert parse(["?we=e", "ppo"])[0].metrics == ("charts/episodic_return",)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("'1'", "1"),
        ("1e-3", 0.001),
        ("True", True),
        ("true", "true"),
        ("None", None),
        ("[1, 2]", [1, 2]),
        ("ppo", "ppo"),
        ("b'x'", "b'x'"),
        ("{1}", "{1}"),
        ("1j", "1j"),
        ("1e999", "1e999"),
        ("(" * 300, "(" * 300),
    ],
)
def test_values_are_literals_that_json_can_carry(text: str, value: Any) -> None:
    [group] = parse(["?we=e", f"ppo?k={quote(text, safe='')}"])
    assert group.experiments[0].conditions == (("k", (value,)),)


def test_tags_are_all_needed_and_values_are_alternatives() -> None:
    [group] = parse(["?we=e&wpn=p", "ppo?tag=a&tag=b&seed=1&seed=2&user=ann", "sac"])
    wanted = group.mongo()

    def run(**more: Any) -> WandbRun:
        config = {"exp_name": "ppo", "seed": 1, **more.pop("config", {})}
        return WandbRun("r", config, **{"tags": ["a", "b", "c"], "username": "ann", **more})

    assert matches(run(), wanted) and matches(run(config={"seed": 2}), wanted)
    assert matches(run(config={"exp_name": "sac"}, username="bob", tags=[]), wanted)
    for other in (run(tags=["a"]), run(username="bob"), run(config={"seed": 3}), run(config={"exp_name": "td3"})):
        assert not matches(other, wanted)


text = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
values = st.one_of(st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none(), text)
key = text.filter(lambda word: word not in ("tag", "user", "cl"))
label = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\\"), max_size=12)


def pairs(found: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(found.items())


experiments = st.builds(
    Experiment,
    name=text.filter(str.strip),
    tags=st.lists(text, max_size=3, unique=True).map(tuple),
    user=st.none() | text,
    label=label,
    conditions=st.dictionaries(key, st.lists(values, min_size=1, max_size=3).map(tuple), max_size=3).map(pairs),
)
filters = st.builds(
    OrlbFilter,
    entity=text,
    project=text,
    env_key=text,
    algo_key=text,
    metrics=st.lists(text, min_size=1, max_size=3, unique=True).map(tuple),
    step_key=text,
    experiments=st.lists(experiments, min_size=1, max_size=3).map(tuple),
)


@given(filters)
def test_words_read_back(group: OrlbFilter) -> None:
    [again] = parse(group.words())
    assert again == group
    assert [type(v) for e in again.experiments for _, vs in e.conditions for v in vs] == [
        type(v) for e in group.experiments for _, vs in e.conditions for v in vs
    ]


@given(filters)
def test_rlops_reads_our_words_the_same_way(group: OrlbFilter) -> None:
    header = parse_qs(urlparse(group.words()[0]).query)
    assert header["we"] == [group.entity] and header["wpn"] == [group.project] and header["ceik"] == [group.env_key]
    for experiment, word in zip(group.experiments, group.words()[1:], strict=True):
        query = parse_qs(urlparse(word).query)
        assert tuple(query.get("tag", ())) == experiment.tags and query.get("user", [None])[0] == experiment.user
        for name, wanted in experiment.conditions:
            assert [_literal(item) for item in query[name]] == list(wanted)


def _literal(word: str) -> Any:
    """What rlops' own conversion does."""
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError):
        return word


@given(st.lists(st.text(max_size=20), max_size=4))
def test_any_words_are_filters_or_a_usage_error(words: list[str]) -> None:
    try:
        assert parse(words)
    except UsageError as error:
        assert error.fix


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "no filter"),
        (["ppo"], "'ppo' stands alone"),
        (["?we=e"], "names no experiment"),
        (["?wpn=p", "ppo"], "has no we="),
        (["?we=e&wnp=p", "ppo"], "'wnp'"),
        (["?we=e&we=f", "ppo"], "gives we twice"),
        (["?we=", "ppo"], "we has no value"),
        (["?we=e&wpn", "ppo"], "wpn"),
        (["?we=e", "?we=f", "ppo"], "for e names no experiment"),
        (["?we=e", "ppo?tag"], "'ppo?tag'"),
        (["?we=e", "ppo?user=a&user=b"], "two users"),
        (["?we=e", " ?tag=a"], "no experiment name"),
        (["?we=e", "ppo?tag=%ff"], "%ff"),
    ],
)
def test_nonsense_is_named(words: list[str], named: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words)
    assert named in f"{caught.value.what} {caught.value.why}" and caught.value.fix


def test_legends_that_contradict_each_other() -> None:
    assert parse(["?we=e", "ppo?cl=A&tag=x", "ppo?cl=A&tag=y", "sac"])[0].labels() == {"ppo": "A"}
    with pytest.raises(UsageError, match="two legends"):
        parse(["?we=e", "ppo?cl=A&tag=x", "ppo?cl=B&tag=y"])[0].labels()


def test_stored_runs_are_judged_by_type_and_by_nested_keys() -> None:
    [group] = parse(["?we=e&wpn=p&cen=algo.name", "ppo?flag=True&agent.lr=0.5"])

    def run(**config: Any) -> Run:
        logged = {"algo": {"name": "ppo"}, "agent": {"lr": 0.5}, **config}
        return Run("wandb:e/p", "r", "p", "r", "ppo", "Hopper-v4", config=logged)

    assert group.fits(run(flag=True))
    assert not any(group.fits(other) for other in (run(flag=1), run(flag="True"), run()))
