"""Gives inputs to one target under limits of memory and time, and writes down what went wrong."""

from __future__ import annotations

import json
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from fuzzing.holding import BrokenError, Target
from fuzzing.mutation import mutated
from fuzzing.targets import TARGETS

from openrlb.errors import OpenrlbError

ADDRESS_SPACE = 6 * 1024**3
MEMORY = 300 * 1024**2
SECONDS = 10


class TooSlowError(BaseException):
    """An input took too long."""


def inputs(target: Target, first: int, seed: int) -> Iterator[tuple[int, bytes]]:
    """Inputs from a number on; equal numbers give equal inputs."""
    seeds = target.seeds()
    number = first
    while True:
        rng = Random(f"{target.name} {seed} {number}")
        data = mutated(rng.choice(seeds), seeds, target.words, rng) if number else seeds[0]
        yield number, target.repaired(data) if target.repaired and number % 2 else data
        number += 1


def tried(target: Target, data: bytes, folder: Path) -> str:
    """What comes of one input: ``read`` or ``refused``."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        target.take(data, folder)
    except OpenrlbError as error:
        if not all(isinstance(part, str) and part for part in (error.what, error.why, error.fix)):
            raise BrokenError(f"an error that does not say its three things: {error!r}") from error
        return "refused"
    return "read"


def place(error: BaseException) -> str:
    """Where an error comes from: the innermost line of openrlb's own."""
    ours = [one for one in traceback.extract_tb(error.__traceback__) if re.search("openrlb|fuzzing", one.filename)]
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"


def peak() -> int:
    """The most memory that was held since it was last asked, in bytes."""
    with Path("/proc/self/status").open() as status:
        found = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    return found


def held() -> int:
    """The memory that is held now, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main(name: str, first: int, seed: int, seconds: float, out: Path, say: Callable[[str], None] = print) -> None:
    """Tries inputs until the time is over; each finding becomes a file, and each second a line of counts."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    target = next(one for one in TARGETS if one.name == name)

    def late(*_: object) -> None:
        raise TooSlowError

    signal.signal(signal.SIGALRM, late)
    counts = {"read": 0, "refused": 0, "found": 0, "slowest": 0.0, "memory": 0}
    end, told = time.monotonic() + seconds, 0.0
    peak()
    for number, data in inputs(target, first, seed):
        began, before, problem = time.monotonic(), held(), ""
        if began > end:
            break
        (out / "current").write_text(f"{number}")
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            counts[tried(target, data, out / "folder")] += 1
        except BaseException as error:  # whatever it is, it is what is looked for
            problem = f"{type(error).__name__} at {place(error)}: {' '.join(str(error).split())[:200]}"
            (out / "traceback").write_text(traceback.format_exc())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        took, grown = time.monotonic() - began, peak() - before
        counts["slowest"], counts["memory"] = max(counts["slowest"], took), max(counts["memory"], grown)
        if grown > MEMORY + len(data):
            problem = problem or f"memory: {grown >> 20} MiB for an input of {len(data):,} bytes"
        if problem:
            counts["found"] += 1
            kept = out / f"{number}.input"
            kept.write_bytes(data)
            say(json.dumps({"finding": problem, "number": number, "bytes": len(data)}))
            if (out / "traceback").exists():
                (out / "traceback").replace(out / f"{number}.txt")
        if time.monotonic() - told > 1:
            told = time.monotonic()
            say(json.dumps({"counts": counts, "number": number}))
    say(json.dumps({"counts": counts, "number": number}))


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), Path(sys.argv[5]))
