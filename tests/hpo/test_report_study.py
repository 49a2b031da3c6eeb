"""The page of a study and what is drawn on it: honest labels, every number in a table, every kind of study."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hpo.study_builder import StudyBuilder

from openrlb_analysis.estimates import CALIBRATED
from openrlb_analysis.figures.page import Page
from openrlb_analysis.report import html
from openrlb_analysis.result import CurveBand, CurvesResult
from openrlb_hpo.checklist import Facts
from openrlb_hpo.importance import FEWEST_TRIALS, importances, ped_anova, trial_values
from openrlb_hpo.records import Baseline, StudyRecord
from openrlb_hpo.report_figures import study_figures
from openrlb_hpo.report_page import study_page
from openrlb_hpo.result import study_result
from openrlb_hpo.space import Space, load_space
from openrlb_hpo.trajectory import trajectory

SPACE = load_space("eimer2023", "ppo")
TWO = ("CartPole-v1", "Acrobot-v1")
ENDS = {"CartPole-v1": (0.0, 500.0), "Acrobot-v1": (0.0, 400.0)}
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"
PANELS = {"scores": 1, "environments": 2, "trajectory": 1, "trials CartPole-v1": 1, "trials Acrobot-v1": 1, "curves 1": 2}


def study(trials: int = 24, tested: bool = True, **changed: Any) -> StudyRecord:
    """A study in which the learning rate alone decides, and every second trial is pruned."""
    builder = StudyBuilder(**{"space": SPACE.to_json(), "space_digest": SPACE.digest, **changed})
    rng = np.random.default_rng(7)
    envs = builder.settings.envs
    for number in range(trials):
        params = {one.sampled_name: one.at(float(rng.random())) for one in SPACE.searched}
        centre = 300 - 90 * (np.log10(params["learning_rate"]) + 4) ** 2
        runs = {env: rng.normal(centre, 5, 3 if number % 2 else 1).tolist() for env in envs}
        confirm = {env: rng.normal(centre, 5, 3).tolist() for env in envs} if number in (1, 3) else ()
        builder.trial(runs, confirm, params=params)
        builder.trials[-1] = replace(builder.trials[-1], hyperparameters=SPACE.hyperparameters(params, 50_000))
    if tested:
        test: dict[str, list[Any]] = {env: rng.normal(280, 20, 10).tolist() for env in envs}
        builder.test(3, test, default={env: [*rng.normal(250, 20, 9).tolist(), "diverged"] for env in envs})
    return builder.record()


def curves(*envs: str) -> CurvesResult:
    x = np.linspace(0, 50_000, 11)
    bands = [
        CurveBand(name, env, x, x / 100, x / 100 - 5, x / 100 + 5, np.full(11, 10))
        for env in envs
        for name in ("incumbent", "default")
    ]
    return CurvesResult("agent_step", "mean", "charts/episodic_return", CALIBRATED, tuple(bands), kind="episode")


def page_of(record: StudyRecord, **more: Any) -> Page:
    facts = Facts("8 cores", {"optuna": "5.0.0"})
    return study_page(record, study_result(record, resamples=200), command="openrlb study report", facts=facts, **more)


def test_a_whole_page() -> None:
    record = study()
    page = page_of(record, curves=[curves("CartPole-v1")], random=study(method="random", study_seed=1))
    assert [section.heading for section in page.sections] == [
        "Result",
        "Incumbent",
        "Search against budget",
        "The best trials, seed by seed",
        "Trials",
        "Learning curves on test seeds",
        "Which hyperparameters mattered",
        "Seeds",
        "Cost",
        "Reproducibility checklist",
    ]
    assert [bool(section.figure) for section in page.sections] == [
        True,
        False,
        True,
        True,
        False,
        True,
        True,
        False,
        False,
        False,
    ]
    text = html(page)
    result = study_result(record, resamples=200)
    assert result.test is not None and f"{result.test.score:.1f}" in text and page.headline.startswith("Tuned ")
    assert text.count("<tr>") > 24 + 17 + 10
    embedded = re.search(r'<script type="application/json" id="openrlb-data">(.*?)</script>', text, re.S)
    assert embedded is not None
    data = json.loads(embedded[1])
    assert data["verdict"] == result.verdict and data["trajectory"]["score"] and data["importances"]["values"]
    assert len(data["checklist"]["items"]) == 17 and data["random"]["study"].startswith("ppo-CartPole-v1-random")
    assert html(page_of(record)) == html(page_of(record))


@pytest.mark.parametrize(
    "record",
    [
        StudyBuilder(space=SPACE.to_json()).record(),
        StudyBuilder(space=SPACE.to_json()).trial([1.0], state="running").record(),
        study(3, tested=False),
        StudyBuilder(space=SPACE.to_json()).trial([1.0, 2.0, 3.0]).test(0, [1.0, 2.0], default=["open"]).record(),
        StudyBuilder(space=SPACE.to_json(), test_seeds=1).trial([1.0] * 3).test(0, [1.0], default=[1.0]).record(),
        StudyBuilder(space=SPACE.to_json()).trial(["diverged"] * 3).test(0, ["lost"] * 10, default=["diverged"] * 10).record(),
        StudyBuilder(space=SPACE.to_json(), baselines=()).trial([5.0] * 3, params={}).test(0, [5.0] * 10).record(),
        study(24, envs=TWO, scale=ENDS, normalization="ends"),
    ],
    ids=["empty", "running", "untested", "testing", "one test seed", "no score", "equal scores, no baseline", "two environments"],
)
def test_every_kind_of_study_has_a_page(record: StudyRecord) -> None:
    shown = re.sub(r"<script.*?</script>", "", html(page_of(record)), flags=re.S)
    assert "<h2>Result</h2>" in shown and not re.search(r"\b(nan|None|inf)\b", shown)


def test_scores_that_tuning_saw_say_so() -> None:
    record = study()
    figures = study_figures(record, study_result(record, resamples=200))
    marks = {mark.label: mark for mark in figures["scores"].panels[0].marks}  # type: ignore[union-attr]
    assert "optimistic" in marks["incumbent, tuning seeds"].note and marks["incumbent, tuning seeds"].low is None
    assert marks["incumbent, test seeds"].low is not None and len(marks["incumbent, test seeds"].scores) == 10
    assert "best tuning score so far" in figures["trajectory"].rows[0]
    seen = {label.rsplit(", ", 1)[1] for label in figures["trials CartPole-v1"].rows}
    assert seen == {"tuning", "confirm", "test"}
    colours = [figures["trials CartPole-v1"].styles[f"trial 3 (incumbent), {role}"].color for role in sorted(seen)]
    assert len(set(colours)) == 3


def test_one_configuration_has_one_colour_in_every_figure() -> None:
    record = study(envs=TWO, scale=ENDS, normalization="ends")
    figures = study_figures(record, study_result(record, resamples=200), [curves(*TWO)])
    scores, by_env, learning = (figures[name].styles for name in ("scores", "environments", "curves 1"))
    assert scores["incumbent, test seeds"] == by_env["incumbent"] == learning["incumbent"]
    assert scores["default, test seeds"] == by_env["default"] == learning["default"] != learning["incumbent"]
    assert {name: len(figure.panels) for name, figure in figures.items()} == PANELS


def test_hostile_names_do_nothing() -> None:
    builder = StudyBuilder(space=SPACE.to_json(), baselines=(Baseline(HOSTILE, {}, HOSTILE),))
    builder.trial([1.0, 2.0, 3.0], params={HOSTILE: HOSTILE}, origin=HOSTILE)
    record = builder.test(0, [1.0, 2.0, 3.0, "lost"], **{HOSTILE: [1.0, 2.0, 3.0]}).record()
    text = html(page_of(record, random=record))
    assert "<script>document" not in text and "<img src=x" not in text


def test_a_trajectory_rises_at_the_run_that_made_a_trial_whole() -> None:
    builder = (
        StudyBuilder(method="random").trial([10.0, 20.0, 30.0]).trial([50.0]).trial([1.0, 2.0, 3.0]).trial([40.0, 41.0, 42.0])
    )
    builder.trial([39.0, 40.0, 41.0], [90.0, 91.0, 92.0])  # confirm runs are no tuning runs
    found = trajectory(builder.test(3, [1.0] * 10).record())
    assert (found.spent, found.score, found.trial, found.end) == ((3, 10), (20.0, 41.0), (0, 3), 13)
    assert found.label == "random (best tuning score so far)"


def test_a_trajectory_counts_runs_in_the_order_of_their_reservation() -> None:
    record = StudyBuilder().trial([10.0, 20.0, 30.0]).trial([50.0, 60.0, 70.0]).record()
    rows = list(record.reservations)
    rows[2], rows[5] = rows[5], rows[2]  # two workers: the second trial was whole first
    found = trajectory(replace(record, reservations=tuple(rows)))
    assert (found.spent, found.score, found.trial) == ((5,), (60.0,), (1,))


def test_importances_find_the_parameter_that_decides() -> None:
    found = importances(study(60))
    assert found.values is not None and max(found.values, key=found.values.__getitem__) == "learning_rate"
    assert sum(found.values.values()) == pytest.approx(1.0) and found.values["learning_rate"] > 0.25
    assert (found.trials, found.pruned, found.best, found.evaluator) == (60, 30, 6, "PED-ANOVA")


def test_importances_look_at_tuning_runs_alone() -> None:
    with_test, without = study(40), study(40, tested=False)
    assert importances(with_test) == importances(without)
    confirmed = tuple(row for row in with_test.reservations if row.role == "tuning")
    assert importances(replace(with_test, reservations=confirmed)) == importances(with_test)


def test_a_parameter_whose_condition_does_not_hold_has_no_part_in_importances() -> None:
    tables = {
        "use_sde": {"choices": [True, False]},
        "sde_sample_freq": {"integers": [1, 64], "when": {"use_sde": True}},
        "learning_rate": {"log": [1e-5, 1e-2]},
    }
    space = Space.from_json({"name": "mine", "algo": "ppo", "source": "", "parameters": tables})
    places = [{"use_sde": number % 2 == 0, "sde_sample_freq": 1 + number, "learning_rate": 1e-3} for number in range(40)]

    def found(**drawn: Any) -> Any:
        builder = StudyBuilder(space=space.to_json())
        for number, place in enumerate(places):
            params = place if place["use_sde"] else {**place, **drawn}
            builder.trial([float(number)] * 3, params=params)
            builder.trials[-1] = replace(builder.trials[-1], hyperparameters=space.hyperparameters(params, 50_000))
        return importances(builder.record())

    assert found().values is not None and found() == found(sde_sample_freq=64)


def test_importances_are_not_made_up() -> None:
    few = importances(study(FEWEST_TRIALS - 1))
    assert few.values is None and "19 trials are too few" in few.reason
    equal = ped_anova([{"learning_rate": 1e-3}] * 30, [500.0] * 30, {})
    assert equal.values is None and "30 of 30 trials are equally good" in equal.reason
    outside = study(24)
    elsewhere = tuple(replace(trial, params={}) if trial.number < 3 else trial for trial in outside.trials)
    found = importances(replace(outside, trials=elsewhere))
    assert found.trials == 21 and any("3 trials lie outside the space" in note for note in found.notes)


def test_a_pruned_trial_never_counts_above_a_survivor() -> None:
    record = StudyBuilder().trial([500.0]).trial([10.0, 20.0, 30.0]).trial([5.0]).trial(["diverged"], state="failed").record()
    assert [(trial.number, value) for trial, value in trial_values(record)] == [(0, 20.0), (1, 20.0), (2, 5.0)]


def test_no_page_shows_a_test_score_before_the_last_one_is_there() -> None:
    builder = StudyBuilder(space=SPACE.to_json(), envs=TWO, scale=ENDS, normalization="ends").trial([101.0, 102.0, 103.0])
    page = page_of(builder.test(0, [377.25, 366.75], default=[355.5]).record(), curves=[curves(*TWO)])
    text = html(page)
    assert "Learning curves on test seeds" not in text and "no test score yet: 6 of 40 test runs are done" in text
    assert not re.search(r"377\.25|366\.75|355\.5|372\.0", text)


def test_a_page_says_that_the_incumbent_is_a_baseline() -> None:
    record = (
        StudyBuilder(space=SPACE.to_json(), test_seeds=3).trial([1.0, 2.0, 3.0]).test(0, [4.0] * 3, default=[4.0] * 3).record()
    )
    own = {row.seed: row.run for row in record.rows("trial:0", "test")}
    rows = [replace(row, run=own.get(row.seed, row.run)) for row in record.reservations]
    page = page_of(replace(record, reservations=tuple(rows)))
    assert "the incumbent is the baseline default" in page.headline and "3 of 3 test runs, the incumbent&#x27;s own" in html(page)
