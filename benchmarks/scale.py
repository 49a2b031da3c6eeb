"""What a store costs at 250, 2,500 and 25,000 runs: bytes, commands in processes of their own, and reading in this one.

    python benchmarks/scale.py FOLDER [--runs 250 2500] [--rounds 3]

Stores are those of ``scale_store.py``; one that FOLDER lacks is made there (25,000 runs: 770 million values, half an hour, 4 GB).
Commands and sizes take turns, so that a busy machine slows all alike; shown are medians. In a cell stand processor time, in
parentheses wall time, and peak memory; the last column says how many times the last size takes of what the one before took, in
processor time. A store's first reading after it was made is not counted: the system's cache is warm.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measured import OPENRLB, Measured, machine, measure, median, seconds, table
from scale_store import ALGOS, ENVS, RETURN, run_of

from openrlb import final_scores
from openrlb.store import Store
from openrlb.types import Selection

ENV = "Hopper-v4"
FINAL = "SELECT run, value FROM scores WHERE metric = 'charts/episodic_return' AND rule = 'final:10%'"
COMMANDS: dict[str, tuple[str, ...]] = {
    "list, every run": ("list",),
    "list --env Hopper-v4": ("list", "--env", ENV),
    "list --group-by algo,env": ("list", "--group-by", "algo,env"),
    "show RUN": ("show", "RUN"),
    "doctor": ("doctor",),
    "query, final scores of every run": ("query", FINAL),
    "plot --env Hopper-v4 -o iqm.html": ("plot", "--env", ENV, "-o", "OUT/iqm.html"),
    "plot --env Hopper-v4 --curves -o curves.html": ("plot", "--env", ENV, "--curves", "-o", "OUT/curves.html"),
    "plot --metric mean --json, every run": ("plot", "--metric", "mean", "--json"),
}
PAGE = ("report", "-o", "OUT/report.html")
"""A page about every run, asked for with --pages: of 25,000 runs nobody reads one."""
EARLIER = 700_000
"""A cut that no run ends at, so that every score comes from coarse means."""
FOLD = "from openrlb.store import Store; Store().fold()"
FOLDED = "fold of one run more"
EPISODES = 200
FETCHED = f"fetch of a monitor.csv of {EPISODES} episodes for each"


def commands(home: Path, runs: int, rounds: int, pages: bool) -> dict[str, list[Measured]]:
    """Each command once in every round."""
    asked = COMMANDS | ({"report, every run": PAGE} if pages else {})
    found: dict[str, list[Measured]] = {}
    with tempfile.TemporaryDirectory() as folder:
        known = {"RUN": run_of(runs // 2).run.run, "OUT": folder}
        for _ in range(rounds):
            for name, words in asked.items():
                given = [known.get(word, word.replace("OUT", folder)) for word in words]
                found.setdefault(name, []).append(measure([*OPENRLB, *given], home))
            Store(home / "store").write([run_of(1_000_000 + time.time_ns() % 1_000_000)])
            found.setdefault(FOLDED, []).append(measure([sys.executable, "-c", FOLD], home))
    return found


def fetching(runs: int) -> Measured:
    """``fetch`` of the folder that so many short runs of Stable-Baselines3 left, into an empty store."""
    with tempfile.TemporaryDirectory() as place:
        for number in range(runs):
            env = ENVS[number % len(ENVS)]
            folder = Path(place) / "logs" / ALGOS[number // len(ENVS) % len(ALGOS)] / f"{env}_{number}"
            folder.mkdir(parents=True)
            episodes = (f"{(row * 7919 + number) % 1000 / 10},{100 + row % 50},{row * 1.25}" for row in range(EPISODES))
            text = "\n".join([json.dumps({"t_start": 1.7e9 + number, "env_id": env}), "r,l,t", *episodes])
            (folder / "0.monitor.csv").write_text(f"#{text}\n")
        return measure([*OPENRLB, "fetch", f"{place}/logs"], Path(place) / "home")


def reading(home: Path, rounds: int) -> dict[str, Measured]:
    """What reading in this process takes; each opens the catalog anew but where it says otherwise."""
    store = Store(home / "store")

    def opened() -> object:
        with store.reading() as con:
            return con.execute("SELECT 1").fetchall()

    scores: dict[str, Callable[[], object]] = {
        "final scores of every run at the median cut": lambda: final_scores(of=RETURN.name, store=store),
        "final scores of every run at another cut": lambda: final_scores(of=RETURN.name, at=EARLIER, store=store),
    }
    work: dict[str, Callable[[], object]] = {
        f"curves of {ENV}": lambda: store.curves(Selection(env=(ENV,)), [(RETURN.name, RETURN.kind)]),
        "final scores of every run at its end": lambda: store.query(FINAL),
        **scores,
        "opening the catalog": opened,
        "records of every run": store.runs,
    }
    found = {f"{name}, in process": timed(one, rounds) for name, one in work.items()}
    with store.at_once():
        return found | {f"{name}, in process, the catalog being open": timed(one, rounds) for name, one in scores.items()}


def timed(one: Callable[[], object], rounds: int) -> Measured:
    """The median of some rounds after a first one."""
    one()
    times = []
    for _ in range(rounds):
        wall, processor = time.perf_counter(), time.process_time()
        one()
        times.append(Measured(time.perf_counter() - wall, time.process_time() - processor, 0))
    return median(times)


def sizes(home: Path) -> dict[str, str]:
    """Bytes on the disk."""
    store = Store(home / "store")
    values = int(store.query("SELECT sum(n) FROM (SELECT count(*) AS n FROM points)").rows[0][0])
    data = sum(path.stat().st_size for path in store.layout.data.rglob("*") if path.is_file())
    catalog = store.layout.catalog.stat().st_size
    return {
        "values": f"{values:,}",
        "bytes a value: data": f"{data / values:.2f}",
        "bytes a value: catalog": f"{catalog / values:.2f} ({catalog / 2**20:,.0f} MiB)",
    }


def made(folder: Path, runs: int) -> Path:
    """The home of a store of so many runs."""
    home = folder / str(runs)
    if not (home / "store").exists():
        here = Path(__file__).resolve().parent
        subprocess.run([sys.executable, here / "scale_store.py", str(runs), home / "store"], check=True)
    return home


def main() -> None:
    """Writes a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, nargs="+", default=[250, 2500])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pages", action="store_true", help="also write a page about every run")
    options = parser.parse_args()
    homes = {runs: made(options.folder, runs) for runs in options.runs}
    print(machine(), end="\n\n", flush=True)
    told = {runs: sizes(home) for runs, home in homes.items()}
    rows = [[name, *(told[runs][name] for runs in homes), ""] for name in next(iter(told.values()))]
    spent = {runs: commands(home, runs, options.rounds, options.pages) for runs, home in homes.items()}
    for runs in homes:
        spent[runs][FETCHED] = [fetching(runs)]
    for name in next(iter(spent.values())):
        found = [median(spent[runs][name]) for runs in homes]
        growth = f"{found[-1].processor / found[-2].processor:.1f}" if len(found) > 1 else ""
        rows.append([name, *(one.words() for one in found), growth])
    read = {runs: reading(home, options.rounds) for runs, home in homes.items()}
    for name in next(iter(read.values())):
        found = [read[runs][name] for runs in homes]
        growth = f"{found[-1].processor / found[-2].processor:.1f}" if len(found) > 1 else ""
        rows.append([name, *(f"{seconds(one.processor)} ({seconds(one.wall)})" for one in found), growth])
    print(table(["work", *(f"{runs:,} runs" for runs in homes), "grows"], rows))


if __name__ == "__main__":
    main()
