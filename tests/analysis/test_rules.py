"""Score rules: what a reader may type, and what it means."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlb.errors import UsageError
from openrlb_analysis.rules import ScoreRule, parse_rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("final:10%", ScoreRule("final", 10)),
        ("final:5", ScoreRule("final", 5)),
        ("final:100%", ScoreRule("final", 100)),
        (" Final ", ScoreRule("final", 10)),
        ("last", ScoreRule("last")),
        ("at:1000000", ScoreRule("at", 1_000_000)),
        ("at:1_000_000", ScoreRule("at", 1_000_000)),
        ("at:2.5e5", ScoreRule("at", 250_000)),
        ("mean", ScoreRule("mean")),
        ("auc", ScoreRule("auc")),
        ("best-of-mean-curve", ScoreRule("best-of-mean-curve")),
        ("best-per-run", ScoreRule("best-per-run")),
    ],
)
def test_reads(text: str, rule: ScoreRule) -> None:
    assert parse_rule(text) == rule


@pytest.mark.parametrize(
    "text",
    [
        "",
        "first",
        "final:0%",
        "final:101%",
        "final:2.5%",
        "final:-1%",
        "at:",
        "at:0",
        "at:-5",
        "at:1.5",
        "at:nan",
        "at:1e99",
        "last:3",
        "best",
        "final:१०%",
    ],
)
def test_refuses_with_a_fix(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_rule(text)
    assert error.value.exit_code == 2
    assert "final:10%" in error.value.fix


@settings(deadline=None)
@given(
    st.one_of(st.integers(1, 100).map(lambda p: ScoreRule("final", p)), st.integers(1, 2**52).map(lambda s: ScoreRule("at", s)))
)
def test_text_reads_back(rule: ScoreRule) -> None:
    assert parse_rule(rule.text) == rule


@settings(deadline=None)
@given(st.text(max_size=20))
def test_any_text_is_a_rule_or_a_usage_error(text: str) -> None:
    try:
        rule = parse_rule(text)
    except UsageError:
        return
    assert parse_rule(rule.text) == rule


def test_only_two_rules_are_optimistic() -> None:
    rules = [parse_rule(text) for text in ("final:10%", "last", "at:5", "mean", "auc", "best-of-mean-curve", "best-per-run")]
    assert [rule.text for rule in rules if rule.optimistic] == ["best-of-mean-curve", "best-per-run"]
