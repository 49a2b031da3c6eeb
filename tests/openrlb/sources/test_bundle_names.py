"""Names that differ only in what is taken out of them stay apart: nothing is lost, and the bundle reads back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from builders import batch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import Result

from openrlb.scrubbing import Scrubber, distinct, scrubbed
from openrlb.sources import ReadOptions, read, write_bundle
from openrlb.store import Store
from openrlb.types import Metric, MetricBatch, RunBatch

Cli = Callable[..., Result]


def homes(run: str = "/home/ann/r", at: int = 0) -> RunBatch:
    """A run whose metrics, settings and kept files are named by two people's home folders."""
    one = batch(run, config={"/home/bob/lr": 0.1, "/home/ann/lr": 0.2, "at": at})
    steps = np.arange(1, 4, dtype=np.int64)
    metrics = tuple(
        MetricBatch(Metric(name), steps, np.full(3, value)) for name, value in (("/home/bob/x", 1.0), ("/home/ann/x", 2.0))
    )
    return replace(one, metrics=(*one.metrics, *metrics), blobs={"/home/ann/f.txt": b"ann's", "/home/bob/f.txt": b"bob's"})


def read_back(folder: Path) -> list[RunBatch]:
    return [one for one in read(folder, ReadOptions(), None, None) if isinstance(one, RunBatch)]


def test_metrics_settings_files_and_ids_that_become_alike_are_numbered(tmp_path: Path) -> None:
    runs = [homes(), homes("/home/bob/r", 1), homes("~/r", 2)]
    write_bundle(tmp_path / "bundle", runs)
    found = read_back(tmp_path / "bundle")
    assert [(one.run.run, one.run.config["at"]) for one in found] == [("~/r", 0), ("~/r (2)", 1), ("~/r (3)", 2)]
    for one in found:
        assert one.run.config == {"~/lr (2)": 0.1, "~/lr": 0.2, "at": one.run.config["at"]}
        assert {each.metric.name: each.values[0] for each in one.metrics if each.metric.name.startswith("~")} == {
            "~/x": 2.0,
            "~/x (2)": 1.0,
        }
        assert one.blobs == {"~/f.txt": b"ann's", "~/f.txt (2)": b"bob's"}
    write_bundle(tmp_path / "again", runs)
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").rglob("*.parquet")} == {
        path.name: path.read_bytes() for path in (tmp_path / "bundle").rglob("*.parquet")
    }


def test_export_and_fetch_of_runs_with_such_names(cli: Cli, store: Store) -> None:
    store.write([homes(), homes("/home/bob/r", 1)])
    store.fold()
    assert cli("export", "--bundle", "bundle").exit_code == 0
    fetched = cli("fetch", "bundle", "--json")
    assert fetched.exit_code == 0, fetched.stderr
    rows = [row for row in json.loads(cli("list", "--json").stdout) if row["source"].startswith("bundle:")]
    assert [row["run"] for row in rows] == ["~/r", "~/r (2)"] and {"~/x", "~/x (2)"} <= set(rows[0]["metrics"])


@given(
    st.lists(
        st.sampled_from(["a", "/home/ann/a", "/home/bob/a", "~/a", "~/a (2)", "ann@example.org", "bob@example.org"]), unique=True
    )
)
def test_no_name_is_lost_and_none_is_like_another(names: list[str]) -> None:
    found = distinct(names, Scrubber().text)
    assert list(found) == names and len(set(found.values())) == len(names)
    assert all(new == name for name, new in found.items() if scrubbed(name) == name)
    assert distinct(sorted(names), Scrubber().text) == found, "whatever the order"
    assert len(scrubbed(dict.fromkeys(names, 1))) == len(names)
