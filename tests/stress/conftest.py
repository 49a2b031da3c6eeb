"""Chance that can be repeated, and a table of what was tried at the end: ``just stress --seed 7 --seconds 60``."""

from __future__ import annotations

import random
import time

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
        stats = terminalreporter.stats
        passed, failed, skipped = (stats.get(kind, []) for kind in ("passed", "failed", "skipped"))
        failed = [*failed, *stats.get("error", [])]
        for line in (*tally.lines(), "", *tally.totals()):
            terminalreporter.write_line(line)
        left_out = f", {len(skipped)} skipped" if skipped else ""
        minutes = (time.time() - tally.began) / 60
        terminalreporter.write_line(f"tests: {len(passed)} passed, {len(failed)} failed{left_out}, in {minutes:.1f} minutes")
        terminalreporter.write_line(
            "nothing lost, nothing doubled, every failure named" if passed and not failed else "what failed stands above"
        )
        for report in failed:
            terminalreporter.write_line(f"failed: {report.nodeid}")
