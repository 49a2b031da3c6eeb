"""Lets libFuzzer make the inputs, by way of atheris: it goes on from those that reach something new in openrlb's own code."""

from __future__ import annotations

import os
import sys
from itertools import count
from pathlib import Path
from random import Random

import atheris

# Before anything of openrlb is imported, and for good: most of its imports happen where something is first needed.
atheris.instrument_imports(["openrlb", "openrlb_analysis", "openrlb_hpo", "openrlb_runners"]).__enter__()

from fuzzing.child import Trial, tried  # noqa: E402
from fuzzing.mutation import LARGEST, mutated  # noqa: E402

OURS = 0.3
"""The share of inputs that are changed by what is known of the format, not byte by byte."""


def main(name: str, first: int, seed: int, seconds: float, out: Path) -> None:
    """Tries inputs until the time is over, and ends the process."""
    trial, numbers = Trial(name, seconds, out), count(first)
    target, seeds = trial.target, trial.target.seeds()
    corpus = out / "corpus"
    corpus.mkdir()
    for number, data in enumerate(seeds):
        (corpus / f"seed{number}").write_bytes(data)

    tried(target, seeds[0], out / "folder")  # what is imported and looked through for it costs no input time

    def take(data: bytes) -> None:
        number = next(numbers)
        repaired = target.repaired is not None and sum(data) % 2  # an input is the same one whenever it is tried
        trial.take(number, target.repaired(data) if repaired and target.repaired else data)
        if trial.over():
            trial.tell(number)
            os._exit(0)

    def changed(data: bytes, most: int, state: int) -> bytes:
        rng = Random(state)
        if rng.random() < OURS:
            return mutated(data, seeds, target.words, rng)[:most]
        return bytes(atheris.Mutate(data, most))

    # Time and memory are watched here and by who started this process.
    most = LARGEST + max(map(len, seeds))
    options = [f"-seed={seed + first + 1}", f"-max_len={most}", "-timeout=0", "-rss_limit_mb=0", f"-artifact_prefix={out}/"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], take, custom_mutator=changed)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), Path(sys.argv[5]))
