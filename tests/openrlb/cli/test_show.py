"""``openrlb show``: the curve, and which parameters set a run apart, defaults told only where they are known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from builders import batch
from typer.testing import Result

from openrlb.api.parameters import ParameterReader
from openrlb.store import Store
from openrlb.types import RunBatch

Cli = Callable[..., Result]
CODE = {"run.py": b"train()", "lock/base.txt": b"six==1.0"}


def trained(name: str, asked: dict[str, Any], applied: dict[str, Any], **fields: Any) -> RunBatch:
    """A run as openrlb's runners leave it: with the request that it was trained from, its code and its lock."""
    code = fields.pop("code", CODE)
    blobs = {**code, "spec.json": json.dumps({"format": 1, "hyperparameters": asked, "run": name}).encode()}
    files = {file: hashlib.sha256(data).hexdigest() for file, data in blobs.items()}
    settings = {**applied, "steps": 1000, "eval_every": 100}
    whole = batch(name, source="openrlb", project="openrlb", impl="sb3", config=settings, files=files, **fields)
    return replace(whole, blobs=blobs)


def stored(*batches: RunBatch) -> Store:
    store = Store()
    store.write(batches)
    store.fold()
    return store


def parameters(cli: Cli, run: str) -> dict[str, Any]:
    done = cli("show", run, "--json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["parameters"]
    return found


def test_a_run_that_was_asked_for_nothing_has_the_defaults(cli: Cli) -> None:
    stored(trained("a", {}, {"rate": 0.5}))
    found = parameters(cli, "a")
    assert found["from_default"] == [] and found["asked"] == {}
    text = cli("show", "a", "--format", "table").stdout
    assert "tuning: untuned: the defaults of sb3's library" in text
    assert "nothing but the defaults of sb3 was asked for" in text and "every hyperparameter is the default" in text


def test_defaults_are_those_of_a_run_of_the_same_code_that_was_asked_for_nothing(cli: Cli) -> None:
    stored(
        trained("mine", {"rate": 0.1, "net": {"arch": [8]}}, {"rate": 0.1, "net": {"arch": [8], "act": "tanh"}}, seed=1),
        trained("plain", {}, {"rate": 0.5, "net": {"arch": [8], "act": "tanh"}}, seed=2),
    )
    found = parameters(cli, "mine")
    assert found["from_default"] == [{"key": "rate", "value": 0.1, "other": 0.5}]  # the network was asked for as it is anyway
    assert "those of the run plain" in found["defaults"]
    text = " ".join(cli("show", "mine", "--format", "table").stdout.split())
    assert "rate 0.1 default 0.5" in text
    assert "rate 0.1 others 0.5 (1 run)" in text
    lines = cli("show", "mine").stdout.splitlines()
    assert "score\t47.0" in lines and "default.rate\t0.5" in lines and "config.rate\t0.1" in lines


def test_columns_do_not_touch_and_a_parameter_stands_once(cli: Cli) -> None:
    long = "train/" + "is_line_search_success" * 2
    mine = trained("mine", {"rate": 0.1}, {"rate": 0.1, "clip": 2}, seed=1)
    first = mine.metrics[0]
    stored(
        replace(
            mine, metrics=(*mine.metrics, replace(first, metric=replace(first.metric, name=long, kind="other", canonical=None)))
        )
    )
    lines = cli("show", "mine", "--format", "table").stdout.splitlines()
    (row,) = [line.split() for line in lines if long in line]
    assert row[:2] == [long, "other"]
    assert sum(line.split()[:1] == ["rate"] for line in lines) == 1
    assert any(line.split()[:2] == ["role", "none"] and line.endswith("(a plain run)") for line in lines)
    assert any(line.split()[:1] == ["variant"] and "settings without the seed" in line for line in lines)
    assert "the rest of the configuration" in lines and sum(line.split()[:1] == ["clip"] for line in lines) == 1


def test_other_code_or_another_environment_tells_no_defaults(cli: Cli) -> None:
    newer = {**CODE, "run.py": b"train(better=True)"}
    stored(
        trained("mine", {"rate": 0.1}, {"rate": 0.1, "clip": 2}, seed=1),
        trained("newer", {}, {"rate": 0.9, "clip": 2}, seed=2, code=newer),
        trained("elsewhere", {}, {"rate": 0.7, "clip": 2}, seed=3, env="Ant-v4"),
    )
    found = parameters(cli, "mine")
    assert found["from_default"] is None and found["asked"] == {"rate": 0.1}
    assert "all but what was asked for is the default of sb3" in found["defaults"]
    assert found["from_others"] == [{"key": "rate", "value": 0.1, "other": {"0.9": 1}}] and found["others"] == 1
    text = cli("show", "mine", "--format", "table").stdout
    assert "asked for" in text and "default 0" not in text


def test_what_was_asked_for_is_held_against_the_defaults_that_the_packaged_runner_ships(cli: Cli) -> None:
    asked = {"policy": "MlpPolicy", "gamma": 0.98, "n_steps": 32, "clip_range": 0.2, "normalize": {"norm_obs": True}}
    seen = {"policy": "CnnPolicy", "gamma": 0.98}
    stored(
        trained("mine", asked, {**asked, "vf_coef": 7}, seed=1),
        trained("screen", seen, seen, seed=2, env="ALE/Pong-v5"),
        trained("unknown", {**asked, "rate": 1}, {**asked, "rate": 1}, seed=3, env="Ant-v4"),
    )
    found = parameters(cli, "mine")
    assert {one["key"]: (one["value"], one["other"]) for one in found["from_default"]} == {
        "gamma": (0.98, 0.99),
        "n_steps": (32, 2048),
        "normalize.norm_obs": (True, None),
        "normalize": (None, False),
    }, "what nobody asked for (vf_coef) is the default of that run's own library, whatever it is"
    told = "the defaults of sb3 are as the packaged runner states them today, whose libraries may be other versions"
    assert found["defaults"].startswith(told)
    assert "gamma 0.98 default 0.99" in " ".join(cli("show", "mine", "--format", "table").stdout.split())
    for run in ("screen", "unknown"):
        found = parameters(cli, run)
        assert found["from_default"] is None and "what the default of these is" in found["defaults"]


def test_every_run_of_the_sample_tells_what_is_not_the_default(cli: Cli) -> None:
    assert cli("fetch").exit_code == 0
    store = Store()
    rows = store.runs()
    reader = ParameterReader(rows, store)
    found = [reader.of(row) for row in rows]
    untuned = [one for one in found if one.asked == {}]
    assert all(one.from_default == () for one in untuned)
    shipped = [one for one in found if one.asked != {}]
    assert len(shipped) > 20 and all(one.from_default for one in shipped)
    assert {one.defaults for one in shipped} == {
        "the defaults of sb3 are as the packaged runner states them today, with the same versions of its libraries as this run"
    }


def test_a_request_of_which_a_byte_changed_tells_nothing(cli: Cli) -> None:
    store = stored(trained("a", {}, {"rate": 0.5}))
    digest = store.runs()[0].record.files["spec.json"]
    (store.layout.blobs / digest).write_bytes(b"[[[[")
    found = parameters(cli, "a")
    assert found["from_default"] is None and found["asked"] is None and "are not known" in found["defaults"]


def test_runs_of_others_are_held_against_the_runs_beside_them(cli: Cli) -> None:
    config = {"lr": 0.1, "seed": 1, "exp_name": "x", "net": {"arch": [64]}}
    other = {**config, "lr": 0.2, "extra": True}
    stored(
        batch("a", seed=1, config=config),
        batch("b", seed=2, config={**other, "seed": 2}),
        batch("c", seed=3, config={**other, "seed": 3, "lr": 0.1}),
        batch("d", seed=4, config={"lr": 7}, env="Ant-v4"),
    )
    found = parameters(cli, "a")
    assert found["from_default"] is None and "are not known" in found["defaults"]
    assert found["from_others"] == [
        {"key": "lr", "value": 0.1, "other": {"0.2": 1}},
        {"key": "extra", "value": None, "other": {"true": 2}},
    ]
    assert "no other run of ppo on Ant-v4" in cli("show", "d", "--format", "table").stdout


def test_a_runner_that_answered_before_tells_its_defaults(cli: Cli, fake: Path) -> None:
    words = ("run", "walk", "--env", "Line-v0", "--steps", 20, "--seeds", 1)
    assert cli(*words, "--set", "rate=0.25").exit_code == 0
    (row,) = Store().runs()
    assert parameters(cli, row.record.run)["from_default"] is None
    assert cli(*words, "--dry-run").exit_code == 0  # its code says what it would apply, and the answer is kept
    found = parameters(cli, row.record.run)
    assert found["from_default"] == [{"key": "rate", "value": 0.25, "other": 0.5}]


def test_the_chart_has_the_curves_ends_and_the_score(cli: Cli) -> None:
    rising = batch("a", impl="sb3", state="finished")
    stored(rising, batch("one", seed=1, points=1), batch("none", seed=2, points=0))
    lines = cli("show", "a", "--format", "table").stdout.splitlines()
    (top,) = [number for number, line in enumerate(lines) if line.startswith("eval/mean_reward (eval), means of")]
    drawn = lines[top + 1 : top + 7]
    assert drawn[0].strip().startswith("49") and drawn[-1].strip().startswith("0 ")
    assert drawn[0].endswith("█") and drawn[0].count("█") < drawn[-1].count("█")
    assert lines[top + 7].split() == ["0", "50,000"]
    assert lines[top + 8].split()[:2] == ["score", "47"]
    for run in ("one", "none"):
        assert cli("show", run, "--format", "table").exit_code == 0
    whole = json.loads(cli("show", "a", "--json").stdout)
    assert (whole["score"], whole["score_of"]) == (47.0, "eval/mean_reward")
    assert json.loads(cli("show", "none", "--json").stdout)["score"] is None


def test_values_that_are_no_numbers_leave_gaps(cli: Cli) -> None:
    odd = batch("odd")
    values = np.array([np.nan, np.inf, -np.inf, *range(47)])
    huge = replace(batch("huge", seed=1), metrics=(replace(odd.metrics[0], values=np.resize([1.7e308, -1.7e308], 50)),))
    stored(replace(odd, metrics=(replace(odd.metrics[0], values=values),)), huge)
    assert cli("show", "huge", "--format", "table").exit_code == cli("list", "--format", "table").exit_code == 0
    done = cli("show", "odd", "--format", "table")
    assert done.exit_code == 0 and "█" in done.stdout and "inf" not in done.stdout.split("score")[0]


def test_many_differences_are_counted_and_named_in_json(cli: Cli) -> None:
    stored(
        batch("a", seed=1, config={f"k{n}": n for n in range(30)}),
        batch("b", seed=2, config={f"k{n}": -n - 1 for n in range(30)}),
    )
    text = cli("show", "a", "--format", "table").stdout
    assert "and 18 more: --json names all of them" in text
    assert len(parameters(cli, "a")["from_others"]) == 30


def test_names_cannot_move_the_cursor(cli: Cli) -> None:
    stored(batch("a", config={"key\x1b[2J": "value\x1b[2J"}, notes=("\x1b[31mred",)))
    text = cli("show", "a", "--format", "table").stdout
    assert "\x1b" not in text and "\\x1b[2J" in text


def test_what_sets_runs_apart_is_read_once_for_all(cli: Cli) -> None:
    store = stored(
        *(trained(f"r{seed}", {"rate": seed}, {"rate": seed}, seed=seed) for seed in range(3)), trained("d", {}, {"rate": 9})
    )
    rows = store.runs()
    reader = ParameterReader(rows, store)
    told = {row.record.run: reader.of(row).from_default for row in rows}
    assert told["d"] == () and [told[f"r{seed}"][0].other for seed in range(3)] == [9, 9, 9]  # type: ignore[index]
