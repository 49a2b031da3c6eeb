"""Fuzzes every parser: ``PYTHONPATH=tests python -m fuzzing --seconds 600 [--target NAME] [--seed N] [--engine atheris]``.

Each target has a child process of its own, under limits of memory and time, which is started again where an input ends it.
Inputs are our own (equal seeds give equal ones), or those that libFuzzer makes where atheris is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fuzzing.child import SECONDS
from fuzzing.targets import TARGETS

ENGINES = {"own": "fuzzing.child", "atheris": "fuzzing.guided"}


def fuzz(name: str, seed: int, seconds: float, kept: Path, engine: str = "own") -> dict[str, Any]:
    """Tries one target for some time; returns its counts and its findings, each kind once."""
    total: dict[str, Any] = {"inputs": 0, "read": 0, "refused": 0, "slowest": 0.0, "memory": 0, "findings": {}}
    first, end = 0, time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0.5:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            code, last = _watched(ENGINES[engine], [name, str(first), str(seed), str(left), folder], out)
            counts: dict[str, Any] = {}
            for line in (out / "stdout").read_text(errors="replace").splitlines():
                try:
                    row = json.loads(line)
                except ValueError:  # what a library says there, or half of a line
                    continue
                counts = row.get("counts", counts)
                if "finding" in row:
                    _keep(total, row["finding"], out, row["number"], kept, name)
            number = last if last is not None else first
            if code:
                if last is not None:
                    (out / "last.input").replace(out / f"{number}.input")
                said = (out / "stderr").read_text(errors="replace")[-300:]
                _keep(total, f"the process ended with {code}: {said}", out, number, kept, name)
            for key in ("read", "refused"):
                total[key] += counts.get(key, 0)
            for key in ("slowest", "memory"):
                total[key] = max(total[key], counts.get(key, 0))
            total["inputs"] += number - first + 1
            first = number + 1
            if not code:
                break
    return total


def _watched(module: str, words: list[str], out: Path) -> tuple[int, int | None]:
    """Runs a child until its time is over or an input takes far too long: its exit code, and the last input's number."""
    command = [sys.executable, "-W", "ignore", "-m", module, *words]
    home = {"OPENRLB_HOME": str(out / "home"), "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    with (out / "stderr").open("wb") as stderr, (out / "stdout").open("wb") as stdout:
        child = subprocess.Popen(command, stdout=stdout, stderr=stderr, env=os.environ | home)
        before, since = "", time.monotonic()
        while child.poll() is None:
            time.sleep(0.1)
            now = (out / "current").read_text() if (out / "current").exists() else ""
            if now != before:
                before, since = now, time.monotonic()
            if time.monotonic() - since > 3 * SECONDS + 20:
                child.kill()
    return child.returncode, int(before) if before else None


def _keep(total: dict[str, Any], finding: str, out: Path, number: int, kept: Path, name: str) -> None:
    """Keeps the first input of each kind of finding."""
    kind = finding.split(": ")[0]
    if kind not in total["findings"]:
        total["findings"][kind] = f"input {number}: {finding}"
        kept.mkdir(parents=True, exist_ok=True)
        for suffix in ("input", "txt"):
            if (out / f"{number}.{suffix}").exists():
                copy = kept / f"{name.replace(' ', '-').strip('-')}-{number}.{suffix}"
                copy.write_bytes((out / f"{number}.{suffix}").read_bytes())


def main() -> int:
    """Fuzzes the targets one after the other; 1 where anything was found."""
    parser = argparse.ArgumentParser(prog="fuzzing", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="in all")
    parser.add_argument("--target", action="append", choices=[one.name for one in TARGETS])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=ENGINES, default="own", help="who makes the inputs: we, or libFuzzer by atheris")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="where inputs that found something are kept")
    words = parser.parse_args()
    if words.engine == "atheris" and importlib.util.find_spec("atheris") is None:
        parser.error("--engine atheris needs it here: pip install atheris")
    names = words.target or [one.name for one in TARGETS]
    print(f"{'target':28} {'inputs':>9} {'read':>8} {'refused':>8} {'slowest':>8} {'memory':>8}  findings", flush=True)
    inputs = found = 0
    for name in names:
        total = fuzz(name, words.seed, words.seconds / len(names), words.keep, words.engine)
        inputs, found = inputs + total["inputs"], found + len(total["findings"])
        print(
            f"{name:28} {total['inputs']:>9,} {total['read']:>8,} {total['refused']:>8,} {total['slowest']:>6.2f} s"
            f" {total['memory'] / 2**20:>4.0f} MiB  {len(total['findings'])}",
            flush=True,
        )
        for kind, text in total["findings"].items():
            print(f"    {kind}\n        {text}", flush=True)
    print(f"{inputs:,} inputs, {found} findings (seed {words.seed})")
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main())
