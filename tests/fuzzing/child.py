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


class Trial:
    """Gives inputs to one target until the time is over; each finding becomes a file, and each second a line of counts.

    Args:
        name: The target's.
        seconds: How long.
        out: Where findings are put, and the input that is being tried.
        say: Takes the lines.
    """

    def __init__(self, name: str, seconds: float, out: Path, say: Callable[[str], None] = print) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        self.target = next(one for one in TARGETS if one.name == name)
        self.out, self.say = out, say
        self.counts = {"read": 0, "refused": 0, "found": 0, "slowest": 0.0, "memory": 0}
        self.end, self.said = time.monotonic() + seconds, 0.0
        signal.signal(signal.SIGPROF, _late)
        peak()

    def over(self) -> bool:
        return time.monotonic() > self.end

    def take(self, number: int, data: bytes) -> None:
        """Tries one input."""
        began, before, problem = time.process_time(), held(), ""
        (self.out / "last.input").write_bytes(data)
        (self.out / "current").write_text(f"{number}")
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of the processor: who started this one ends it where it only waits
        try:
            self.counts[tried(self.target, data, self.out / "folder")] += 1
        except BaseException as error:  # whatever it is, it is what is looked for
            problem = f"{type(error).__name__} at {place(error)}: {' '.join(str(error).split())[:200]}"
            (self.out / f"{number}.txt").write_text(traceback.format_exc(), errors="backslashreplace")
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        took, grown = time.process_time() - began, peak() - before
        self.counts["slowest"], self.counts["memory"] = max(self.counts["slowest"], took), max(self.counts["memory"], grown)
        if grown > MEMORY + len(data):
            problem = problem or f"memory: {grown >> 20} MiB for an input of {len(data):,} bytes"
        if problem:
            self.counts["found"] += 1
            (self.out / f"{number}.input").write_bytes(data)
            self.say(json.dumps({"finding": problem, "number": number, "bytes": len(data)}))
        if time.monotonic() - self.said > 1:
            self.said = time.monotonic()
            self.tell(number)

    def tell(self, number: int) -> None:
        """Says what was counted."""
        self.say(json.dumps({"counts": self.counts, "number": number}))


def _late(*_: object) -> None:
    raise TooSlowError


def main(name: str, first: int, seed: int, seconds: float, out: Path) -> None:
    """Tries inputs of our own making until the time is over."""
    trial = Trial(name, seconds, out)
    number = first
    for number, data in inputs(trial.target, first, seed):
        if trial.over():
            break
        trial.take(number, data)
    trial.tell(number)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), Path(sys.argv[5]))
