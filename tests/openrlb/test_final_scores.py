"""Final scores from the catalog's coarse means: exact where they say so, and estimates elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from builders import EPISODES, RETURN, batch

import openrlb
from openrlb.api.final_scores import MEASURED
from openrlb.errors import KindsDiffer, NothingMatched, SelectionError, UsageError
from openrlb.store import Store
from openrlb.types import Metric, MetricBatch, RunBatch, Selection
from openrlb_analysis.rules import ScoreRule
from openrlb_analysis.scores import bin_means, score

FINAL = ScoreRule("final", 10)
DOCS = Path(__file__).parents[2] / "docs"


def noisy(name: str, last: int, seed: int, **fields: object) -> RunBatch:
    """A run that logs at random steps up to its last one."""
    rng = np.random.default_rng(seed)
    made = batch(name, seed=seed, **fields)
    steps = np.unique(np.append(rng.integers(1, last, 400), last)).astype(np.int64)
    return RunBatch(made.run, (MetricBatch(RETURN, steps, rng.normal(100 * np.sqrt(steps / last), 5), steps),))


@pytest.fixture
def store() -> Store:
    """Two environments; runs that end at the cut, before it, far before it, beyond it, and crashed ones."""
    lasts = {"a": 100_000, "b": 100_000, "c": 100_000, "d": 97_000, "e": 40_000, "f": 130_000, "g": 100_500, "h": 1_500_000}
    found = Store()
    found.write([noisy(name, last, number) for number, (name, last) in enumerate(lasts.items())])
    found.write([noisy("x", 5_000, 20, env="Walker2d-v4"), noisy("y", 100_000, 21, state="crashed")])
    found.write([noisy("tuned", 100_000, 22, role="tuning")])
    return found


def test_scores_are_those_of_the_values_at_the_cut_and_near_them_beyond_it(store: Store) -> None:
    found = openrlb.final_scores()
    rows = {row["run"]: row for row in found.records()}
    assert set(rows) == {*"abcdefghxy"}, "what a study chose by is not looked at"
    assert {row["run"] for row in rows.values() if row["exact"]} == {*"abcx"}
    assert (rows["a"]["cut"], rows["x"]["cut"]) == (100_000, 5_000)
    assert rows["e"]["score"] is None
    assert "short" in rows["e"]["left_out"]
    assert (rows["y"]["score"], rows["y"]["left_out"]) == (None, "crashed")
    curves = {curve.run.run: curve for curve in store.curves(Selection(), [(RETURN.name, RETURN.kind)])}
    for name in "abcxdfgh":
        curve, row = curves[name], rows[name]
        true = score(curve.steps, curve.values, row["cut"], FINAL).value
        if row["exact"]:
            assert row["score"] == pytest.approx(true, rel=1e-12)
            continue
        last = int(curve.steps[-1])
        bins = bin_means(curve.steps, curve.values, last)
        window = bins[round(90 * row["cut"] / last) : round(min(100, 100 * row["cut"] / last))]
        assert row["score"] == pytest.approx(float(np.nanmean(window)), rel=1e-12)
        assert row["score"] == pytest.approx(true, abs=12), name
    assert "4 exact, 4 estimated from 100 means of a run" in found.headline()
    assert "Hopper-v4 at 100,000, Walker2d-v4 at 5,000 (median last step of all runs there)" in found.headline()
    reasons = [remark.partition("1 runs have no score: ")[2] for remark in found.remarks() if "have no score" in remark]
    assert reasons == ["crashed", "short: it ends before 95 % of the cut"], "equally many are told in one order, however they lie"
    order = [(row["project"], row["algo"], row["env"], row["seed"], row["run"]) for row in found.records()]
    assert order == sorted(order)


def test_the_error_of_estimates_is_told_as_it_is_measured_on_the_sample() -> None:
    openrlb.fetch("sample")
    store = Store()
    curves = {one.run.run: one for one in store.curves(Selection(), [("episodic_return", "episode")])}
    cuts = {row["env"]: row["cut"] for row in openrlb.final_scores().records()}
    for share, told in MEASURED.items():
        errors = []
        for env, cut in cuts.items():
            at = None if share == 1 else round(share * cut)
            for row in openrlb.final_scores(Selection(env=(env,)), at=at).records():
                curve = curves[row["run"]]
                true = score(curve.steps, curve.values, row["cut"], FINAL).value
                assert true and row["score"] is not None
                if row["exact"]:
                    assert row["score"] == pytest.approx(true, rel=1e-12)
                else:
                    errors.append(100 * abs(row["score"] - true) / abs(true))
        assert (round(float(np.median(errors)), 1), round(max(errors), 1)) == told, share
    texts = [str(openrlb.final_scores.__doc__), *((DOCS / name).read_text() for name in ("python.md", "benchmarks.md"))]
    (remark,) = [one for one in openrlb.final_scores().remarks() if "estimates" in one]
    for text in (*texts, remark):
        for middle, most in MEASURED.values():
            assert f"{middle} %" in text and f"{most} %" in text


def test_an_environment_whose_runs_all_crashed_is_named_and_not_dropped(store: Store) -> None:
    store.write([noisy("z", 5_000, 23, env="Ant-v4", state="crashed")])
    for at in (None, 4_000):
        found = openrlb.final_scores(at=at)
        (row,) = [row for row in found.records() if row["env"] == "Ant-v4"]
        assert (row["score"], row["exact"], row["left_out"]) == (None, False, "crashed")
        assert found.without == 0, "it logged it"
        found.headline(), found.remarks()


def test_a_cut_is_taken_where_it_is_asked_for(store: Store) -> None:
    rows = {row["run"]: row for row in openrlb.final_scores(at=40_000, selection=Selection(env=("Hopper",))).records()}
    assert "x" not in rows
    assert rows["e"]["exact"]
    assert not rows["a"]["exact"]
    curve = next(one for one in store.curves(Selection(), [(RETURN.name, RETURN.kind)]) if one.run.run == "a")
    assert rows["a"]["score"] == pytest.approx(score(curve.steps, curve.values, 40_000, FINAL).value, abs=6)
    none = {row["run"]: row for row in openrlb.final_scores(at=500).records()}["h"]
    assert (none["score"], none["left_out"] is None) == (None, False), "a window that is finer than the bins is no score"


def test_what_has_no_meaning_is_refused() -> None:
    with pytest.raises(NothingMatched):
        openrlb.final_scores()
    store = Store()
    store.write([batch("a"), RunBatch(batch("b").run, (MetricBatch(EPISODES, np.array([5]), np.array([1.0])),))])
    with pytest.raises(KindsDiffer, match="1 of 2 logged eval"):
        openrlb.final_scores()
    with pytest.raises(NothingMatched):
        openrlb.final_scores(of="no such thing")
    for wrong in (Selection(where="seed = 1"), Selection(role=("test",))):
        with pytest.raises(UsageError):
            openrlb.final_scores(wrong)
    with pytest.raises(UsageError):
        openrlb.final_scores(at=0)
    both = Metric("eval/other", "eval", "episodic_return")
    one = batch("c", algo="sac")
    store.write([RunBatch(one.run, (*one.metrics, MetricBatch(both, np.array([5]), np.array([1.0]))))])
    with pytest.raises(SelectionError):
        openrlb.final_scores(Selection(algo=("sac",)))
    assert openrlb.final_scores(Selection(algo=("sac",)), of="eval/other").metric == "eval/other"
