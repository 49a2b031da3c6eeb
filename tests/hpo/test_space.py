"""Search spaces: packaged ones hold published ranges, a user's is checked line by line, params and hyperparameters agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrlb.errors import UsageError
from openrlb_hpo.parameters import Parameter, flattened
from openrlb_hpo.space import Space, load_space

PACKAGED = [("zoo", algo) for algo in ("ppo", "a2c", "dqn", "sac", "td3")]
PACKAGED += [("eimer2023", algo) for algo in ("ppo", "dqn", "sac", "td3")]
SHARES = st.floats(0, 1)
NUMBERS = st.floats(1e-6, 1e6)


def test_the_papers_space_holds_its_ranges() -> None:
    space = load_space("eimer2023", "ppo")
    ranges = {parameter.name: (parameter.scale, parameter.values) for parameter in space.parameters}
    assert len(ranges) == 11
    assert ranges["learning_rate"] == ("log", (1e-6, 1e-2))
    assert ranges["n_epochs"] == ("integers", (5, 20))
    sizes = {algo: len(load_space("eimer2023", algo).parameters) for algo in ("dqn", "sac", "td3")}
    assert sizes == {"dqn": 9, "sac": 7, "td3": 6}


def test_equal_ranges_hash_equal_and_others_do_not(tmp_path: Path) -> None:
    texts = {
        "one": "[ppo]\na = { log = [0.1, 1.0] }\nb = { choices = [1, 2] }\n",
        "two": "name = 'x'\n[ppo]\nb = { choices = [1, 2], default = 2 }\na = { log = [0.1, 1] }\n",
        "wider": "[ppo]\na = { log = [0.1, 2.0] }\nb = { choices = [1, 2] }\n",
        "with_condition": "[ppo]\na = { log = [0.1, 1.0], when = { b = 1 } }\nb = { choices = [1, 2] }\n",
        "with_zero": "[ppo]\na = { log = [0.1, 1.0], lowest_is_zero = true }\nb = { choices = [1, 2] }\n",
    }
    digests = {}
    for name, text in texts.items():
        (tmp_path / f"{name}.toml").write_text(text)
        digests[name] = load_space(str(tmp_path / f"{name}.toml"), "ppo").digest
    assert digests["one"] == digests["two"]
    assert len(set(digests.values())) == 4


def test_a_digest_stays_what_it_was() -> None:
    space = Space(
        "any", "ppo", "", (Parameter("lr", "log", (1e-5, 1e-2)), Parameter("b", "choices", (32, 64), when=(("c", (True,)),)))
    )
    assert space.digest == "a499958924409dab"


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
    assert "eimer2023" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("[dqn]\nlr = { log = [1e-5, 1] }\n[ppo]\n\nlr = { log = [0, 1] }\n", 5, "cannot reach 0"),
        ("[ppo]\nok = { choices = [\n  [64, 64],\n  1,\n] }\n# lr = 1\nlr = { log = [2, 1] }\n", 7, "larger upper end"),
        ("[ppo]\npolicy_kwargs.net_arch = { choices = [] }\n", 2, "empty list"),
        ("[ppo]\n'policy_kwargs.net_arch' = { choices = [] }\n", 2, "empty list"),
        ("[ppo.policy_kwargs]\nok = { choices = [1] }\nnet_arch = { choices = [] }\n", 3, "empty list"),
        ("[ppo]\nlr = { log = [1e-5, 1e-2], default = 0.1 }\n", 2, "its default 0.1 lies outside"),
        ("[ppo.lr]\nlog = [1e-5, 1e-2]\ndefault = 0.1\n", 3, "its default 0.1 lies outside"),
        ("[ppo]\nn = { choices = [[64], [32]], default = [16] }\n", 2, "lies outside"),
        ("[ppo]\nclip_range = { uniform = [0, 0.5] }\n", 2, "nothing is learned with a clip_range of 0"),
        ("[ppo]\nb = { choices = [1, 2] }\na = { log = [1, 2], when = { c = 1 } }\n", 3, "names c, which is no choice"),
        ("[ppo]\nb = { choices = [1, 2] }\na = { log = [1, 2], when = { b = 3 } }\n", 3, "b = 3, which is no choice"),
        ("[ppo]\na = { divisors = [1, 2], of = 'b' }\n", 2, "b is no parameter of whole numbers"),
        ("[ppo]\na = { divisors = [1, 2] }\n", 2, "named by of"),
        ("[ppo]\na = { choices = [1, 1.0] }\n", 2, "holds 1.0 twice"),
        ("[ppo]\na = { choices = [1, true] }\n", 2, "holds True twice"),
        ("[ppo]\na = { choices = [1979-05-27] }\n", 2, "numbers, words"),
        ("[ppo]\na = { uniform = [0, 1], lowest_is_zero = true }\n", 2, "for log and one_minus_log"),
        ("[ppo]\na = { uniform = [0, 1], of = 'b' }\n", 2, "divisors divide"),
        ("[ppo]\na = { uniform = [0, 1], step = 2 }\n", 2, "step is none of"),
        ("[ppo]\ngamma = { one_minus_log = [0.1, 0.2] }\none_minus_gamma = { log = [1, 2] }\n", 3, "gamma sets it too"),
        ("[ppo]\na = { choices = [{ b = 1 }, 2] }\n'a.b' = { log = [1, 2] }\n", 3, "a sets it too"),
        ("[ppo]\nok = { choices = [1, 2] }\nn_envs = { choices = [8, 1001] }\n", 3, "a run owns 1000 seeds"),
        ("[ppo.n_envs]\ndefault = 8\nlog_integers = [1, 4096]\n", 3, "a run owns 1000 seeds"),
    ],
)
def test_the_exact_line_is_named(tmp_path: Path, text: str, line: int, why: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=rf"mine\.toml, line {line}: ") as caught:
        load_space(str(path), "ppo")
    assert why in caught.value.why


def parameters() -> st.SearchStrategy[Parameter]:
    ends = st.tuples(NUMBERS, NUMBERS).filter(lambda pair: pair[0] < pair[1])
    small = st.tuples(st.floats(1e-6, 0.5), st.floats(1e-6, 0.5)).filter(lambda pair: pair[0] < pair[1])
    whole = st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)).filter(lambda pair: pair[0] < pair[1])
    json_values = st.one_of(st.integers(2, 10**6), st.text(max_size=3), st.lists(st.integers(0, 512), max_size=3), st.booleans())
    choices = st.lists(json_values, min_size=2, max_size=5, unique_by=lambda value: json.dumps(value))
    return st.one_of(
        st.builds(Parameter, st.just("a"), st.just("uniform"), ends),
        st.builds(Parameter, st.just("a"), st.just("log"), ends, lowest_is_zero=st.booleans()),
        st.builds(Parameter, st.just("gamma"), st.just("one_minus_log"), small, lowest_is_zero=st.booleans()),
        st.builds(Parameter, st.just("a"), st.sampled_from(["integers", "log_integers"]), whole),
        st.builds(Parameter, st.just("a.b"), st.just("choices"), choices.map(tuple)).filter(
            lambda one: len(set(map(str, one.labels))) == len(one.labels)
        ),
    )


@given(parameters(), SHARES)
def test_what_is_drawn_is_inside_and_its_meaning_leads_back(one: Parameter, share: float) -> None:
    param = one.at(share)
    assert one.holds(param)
    value = one.meaning(param)
    back = one.param_of(value)
    assert back is not None
    assert one.meaning(back) == value
    assert Space.from_json(json.loads(json.dumps(Space("s", "x", "", (one,)).to_json()))) == Space("s", "x", "", (one,))


@pytest.mark.parametrize(("name", "algo"), PACKAGED)
def test_packaged_spaces_survive_json_and_mean_json(name: str, algo: str) -> None:
    space = load_space(name, algo)
    again = Space.from_json(json.loads(json.dumps(space.to_json())))
    assert again == space
    assert again.digest == space.digest
    for share in (0.0, 0.3, 0.5, 0.999, 1.0):
        params = {one.sampled_name: one.at(share) for one in space.searched}
        assert json.loads(json.dumps(params)) == params
        asked = space.hyperparameters(params, 10**6, {})
        assert json.loads(json.dumps(asked)) == asked
        place = space.params_of(asked)
        if place is not None:  # a cut buffer may be no choice
            assert space.hyperparameters(place, 10**6, {}) == asked


def test_a_condition_that_does_not_hold_drops_the_parameter() -> None:
    space = load_space("zoo", "td3")
    params = {one.sampled_name: one.at(0.0) for one in space.searched}
    assert space.hyperparameters({**params, "noise_type": "normal", "noise_std": 0.5}, 1000)["noise_std"] == 0.5
    without = space.hyperparameters({**params, "noise_type": "null"}, 1000)
    assert without["noise_type"] is None
    assert "noise_std" not in without
    assert "noise_std" not in space.active({**params, "noise_type": "null"})
    assert set(space.active({**params, "noise_type": "normal"})) == set(params)


def test_a_value_that_follows_from_another() -> None:
    space = load_space("zoo", "dqn")
    params = {one.sampled_name: one.at(0.0) for one in space.searched}
    for train_freq, divisor, steps in ((256, 8, 32), (1, 8, 1), (4, 1, 4)):
        asked = space.hyperparameters({**params, "train_freq": train_freq, "train_freq_per_gradient_steps": divisor}, 1000)
        assert asked["gradient_steps"] == steps
    assert (
        load_space("zoo", "sac").hyperparameters(
            {one.sampled_name: one.at(1.0) for one in load_space("zoo", "sac").searched}, 1000
        )["gradient_steps"]
        == 512
    )


@given(st.integers(1, 10**6), st.sampled_from([1, 4, 8]), st.sampled_from([1, 16, 1000]))
def test_a_buffer_is_never_larger_than_a_run_can_fill_and_never_smaller_than_the_run(
    steps: int, n_envs: int, train_freq: int
) -> None:
    space = Space("", "sac", "", (Parameter("buffer_size", "integers", (5000, 50_000_000)),))
    fixed = {"n_envs": n_envs, "train_freq": train_freq}
    largest = space.hyperparameters({"buffer_size": 50_000_000}, steps, fixed)["buffer_size"]
    assert steps <= largest <= steps + (train_freq + 1) * n_envs
    assert space.hyperparameters({"buffer_size": 5000}, steps, fixed)["buffer_size"] == min(5000, largest)


@pytest.mark.parametrize(("n_envs", "batch"), [(1, 32), (8, 256), (16, 512)])
def test_a_batch_is_never_larger_than_a_rollout(n_envs: int, batch: int) -> None:
    space = load_space("zoo", "ppo")
    params = {one.sampled_name: one.at(0.5) for one in space.searched} | {"n_steps": 32, "batch_size": 512}
    assert space.hyperparameters(params, 10**5, {"n_envs": n_envs})["batch_size"] == batch
    assert space.hyperparameters(params, 10**5)["batch_size"] == 512  # how many environments there are is not known


def test_n_steps_of_an_off_policy_algorithm_is_another_thing() -> None:
    space = Space("", "dqn", "", (Parameter("batch_size", "choices", (32, 64)),))
    assert space.hyperparameters({"batch_size": 64}, 1000, {"n_steps": 3})["batch_size"] == 64


def test_a_configuration_finds_its_place_or_none() -> None:
    space = load_space("zoo", "ppo")
    default: dict[str, Any] = {
        "batch_size": 64, "n_steps": 2048, "gamma": 0.99, "gae_lambda": 0.95, "learning_rate": 3e-4, "ent_coef": 0.0,
        "clip_range": 0.2, "n_epochs": 10, "max_grad_norm": 0.5, "vf_coef": 0.5,
        "policy_kwargs": {"net_arch": {"vf": [64, 64], "pi": [64, 64]}, "activation_fn": "tanh"},
    }  # fmt: skip
    place = space.params_of(default)
    assert place is not None
    space.check_inside(place)
    asked = flattened(space.hyperparameters(place, 10**5, {}))
    assert asked == {name: value for name, value in flattened(default).items() if name != "vf_coef"}
    assert space.params_of({**default, "clip_range": "lin_0.2"}) is None
    assert space.params_of({**default, "gamma": 0.5}) is None
    assert space.params_of({key: value for key, value in default.items() if key != "gamma"}) is None


def test_an_authors_default_is_a_point_only_where_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[ppo]\ngamma = { one_minus_log = [1e-4, 0.1], default = 0.99 }\nb = { choices = [1, 2], default = 2 }\n")
    space = load_space(str(path), "ppo")
    assert space.default is not None
    assert space.hyperparameters(space.default, 1) == {"gamma": 0.99, "b": 2}
    path.write_text("[ppo]\na = { log = [1, 2], default = 1 }\nb = { choices = [1, 2] }\n")
    assert load_space(str(path), "ppo").default is None


def test_what_is_fixed_is_not_searched() -> None:
    space = load_space("zoo", "td3").without({"policy_kwargs": {"net_arch": [64]}, "train_freq": 4, "noise_type": "normal"})
    assert not {"policy_kwargs.net_arch", "train_freq", "noise_type"} & {one.name for one in space.parameters}
    params = {one.sampled_name: one.at(1.0) for one in space.searched}
    asked = space.hyperparameters(params, 1000, {"train_freq": 4, "noise_type": "normal"})
    assert asked["gradient_steps"] == 4
    assert asked["noise_std"] == 1.0
    assert Space.from_json(space.to_json()) == space  # as a study keeps it


def test_values_outside_are_named() -> None:
    space = load_space("zoo", "ppo")
    inside = space.hyperparameters({one.sampled_name: one.at(0.5) for one in space.searched}, 10**6, {"n_envs": 8})
    assert space.misfits(inside) == [] and space.params_of(inside) is not None
    odd = {**inside, "gamma": 0.5, "clip_range": "lin_0.2"}
    assert space.misfits(odd) == [
        "gamma is 0.5, not from 0.97 to 0.9999",
        'clip_range is "lin_0.2", not one of 0.1, 0.2, 0.3, 0.4',
    ]
    assert space.misfits({key: value for key, value in inside.items() if key != "n_epochs"}) == ["it has no n_epochs"]


@pytest.mark.parametrize(
    ("params", "why"),
    [({}, "lr is missing"), ({"lr": 2.0}, "lr is 2.0"), ({"lr": 0.01, "x": 1}, "it has no x"), ({"lr": True}, "lr is True"),
     ({"lr": float("nan")}, "lr is nan")],
)  # fmt: skip
def test_params_outside_are_refused(params: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError) as caught:
        Space("", "ppo", "", (Parameter("lr", "log", (1e-4, 1.0)),)).check_inside(params)
    assert why in caught.value.why


@pytest.mark.parametrize("record", [{}, {"parameters": []}, {"parameters": {"a": {"log": [0, 1]}}}, {"parameters": {"a": 3}}])
def test_a_stored_space_is_checked_too(record: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="stored space"):
        Space.from_json(record)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.toml"
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(UsageError, match="cannot be read"):
        load_space(str(path), "ppo")


def test_what_counts_does_not_hang_on_what_divides() -> None:
    space = load_space("zoo", "td3").without(("train_freq", "noise_type"))
    params = {one.sampled_name: one.at(0.0) for one in space.searched}
    assert "noise_std" in space.active(params, {"noise_type": "normal"})
    assert set(params) - set(space.active(params)) == {"noise_std"}
    with pytest.raises(UsageError, match="no point of the space"):
        space.hyperparameters(params, 1000)  # gradient_steps divides train_freq, which nobody says
