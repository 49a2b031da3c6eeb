"""Proposals: a pure function of the history, for every method; each search gets somewhere; refusals say why."""

from __future__ import annotations

import importlib.util
import json
import math
import random
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlb.errors import UsageError
from openrlb_hpo.distributions import distributions, internal
from openrlb_hpo.evolution import GENERATION, POINT, TOLD
from openrlb_hpo.methods import METHODS, check_method
from openrlb_hpo.parameters import Parameter
from openrlb_hpo.proposals import Past, Proposal, propose
from openrlb_hpo.space import Space, load_space

LIGHT = ("tpe", "random", "qmc", "cmaes")
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="gp needs torch, the extra [gp]")
ALL = [*LIGHT, pytest.param("gp", marks=needs_torch)]
BOWL = Space(
    "bowl", "ppo", "", (
        Parameter("a", "uniform", (-5.0, 5.0)),
        Parameter("b", "uniform", (-5.0, 5.0)),
        Parameter("c", "log", (1e-5, 1.0)),
        Parameter("d", "integers", (1, 20)),
        Parameter("e", "choices", (32, 64, 128, 256)),
    ),
)  # fmt: skip


def bowl(params: dict[str, Any]) -> float:
    """A quadratic with its peak, 0, at a=2, b=-1, c=0.001, d=7, e=128."""
    off = (params["a"] - 2, params["b"] + 1, math.log10(params["c"]) + 3, (params["d"] - 7) / 4, math.log2(params["e"]) - 7)
    return -sum(one**2 for one in off)


def searched(
    method: str, seed: int, trials: int, space: Space = BOWL, score: Callable[[dict[str, Any]], float] = bowl
) -> list[Past]:
    history: list[Past] = []
    for number in range(trials):
        proposal = propose(space, method, seed, history)
        kept = json.loads(json.dumps(proposal.attributes))
        history.append(Past(number, proposal.params, score(proposal.params), "complete", {}, kept))
    return history


def mixed(space: Space, trials: int, seed: int = 0) -> list[Past]:
    """A history with every state that a study can leave behind."""
    generator = random.Random(seed)
    history = []
    for number in range(trials):
        params = propose(space, "cmaes", seed, history)
        state = generator.choice(["complete", "complete", "pruned", "running", "failed"])
        value = generator.random() if state == "complete" else None
        rungs = {1: generator.random()} if state != "failed" else {}
        history.append(Past(number, params.params, value, state, rungs, params.attributes))
    return history


def rebuilt(history: Sequence[Past]) -> list[Past]:
    """The history as a ledger hands it back."""
    rows = json.loads(
        json.dumps([[p.number, dict(p.params), p.value, p.state, dict(p.intermediate), dict(p.attributes)] for p in history])
    )
    return [
        Past(n, params, value, state, {int(k): v for k, v in rungs.items()}, kept)
        for n, params, value, state, rungs, kept in rows
    ]


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("trials", [0, 1, 25])
def test_the_same_history_gives_the_same_proposal(method: str, trials: int) -> None:
    space = load_space("zoo", "td3")
    history = mixed(space, trials)
    first = propose(space, method, 3, history)
    random.seed(1)
    assert first == propose(space, method, 3, rebuilt(history)) == propose(space, method, 3, history)
    if method != "gp" or trials < 10:  # from ten trials on a Gaussian process proposes its best, whatever the seed
        assert propose(space, method, 4, history).params != first.params
    space.check_inside(first.params)
    assert json.loads(json.dumps(first.params)) == first.params
    assert json.loads(json.dumps(first.attributes)) == first.attributes


@pytest.mark.parametrize("method", LIGHT)
def test_the_order_of_a_spaces_lines_is_nothing_to_a_proposal(method: str) -> None:
    turned = Space("other", "ppo", "elsewhere", tuple(reversed(BOWL.parameters)))
    assert turned.digest == BOWL.digest
    history = searched("random", 0, 15)
    assert propose(turned, method, 0, history) == propose(BOWL, method, 0, history)


@pytest.mark.parametrize("method", LIGHT)
def test_no_two_trials_of_a_study_are_drawn_alike(method: str) -> None:
    points = {tuple(one.params.values()) for one in searched(method, 0, 20)}
    assert len(points) == 20


@pytest.mark.parametrize("method", ["tpe", "cmaes", pytest.param("gp", marks=needs_torch)])
def test_a_method_that_learns_beats_random_search_on_a_bowl(method: str) -> None:
    trials = 22 if method == "gp" else 50
    best = [max(one.value or -math.inf for one in searched(method, seed, trials)) for seed in range(3)]
    blind = [max(one.value or -math.inf for one in searched("random", seed, trials)) for seed in range(3)]
    assert sum(best) / 3 > sum(blind) / 3
    assert sorted(best)[1] > max(blind)


def test_sobol_points_are_one_sequence_whatever_became_of_the_trials() -> None:
    space = Space("", "ppo", "", tuple(Parameter(name, "uniform", (0.0, 1.0)) for name in "abc"))
    history = searched("qmc", 5, 64, space, lambda _: 0.0)
    failed = [Past(one.number, {}, None, "failed") for one in history]
    for name in "abc":  # of a Sobol sequence's first 64 points one lies in each 64th
        assert sorted(int(one.params[name] * 64) for one in history) == list(range(64))
    assert propose(space, "qmc", 5, failed) == propose(space, "qmc", 5, history)


def test_cmaes_goes_on_from_what_its_trials_keep() -> None:
    history = searched("cmaes", 0, 40)
    generations = [one.attributes[GENERATION] for one in history]
    assert generations == sorted(generations)
    assert generations[-1] >= 4
    forgotten = [Past(one.number, one.params, one.value, one.state) for one in history]
    assert propose(BOWL, "cmaes", 0, forgotten).attributes[GENERATION] == 0


def test_cmaes_learns_from_pruned_trials() -> None:
    history: list[Past] = []
    for number in range(30):
        proposal = propose(BOWL, "cmaes", 0, history)
        history.append(Past(number, proposal.params, None, "pruned", {1: bowl(proposal.params)}, proposal.attributes))
    assert history[-1].attributes[GENERATION] >= 2


def test_a_generation_of_cmaes_is_what_it_was_when_it_was_told() -> None:
    history = searched("cmaes", 0, 30)
    opener = next(one for one in history if TOLD in one.attributes)
    late = opener.attributes[TOLD][-1]
    slow = [
        Past(one.number, one.params, None, "running", {}, one.attributes) if one.number == late else one
        for one in history[: opener.number]
    ]
    assert propose(BOWL, "cmaes", 0, slow).attributes[GENERATION] == 0
    lost = [
        Past(late, opener.params, None, "failed", {}, history[late].attributes) if one.number == late else one for one in history
    ]
    assert propose(BOWL, "cmaes", 0, lost).attributes[GENERATION] == propose(BOWL, "cmaes", 0, history).attributes[GENERATION]


@given(
    st.lists(
        st.one_of(st.none(), st.integers(-3, 99), st.text(max_size=2), st.lists(st.integers(-9, 99)), st.lists(st.floats())),
        min_size=3,
    )
)
@settings(max_examples=40)
def test_cmaes_survives_attributes_that_somebody_else_wrote(values: list[Any]) -> None:
    history = [
        Past(number, {}, 1.0, "complete", {}, {GENERATION: values[number % len(values)], POINT: values[-1], TOLD: values[0]})
        for number in range(12)
    ]
    BOWL.check_inside(propose(BOWL, "cmaes", 0, history).params)


@pytest.mark.parametrize("method", ALL)
def test_trials_without_score_outside_of_the_space_or_with_no_finite_score_do_no_harm(method: str) -> None:
    good = searched("random", 0, 12)
    odd = [
        ({}, 3.0, "complete"),
        ({"a": 99.0}, 1.0, "complete"),
        (good[0].params, math.nan, "complete"),
        (good[0].params, None, "pruned"),
    ]
    odd += [(good[0].params, -math.inf, "complete"), ({}, None, "running"), (good[1].params, None, "failed")]
    history = good + [Past(12 + place, params, value, state) for place, (params, value, state) in enumerate(odd)]  # type: ignore[arg-type]
    BOWL.check_inside(propose(BOWL, method, 0, history).params)


def test_a_worker_does_not_try_what_another_one_is_trying() -> None:
    history = searched("tpe", 0, 30)
    alone = propose(BOWL, "tpe", 0, history)
    beside = propose(BOWL, "tpe", 0, [*history, Past(30, alone.params, None, "running")])
    assert beside.params != alone.params


def test_a_history_with_a_hole_is_refused() -> None:
    with pytest.raises(ValueError, match="every trial"):
        propose(BOWL, "tpe", 0, [Past(1, {}, None, "failed")])


@pytest.mark.parametrize(
    ("method", "space", "why"),
    [
        ("bohb", BOWL, "there are tpe, random"),
        ("pbt", BOWL, "need checkpoints"),
        ("cmaes", Space("", "", "", (BOWL.parameters[0], Parameter("x", "choices", ("b", "a")))), "needs two of them"),
        ("random", Space("", "", "", (Parameter("x", "choices", (1,)),)), "single value"),
    ],
)
def test_a_method_that_cannot_work_is_refused(method: str, space: Space, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_method(method, space)
    assert why in caught.value.why


def test_gp_without_torch_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as caught:
        propose(BOWL, "gp", 0, [])
    assert caught.value.exit_code == 2
    assert caught.value.fix == "pip install 'openrlb[gp]'"


def test_every_method_is_offered_for_every_packaged_space() -> None:
    for algo in ("ppo", "a2c", "dqn", "sac", "td3"):
        for method in set(METHODS) - {"gp"}:
            assert isinstance(propose(load_space("zoo", algo), method, 0, []), Proposal)


def test_optunas_own_tables_take_every_param(recwarn: pytest.WarningsRecorder) -> None:
    from optuna.trial import TrialState, create_trial

    space = load_space("zoo", "td3")
    ranges = distributions(space)
    params = internal(space, propose(space, "random", 0, []).params | {"noise_type": "null"})
    assert "noise_std" not in params
    made = create_trial(
        state=TrialState.COMPLETE, value=1.0, params=params, distributions={name: ranges[name] for name in params}
    )
    assert made.params == params
    assert not recwarn.list


def test_a_random_search_draws_other_points_than_the_method_it_stands_beside() -> None:
    space = load_space("zoo", "ppo")
    assert propose(space, "random", 0, []).params != propose(space, "tpe", 0, []).params
