"""Other people's published numbers, end to end: their files in, one command, their table out."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

Cli = Callable[..., Result]

TD3 = {  # env: (mean at the best point of the mean curve, its std, last mean); README of shared/data/td3
    "Hopper-v1": (3564.07, 114.74, 3390.79),
    "HalfCheetah-v1": (9636.95, 859.06, 9566.56),
    "Walker2d-v1": (4682.82, 539.64, 4412.89),
    "Ant-v1": (4372.44, 1000.33, 4242.53),
    "InvertedPendulum-v1": (1000.00, 0.00, 1000.00),
    "InvertedDoublePendulum-v1": (9337.47, 14.96, 8482.97),
    "Reacher-v1": (-3.70, 0.51, -4.22),
}
TD3_LAST_STD = {"Hopper-v1": 377.83, "HalfCheetah-v1": 832.87, "Walker2d-v1": 1030.09, "Ant-v1": 1098.37, "Reacher-v1": 0.63}
ATARI = {
    "SPR": {"median": 0.39562938291779215, "mean": 0.6157957428691673, "iqm": 0.336649, "optimality-gap": 0.577302},
    "DrQ": {"median": 0.21197693941542933, "mean": 0.36912351496348683, "iqm": 0.223595, "optimality-gap": 0.691732},
    "DER": {"median": 0.18936086395020874, "mean": 0.35030497562762936, "iqm": 0.183152, "optimality-gap": 0.697502},
}


def fetch(cli: Cli, *words: object) -> Result:
    done = cli("fetch", *words)
    assert done.exit_code == 0, done.stderr
    return done


def plot(cli: Cli, *words: object) -> dict[str, Any]:
    done = cli("plot", *words, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def rows(cli: Cli, *words: object) -> list[dict[str, Any]]:
    done = cli("plot", *words, "--table", "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.fixture
def td3(cli: Cli, shared_data: Path) -> Result:
    folder = shared_data / "td3/learning_curves"
    return fetch(cli, folder, "--map", "algo='TD3',path:TD3_{env}_{seed}", "--step-every", 5000)


def test_td3_every_row_of_its_table(cli: Cli, td3: Result) -> None:
    assert "70 runs found in 7 environments: 70 new, 0 changed, 0 unchanged" in td3.stderr
    best = {row["env"]: row for row in rows(cli, "--score", "best-of-mean-curve", "--ddof", 0)}
    last = {row["env"]: row for row in rows(cli, "--score", "last", "--ddof", 0)}
    assert set(best) == set(TD3)
    for env, (mean, std, end) in TD3.items():
        assert round(best[env]["mean"], 2) == mean
        assert round(best[env]["std"], 2) == std
        assert round(last[env]["mean"], 2) == end
        assert best[env]["seeds"] == 10
    for env, std in TD3_LAST_STD.items():
        assert round(last[env]["std"], 2) == std


def test_td3_output_names_rule_cut_interval_and_that_the_rule_is_optimistic(cli: Cli, td3: Result) -> None:
    result = plot(cli, "--score", "best-of-mean-curve", "--ddof", 0, "--env", "Hopper")
    assert result["rule"] == "best-of-mean-curve"
    assert result["step"] == {"Hopper-v1": 1_000_000}
    assert result["ddof"] == 0
    assert result["interval"]["method"] == "calibrated"
    assert any("optimistic" in note for note in result["notes"])
    promised = "metric of kind step_unit rule step ddof normalization interval groups excluded sources"
    assert set(promised.split()) <= set(result)
    group = "label algo impl variant by value low high runs envs per_env"
    assert set(group.split()) <= set(result["groups"][0])


@pytest.fixture
def atari(cli: Cli, shared_data: Path) -> None:
    for algo in ATARI:
        path = shared_data / f"atari100k_rliable/atari_100k_{algo}.json"
        fetch(cli, path, "--map", f"algo='{algo}',env=key,seed=index,value=value")


def test_atari_100k_every_aggregate(cli: Cli, atari: None) -> None:
    for metric in ("median", "mean", "iqm", "optimality-gap"):
        result = plot(cli, "--metric", metric, "--resamples", 2000)
        assert result["normalization"].startswith("atari57-human")
        for group in result["groups"]:
            tolerance = 1e-9 if metric in ("median", "mean") else 1e-5
            assert abs(group["value"] - ATARI[group["label"]][metric]) < tolerance
            assert (group["runs"], group["envs"]) == (2600, 26)


def test_atari_100k_orientation_is_pinned_by_the_interval_too(cli: Cli, atari: None) -> None:
    """A transposed matrix (26 runs x 100 tasks) gives another median and an interval of another width."""
    group = next(group for group in plot(cli, "--metric", "median", "--algo", "SPR", "--interval", "percentile")["groups"])
    assert group["low"] == pytest.approx(0.3624, abs=2e-3)  # rliable, 50,000 resamples, np.random.seed(0)
    assert group["high"] == pytest.approx(0.4177, abs=2e-3)
    one = next(env for env in group["per_env"] if env["env"] == "Alien")
    assert one["runs"] == 100


def test_atari_100k_scores_that_are_normalized_already(cli: Cli, shared_data: Path, tmp_path: Path) -> None:
    raw = json.loads((shared_data / "atari100k_rliable/atari_100k_SPR.json").read_text())
    reference = json.loads((shared_data / "atari100k_rliable/atari_reference_scores.json").read_text())
    random, human = reference["random"], reference["human"]
    records = [
        {"game": game, "seed": seed, "score": (score - random[game]) / (human[game] - random[game])}
        for game, scores in raw.items()
        for seed, score in enumerate(scores)
    ]
    path = tmp_path / "spr.json"
    path.write_text(json.dumps(records))
    words = ["--map", "algo='SPR',env=game,seed=seed,value=score", "--already-normalized", "atari57-human"]
    fetch(cli, path, *words)
    result = plot(cli, "--metric", "median", "--resamples", 2000)
    assert abs(result["groups"][0]["value"] - ATARI["SPR"]["median"]) < 1e-9
    assert result["normalization"] == "atari57-human (as given)"


def zoo_table(text: str) -> dict[tuple[str, str], tuple[float, float, int]]:
    pattern = r"^\|(\S+)\s*\|(\S+)\s*\|\s*([-\d.]+)\|\s*([-\d.]+)\|[^|]*\|[^|]*\|\s*(\d+)\|$"
    return {(m[1], m[2]): (float(m[3]), float(m[4]), int(m[5])) for m in re.finditer(pattern, text, re.MULTILINE)}


def test_rl_zoo_all_199_rows(cli: Cli, shared_data: Path, tmp_path: Path) -> None:
    with tarfile.open(shared_data / "zoo_benchmark/logs_benchmark.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    published = zoo_table((shared_data / "zoo_benchmark/benchmark.md").read_text())
    assert len(published) == 199
    fetch(cli, tmp_path / "logs")
    found = {(row["algo"], row["env"]): row for row in rows(cli, "--score", "mean", "--ddof", 0)}
    for key, (mean, std, _) in published.items():
        assert round(found[key]["mean"], 3) == pytest.approx(mean, abs=1.1e-3), key
        assert round(found[key]["std"], 3) == pytest.approx(std, abs=1.1e-3), key
        assert found[key]["spread"] == "episodes"
        assert found[key]["low"] is None
        assert found[key]["high"] is None
        assert found[key]["seeds"] == 1


def test_simba_v2_is_cut_at_the_common_step_and_says_who_caused_it(cli: Cli, shared_data: Path) -> None:
    fetch(cli, shared_data / "simbav2_gym/simbav2_gym.parquet")
    result = plot(cli, "--env", "Hopper-v4", "--score", "last", "--resamples", 2000)
    means = {group["label"]: group["per_env"][0]["mean"] for group in result["groups"]}
    assert round(means["sac"]) == 2787
    assert round(means["REDQ_utd20"]) == 3299
    assert result["step"] == {"Hopper-v4": 1_000_000}
    assert "simbaV2" in result["cut_cause"]["Hopper-v4"]
    assert "sac" not in result["cut_cause"]["Hopper-v4"]
    whole = plot(cli, "--env", "Hopper-v4", "--score", "last", "--algo", "sac", "--algo", "REDQ*", "--resamples", 2000)
    means = {group["label"]: group["per_env"][0]["mean"] for group in whole["groups"]}
    assert (round(means["sac"]), round(means["REDQ_utd20"])) == (2556, 3649)


def test_the_same_fetch_twice_leaves_the_same_store(cli: Cli, shared_data: Path) -> None:
    folder = shared_data / "sb3_trained_agents"
    first = fetch(cli, folder)
    before = cli("query", "SELECT * FROM runs", "--json").stdout
    points = cli("query", "SELECT count(*), sum(value) FROM points", "--json").stdout
    again = fetch(cli, folder)
    runs = re.search(r"(\d+) runs found", first.stderr)
    assert runs
    assert f"0 new, 0 changed, {runs[1]} unchanged" in again.stderr
    assert cli("query", "SELECT * FROM runs", "--json").stdout == before
    assert cli("query", "SELECT count(*), sum(value) FROM points", "--json").stdout == points


def test_hopper_means_every_version_and_says_which(cli: Cli, shared_data: Path) -> None:
    done = fetch(cli, shared_data / "sb3_trained_agents", "--env", "hopper")
    assert "--env hopper matched Hopper-v3 (" in done.stderr
    envs = {row["env"] for row in json.loads(cli("list", "--json").stdout)}
    assert envs == {"Hopper-v3"}


def test_the_same_json_twice_is_the_same_bytes(cli: Cli, td3: Result) -> None:
    words = ("plot", "--env", "Hopper", "--json")
    assert cli(*words).stdout == cli(*words).stdout
