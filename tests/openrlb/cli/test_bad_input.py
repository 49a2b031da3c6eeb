"""Bad input: a three-line error, its exit code, and nothing changed in the store."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from openrlb.sources.bundle.manifest import sealed
from openrlb.store import Store

Cli = Callable[..., Result]
MAP = ("--map", "algo='a',env='E-v0',value=score")


class Boom:
    """Unpickling this would leave a trace."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("executed"),)


def empty_folder(folder: Path) -> tuple[str, ...]:
    return (str(folder),)


def binary_file(folder: Path) -> tuple[str, ...]:
    (folder / "noise.csv").write_bytes(np.random.default_rng(0).bytes(5000))
    return (str(folder / "noise.csv"),)


def missing_column(folder: Path) -> tuple[str, ...]:
    (folder / "a.csv").write_text("algo,env,seed,score\nppo,E-v0,1,2.0\n")
    return (str(folder / "a.csv"), "--map", "algo=algo,env=task,seed=seed,value=score")


def wrong_parquet(folder: Path) -> tuple[str, ...]:
    import polars

    polars.DataFrame({"algo": ["a"], "env": ["b"], "score": ["high"]}).write_parquet(folder / "a.parquet")
    return (str(folder / "a.parquet"), *MAP)


def no_parquet(folder: Path) -> tuple[str, ...]:
    (folder / "a.parquet").write_bytes(b"PAR1" + b"\0" * 100)
    return (str(folder / "a.parquet"), *MAP)


def a_pickle(folder: Path) -> tuple[str, ...]:
    (folder / "scores.pkl").write_bytes(pickle.dumps(Boom()))
    return (str(folder),)


def pickled_array(folder: Path) -> tuple[str, ...]:
    np.save(folder / "scores.npy", np.array([Boom()], dtype=object), allow_pickle=True)
    return (str(folder), "--map", "algo='a',env='E-v0',value=value")


def million_columns(folder: Path) -> tuple[str, ...]:
    names = ",".join(f"c{number}" for number in range(1_000_000))
    (folder / "wide.csv").write_text(f"{names}\n{names.replace('c', '')}\n")
    return (str(folder / "wide.csv"), "--map", "algo='a',env='E-v0',value=c1")


def bundle_that_leads_out(folder: Path) -> tuple[str, ...]:
    files = {"../../outside.parquet": {"sha256": "0" * 64, "bytes": 1}}
    document = {"format": "openrlb-bundle", "schema": 2, "openrlb": "", "license": "mit", "removed": {}, "parts": []}
    (folder / "bundle.json").write_bytes(sealed({**document, "files": files}))
    return (str(folder),)


def deep_json(folder: Path) -> tuple[str, ...]:
    (folder / "deep.json").write_text("[" * 100_000 + "]" * 100_000)
    return (str(folder / "deep.json"), *MAP)


@pytest.mark.parametrize(
    ("make", "code", "word"),
    [
        (empty_folder, 3, "no file that looks like results"),
        (binary_file, 3, "noise.csv"),
        (missing_column, 2, "task"),
        (wrong_parquet, 2, "score"),
        (no_parquet, 3, "a.parquet"),
        (a_pickle, 3, "pickles are never opened"),
        (pickled_array, 3, "scores.npy"),
        (million_columns, 3, "columns"),
        (bundle_that_leads_out, 1, "outside.parquet"),
        (deep_json, 3, "deep.json"),
    ],
)
def test_each_is_named_and_nothing_is_stored(
    cli: Cli, runs: Store, tmp_path: Path, make: Callable[[Path], tuple[str, ...]], code: int, word: str
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    before = {path: path.read_bytes() for path in runs.layout.root.rglob("*") if path.is_file()}
    done = cli("fetch", *make(folder))
    assert done.exit_code == code, done.stderr
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if line.startswith(("error:", "  why:", "  fix:"))]
    assert len(errors) == 3
    assert word in done.stderr
    assert {path: path.read_bytes() for path in runs.layout.root.rglob("*") if path.is_file()} == before
    assert not Path("executed").exists()


def test_a_yaml_with_a_python_tag_runs_nothing_and_the_logs_are_read(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "ppo/CartPole-v1_1"
    (run / "CartPole-v1").mkdir(parents=True)
    (run / "0.monitor.csv").write_text('#{"t_start": 1.0, "env_id": "CartPole-v1"}\nr,l,t\n5.0,5,0.1\n7.0,7,0.2\n')
    (run / "CartPole-v1/args.yml").write_text(
        "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [executed]]\n"
    )
    done = cli("fetch", tmp_path)
    assert done.exit_code == 0, done.stderr
    assert "args.yml" in done.stderr
    assert not Path("executed").exists()
    assert json.loads(cli("list", "--json").stdout)[0]["env"] == "CartPole-v1"


def test_a_half_good_file_keeps_its_good_half_and_warns(cli: Cli, tmp_path: Path) -> None:
    rows = [f"ppo,E-v0,1,{step},{step / 10}" for step in range(1, 51)]
    rows[20] = "ppo,E-v0,1,what,ever"
    rows[30] = "ppo"
    (tmp_path / "a.csv").write_text("algo,env,seed,step,score\n" + "\n".join(rows) + "\n")
    done = cli("fetch", tmp_path / "a.csv")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count("1 of 50 rows left out") == 2
    assert "1 new, 0 changed, 0 unchanged, 1 file damaged" in done.stderr
    assert json.loads(cli("query", "SELECT count(*) AS n FROM points", "--json").stdout) == [{"n": 48}]


def test_control_characters_in_names_reach_neither_the_terminal_nor_the_page_raw(cli: Cli, tmp_path: Path) -> None:
    hostile = "\x1b[2J</script><img src=x>"
    record = [{"algo": hostile, "env": "../../E\x07", "seed": seed, "step": 1, "score": 1.0 + seed} for seed in range(3)]
    (tmp_path / "a.json").write_text(json.dumps(record))
    assert cli("fetch", tmp_path / "a.json", "--map", "algo=algo,env=env,seed=seed,step=step,value=score").exit_code == 0
    for words in (["list"], ["list", "--format", "table"], ["list", "--format", "md"], ["plot", "-o", "x.html"]):
        done = cli(*words)
        assert done.exit_code == 0, done.stderr
        assert "\x1b" not in done.output
        assert "\x07" not in done.output
    assert "<img src=x>" not in Path("x.html").read_text()
    assert json.loads(cli("list", "--json").stdout)[0]["algo"] == hostile
