"""Makes the packaged sample: ``openrlb run`` trains what its store lacks of the recipe, and all of it becomes one bundle.

    OPENRLB_HOME=FOLDER python runners/make_sample.py

It takes about two hours on two cores. What is finished in FOLDER's store is not trained again, so it can be interrupted.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from openrlb.api.run import RunOptions, run
from openrlb.sources import write_bundle
from openrlb.store import Store
from openrlb.store.stored import stored_batches
from openrlb.types import Selection

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
    runs = [row.record for row in store.runs(Selection(source="openrlb")) if row.record.run in wanted]
    runs.sort(key=lambda run: (run.env, run.algo, run.run))
    batches = stored_batches(store, [(run.source, run.run) for run in runs])
    ours = (replace(one, run=replace(one.run, source="sample", project="sample")) for one in batches)
    write_bundle(SAMPLE, ours, license_="mit", title="openrlb sample")
    sys.stderr.write(f"{len(wanted)} runs in {SAMPLE}\n")


if __name__ == "__main__":
    main()
