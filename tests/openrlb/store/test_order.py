"""A curve is the stored curve, whichever other runs are read with it: DuckDB gives small groups of filtered rows late."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from builders import RETURN, batch

from openrlb.store import Store
from openrlb.types import MetricBatch, RunBatch, Selection

LENGTHS = (3, 40, 70, 640, 1_300, 2_100, 5_000)
NAME = [("episodic_return", "episode")]


def stored(store: Store, envs: Sequence[str] = ("Hopper-v5",)) -> dict[str, RunBatch]:
    """Thirty runs of many lengths, several values at each step, in one fold, so that they lie in one file."""
    draw = random.Random(0)
    runs = {}
    for number in range(30):
        count = draw.choice(LENGTHS)
        values = np.arange(count) + 10_000.0 * number
        metric = MetricBatch(RETURN, np.arange(count) // 4, values)
        one = batch(f"r{number:02}", env=envs[number % len(envs)])
        runs[one.run.run] = RunBatch(one.run, (metric,))
    store.write(list(runs.values()))
    store.fold()
    return runs


@pytest.mark.parametrize("envs", [("Hopper-v5",), ("Hopper-v5", "Ant-v5")])
def test_a_curve_does_not_depend_on_which_other_runs_are_read(store: Store, envs: Sequence[str]) -> None:
    runs = stored(store, envs)
    draw = random.Random(1)
    for _ in range(40):
        chosen = draw.sample(sorted(runs), draw.randint(2, 10))
        names = ", ".join(f"'{name}'" for name in chosen)
        curves = store.curves(Selection(where=f"run IN ({names})"), [(RETURN.name, RETURN.kind)])
        assert {curve.run.run: curve.values.tolist() for curve in curves} == {
            name: runs[name].metrics[0].values.tolist() for name in chosen
        }


def test_values_at_equal_steps_keep_their_order_through_merges(store: Store) -> None:
    runs = stored(store)
    for number in range(18):  # the 17th fold merges the files
        store.write([batch(f"other{number}", points=5)])
        store.fold()
    store.write([batch("r00", points=7)])  # and one run is replaced, so that rows are filtered
    store.fold()
    for number in range(18):
        store.write([batch(f"another{number}", points=5)])
        store.fold()
    curves = {curve.run.run: curve.values.tolist() for curve in store.curves(Selection(), [(RETURN.name, RETURN.kind)])}
    assert all(curves[name] == run.metrics[0].values.tolist() for name, run in runs.items() if name != "r00")
