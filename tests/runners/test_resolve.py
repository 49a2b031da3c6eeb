"""What requests mean, before anything is trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runner import SCRIPT, fake_runner, request

from openrlb import paths
from openrlb.errors import SourceError, UsageError
from openrlb_runners import resolve as module
from openrlb_runners.request import PinnedRunner
from openrlb_runners.resolve import resolve


@pytest.fixture
def runner(tmp_path: Path) -> PinnedRunner:
    return fake_runner(tmp_path / "fake")


def scripted(runner: PinnedRunner, *changes: tuple[str, str]) -> PinnedRunner:
    """The fake runner with other lines."""
    script = SCRIPT
    for old, new in changes:
        assert old in script
        script = script.replace(old, new)
    return replace(runner, sources={"run.py": script.encode()})


def test_every_effective_hyperparameter_is_told_and_the_seed_is_the_request_s(runner: PinnedRunner) -> None:
    one, two, other = resolve(runner, [request(seed=7, rate=0.1), request(seed=8, rate=0.1), request(net={"arch": [3]})])
    assert (one["seed"], two["seed"]) == (7, 8)
    assert one["hyperparameters"]["rate"] == 0.1 and one["hyperparameters"]["net"] == {"arch": [8], "act": "tanh"}
    assert other["hyperparameters"]["net"] == {"arch": [3], "act": "tanh"}
    assert "seeds" not in one


def test_a_runner_is_asked_once_for_all_seeds_and_never_again(runner: PinnedRunner, tmp_path: Path) -> None:
    count = tmp_path / "count"
    ending = "if words.resolve:\n    sys.exit(0)"
    counting = scripted(runner, (ending, f"open({str(count)!r}, 'a').write('x')\n{ending}"))
    first = resolve(counting, [request(seed=seed) for seed in range(5)])
    assert resolve(counting, [request(seed=seed) for seed in range(5)]) == first
    assert count.read_text() == "x"
    assert len(list((paths.cache_dir() / "resolved").glob("*.json"))) == 1
    assert not list((paths.cache_dir() / "resolved").glob(".tmp-*"))


def test_a_damaged_answer_in_the_cache_is_asked_for_again(runner: PinnedRunner) -> None:
    (first,) = resolve(runner, [request()])
    (kept,) = (paths.cache_dir() / "resolved").glob("*.json")
    for damage in ("{", "[]", json.dumps({"algo": "walk"})):
        kept.write_text(damage)
        assert resolve(runner, [request()]) == [first]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (request(algo="run"), "unknown algorithm run"),
        (request(algo="jump", env="Plane-v0"), "jump needs discrete actions"),
        (request(speed=1), "walk has no hyperparameter speed"),
    ],
)
def test_what_the_runner_refuses_is_refused_with_its_sentence(runner: PinnedRunner, asked: object, why: str) -> None:
    with pytest.raises(UsageError) as error:
        resolve(runner, [request(), asked])  # type: ignore[list-item]
    assert error.value.exit_code == 2 and error.value.why == why


def test_an_unknown_environment_comes_with_the_nearest_names(runner: PinnedRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_registry", lambda runner: ["Hopper-v5", "Hopper-v4", "Ant-v5"])
    with pytest.raises(UsageError) as error:
        resolve(runner, [request(env="Hoper-v5")])
    assert error.value.fix.startswith("did you mean Hopper-v5 or Hopper-v4")
    with pytest.raises(UsageError) as error:
        resolve(runner, [request(env="Ant-v5")])
    assert "--env-set" in error.value.fix


def test_a_value_that_would_not_be_applied_is_refused_before_training(runner: PinnedRunner) -> None:
    with pytest.raises(UsageError, match=r"hyperparameters.rate would be 0.25, not 0.75"):
        resolve(runner, [request(act="stubborn", rate=0.75)])
    (config,) = resolve(runner, [request(act="stubborn")])
    assert config["hyperparameters"]["rate"] == 0.25


def test_a_hyperparameter_that_the_runner_takes_and_does_not_name_is_refused(runner: PinnedRunner) -> None:
    told = 'put("config.json", config)'
    hiding = scripted(runner, (told, f"del values['rate'], values['net']['act']\n{told}"))
    for asked, name in ((request(rate=0.75), "rate"), (request(net={"act": "relu"}), "net.act")):
        with pytest.raises(UsageError, match=f"hyperparameters.{name} is not named in config.json"):
            resolve(hiding, [asked])
    assert len(resolve(hiding, [request(every=5, net={"arch": [3]})])) == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("rng, total", "x"), None),
        (('put("config.json", config)', "raise ValueError('no luck')"), "exit code 1: ValueError: no luck"),
        (('put("config.json", config)', "os.kill(os.getpid(), 9)"), "signal 9"),
        (('put("config.json", config)', ""), "wrote no config.json"),
        (('put("config.json", config)', "del config['seed']; put('config.json', config)"), "without a usable seed"),
        (('put("config.json", config)', "put('config.json', [1])"), "wrote no config.json"),
    ],
)
def test_a_runner_that_breaks_while_it_is_asked_is_named(runner: PinnedRunner, change: tuple[str, str], why: str | None) -> None:
    broken = scripted(runner, change)
    if why is None:
        assert len(resolve(broken, [request()])) == 1
        return
    with pytest.raises(SourceError) as error:
        resolve(broken, [request()])
    assert why in error.value.why


def test_a_python_that_is_gone_is_named(runner: PinnedRunner, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be trained"):
        resolve(replace(runner, python=tmp_path / "no-python"), [request()])
