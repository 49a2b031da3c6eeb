"""What one logged row costs: openrlb.track beside a JSON line, tensorboard's writer and wandb offline, in one process.

    python benchmarks/tracking.py [--rows 20000] [--rounds 3]

Each logger writes the same rows, in turns, so that a busy machine slows all of them; the median of the rounds is printed, and
how many times as long as openrlb each one takes. openrlb and the JSON line hand every row to the system before ``log``
returns: those rows survive kill -9. tensorboard and wandb hand rows to a queue, so their rows may still be lost, and the time
that their writers need afterwards is not counted. A writer that is not installed is left out, and named.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_SILENT", "true")

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from measured import machine

from openrlb.store import Store
from openrlb.tracking import track

NAMES = ("loss", "entropy", "kl", "value_loss", "return")
Log = Callable[[int, dict[str, float]], None]


@contextmanager
def openrlb(folder: Path) -> Iterator[Log]:
    """Our own."""
    run = track(algo="ppo", env="Hopper-v5", seed=1, store=folder / "store")
    yield run.log
    run.finish()


@contextmanager
def json_lines(folder: Path) -> Iterator[Log]:
    """One line for each row, line-buffered: what a careful script writes by hand."""
    began = time.monotonic()
    with (folder / "rows.jsonl").open("w", buffering=1) as file:
        yield lambda step, values: file.write(json.dumps({"step": step, "t": time.monotonic() - began, **values}) + "\n") and None


@contextmanager
def tensorboard(folder: Path) -> Iterator[Log]:
    """The event writer under torch's SummaryWriter, one event for each scalar as ``add_scalar`` makes it."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder / "events"))

    def log(step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
            writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    yield log
    writer.close()


@contextmanager
def wandb_offline(folder: Path) -> Iterator[Log]:
    """The genuine client, without a network."""
    import wandb

    with wandb.init(mode="offline", project="benchmark", dir=folder, reinit="create_new") as run:
        yield lambda step, values: run.log({"global_step": step, **values})


LOGGERS: dict[str, Callable[[Path], object]] = {
    "openrlb.track": openrlb,
    "JSON line": json_lines,
    "tensorboard": tensorboard,
    "wandb offline": wandb_offline,
}


def seconds(logger: Callable[..., object], rows: int, metrics: int) -> float:
    """Wall seconds for the rows, without start and end."""
    values = {name: index / 7 for index, name in enumerate(NAMES[:metrics])}
    with tempfile.TemporaryDirectory() as folder, logger(Path(folder)) as log:  # type: ignore[attr-defined]
        for step in range(100):
            log(step, values)
        start = time.perf_counter()
        for step in range(100, rows + 100):
            log(step, values)
        return time.perf_counter() - start


def installed() -> dict[str, Callable[..., object]]:
    """The loggers that can be run here."""
    found = {}
    for name, logger in LOGGERS.items():
        try:
            seconds(logger, 10, 1)
            found[name] = logger
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return found


def ends() -> None:
    """What a run costs beside its rows, once everything is imported."""
    with tempfile.TemporaryDirectory() as folder:
        for rows in (1_000, 100_000, 1_000_000):
            start = time.perf_counter()
            run = track(algo="ppo", env="Hopper-v5", seed=1, store=Path(folder))
            begun = time.perf_counter() - start
            for step in range(rows):
                run.log(step, loss=0.5)
            start = time.perf_counter()
            run.finish()
            finished = time.perf_counter() - start
            start = time.perf_counter()
            Store(Path(folder)).fold()
            folded = time.perf_counter() - start
            print(f"{rows:>9,} rows: track {begun * 1e3:.0f} ms, finish {finished * 1e3:.0f} ms, fold {folded * 1e3:.0f} ms")


def main() -> None:
    """Prints microseconds for each row, and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    loggers = installed()
    print(f"{machine()}\n")
    print(f"{options.rows} rows, median of {options.rounds} rounds")
    print(f"{'logger':<16}{'us, 1 metric':>14}{'times':>8}{'us, 5 metrics':>16}{'times':>8}")
    cost: dict[str, list[float]] = {name: [] for name in loggers}
    for metrics in (1, 5):
        rounds = [
            {name: seconds(logger, options.rows, metrics) for name, logger in loggers.items()} for _ in range(options.rounds)
        ]
        for name in loggers:
            cost[name].append(statistics.median(timed[name] for timed in rounds) / options.rows * 1e6)
    base = cost["openrlb.track"]
    for name, (one, five) in cost.items():
        print(f"{name:<16}{one:>14.1f}{one / base[0]:>8.1f}{five:>16.1f}{five / base[1]:>8.1f}")
    ends()


if __name__ == "__main__":
    main()
