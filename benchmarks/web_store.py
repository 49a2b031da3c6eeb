"""What a verb takes of a store on a web server: bytes and requests, of a store of some runs in the shape of Open RL Benchmark.

    python benchmarks/web_store.py [--runs 250] [--folder FOLDER]

The server is the tests' own, on this machine, and counts what it sends; each verb is a process of its own, all with one cache, in
the order shown.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]

from measured import machine  # noqa: E402
from scale_store import write_runs  # noqa: E402
from store_server import StoreServer  # noqa: E402

from openrlb.store import Store  # noqa: E402

ENV = "Hopper-v4"
FIGURE = ("plot", "--metric", "iqm", "--env", ENV, "--resamples", "1000", "-o", "iqm.html")
VERBS = (
    ("list",),
    ("list", "--env", ENV),
    FIGURE,
    FIGURE,
    ("plot", "--metric", "iqm", "--curves", "--env", ENV, "--resamples", "1000", "-o", "curves.html"),
    ("plot", "--table", "--resamples", "1000"),
    ("export", "--env", ENV, "--bundle", "bundle"),
    ("query", "SELECT count(*) FROM points"),
)


def main() -> None:
    """Prints a row for each verb."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--runs", type=int, default=250)
    words.add_argument("--folder", type=Path, help="where the store is kept; made where it is missing")
    asked = words.parse_args()
    with tempfile.TemporaryDirectory() as place:
        store = Store((asked.folder or Path(place)) / "store")
        if not store.exists:
            write_runs(store, 0, asked.runs)
            store.fold()
        total = sum(path.stat().st_size for path in store.layout.root.rglob("*") if path.is_file())
        server = StoreServer(store.layout.root)
        catalog = store.layout.catalog.stat().st_size
        print(f"{machine()}\n")
        print(f"a store of {len(store.runs()):,} runs, {total / 1e6:.1f} MB; its catalog {catalog / 1e6:.1f} MB\n")
        print("| verb | MB | of the store | requests |\n| --- | --- | --- | --- |")
        env = {**os.environ, "OPENRLB_HOME": str(Path(place) / "home"), "PYTHONPATH": str(ROOT)}
        for verb in VERBS:
            server.sent, asked_before = 0, len(server.asked)
            command = [sys.executable, "-m", "openrlb", "-q", "--store", server.url, *verb]
            subprocess.run(command, env=env, cwd=place, stdout=subprocess.DEVNULL, check=True)
            sent, requests = server.sent, len(server.asked) - asked_before
            print(f"| `{' '.join(verb)}` | {sent / 1e6:.2f} | {100 * sent / total:.1f} % | {requests} |", flush=True)
        server.stop()


if __name__ == "__main__":
    main()
