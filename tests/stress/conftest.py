"""Chance that can be repeated, and a table of what was tried at the end: ``just stress --seed 7 --seconds 60``."""

from __future__ import annotations

import random

import pytest
from stressed import Tally

KEPT = pytest.StashKey[Tally]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("stress")
    group.addoption("--seed", type=int, help="what every random moment follows from; another one each time by default")
    group.addoption("--seconds", type=float, help="how long writers and readers run side by side (300)")


def tally_of(config: pytest.Config) -> Tally:
    if KEPT not in config.stash:
        seed, seconds = (config.getoption(name, None) for name in ("--seed", "--seconds"))
        config.stash[KEPT] = Tally(random.randrange(10**6) if seed is None else seed, seconds or 300.0)
    return config.stash[KEPT]


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """What the whole call counts."""
    return tally_of(request.config)


@pytest.fixture
def chance(request: pytest.FixtureRequest, tally: Tally) -> random.Random:
    """Random numbers of one test: equal for equal seeds, whatever else runs."""
    return random.Random(f"{tally.seed} {request.node.name}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    tally = config.stash.get(KEPT, None)
    if tally is not None:
        terminalreporter.section(f"stress, --seed {tally.seed}")
        for line in tally.lines():
            terminalreporter.write_line(line)
