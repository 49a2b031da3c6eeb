"""Makes the packaged sample: ``openrlb run`` trains what its store lacks of the recipe, and all of it becomes one bundle.

    OPENRLB_HOME=FOLDER python runners/make_sample.py

It takes about two hours on two cores. What is finished in FOLDER's store is not trained again, so it can be interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from openrlb.api.run import RunOptions, run
from openrlb.sources import write_bundle
from openrlb.store import Store
from openrlb.types import MetricBatch, RunBatch, Selection

SAMPLE = Path(__file__).resolve().parent.parent / "openrlb" / "sample"
BATCHES = (
    (("ppo", "trpo", "a2c"), ("Hopper-v5", "Walker2d-v5", "HalfCheetah-v5")),
    (("ppo", "a2c", "dqn"), ("CartPole-v1", "Acrobot-v1")),
)
SEEDS = (1, 2, 3, 4, 5)
STEPS = 100_000


def main() -> None:
    """Trains and bundles."""
    store = Store()
    wanted: list[str] = []
    for algos, envs in BATCHES:
        report = run(
            RunOptions(algorithms=algos, envs=envs, seeds=SEEDS, steps=STEPS),
            store=store,
            on_event=lambda event: (
                sys.stderr.write(f"{event.kind} {event.item.request.label}\n")
                if event.item and event.kind in ("started", "ended")
                else None
            ),
        )
        failed = [line.run for line in report.runs if line.state != "finished"]
        if failed:
            raise SystemExit(f"not finished: {', '.join(failed)}")
        wanted += [line.run for line in report.runs]
    for old in (*SAMPLE.glob("*.parquet"), *SAMPLE.glob("bundle.json")):
        old.unlink()
    write_bundle(SAMPLE, stored(store, wanted))
    sys.stderr.write(f"{len(wanted)} runs in {SAMPLE}\n")


def stored(store: Store, wanted: list[str]) -> Iterator[RunBatch]:
    """The runs as the store holds them, as runs of the source ``sample``."""
    rows = [row for row in store.runs(Selection(source="openrlb")) if row.record.run in wanted]
    for row in rows:
        key = (row.record.source, row.record.run)
        names = [(item.metric.name, item.metric.kind) for item in store.metrics_of([key])[key]]
        where = Selection(source="openrlb", where=f"run = '{row.record.run}'")
        curves = [one for one in store.curves(where, names) if one.run.run == row.record.run and one.run.source == "openrlb"]
        metrics = tuple(
            MetricBatch(one.metric, one.steps, one.values, one.times_ms if (one.times_ms >= 0).all() else None) for one in curves
        )
        blobs = {name: (store.layout.blobs / digest).read_bytes() for name, digest in row.record.files.items()}
        yield RunBatch(replace(row.record, source="sample", project="sample"), metrics, blobs)


if __name__ == "__main__":
    main()
