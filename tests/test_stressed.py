"""What the stress suite says at its end adds up."""

from __future__ import annotations

from stressed import Tally


def test_every_fault_is_counted_in_one_family() -> None:
    tally = Tally(seed=1, seconds=1.0)
    tally.add("kill -9 of fetch", 39, 35)
    tally.add("kill -9 of tune", 20, 20)
    tally.add("torn Parquet file", 12, 12, "named")
    tally.add("W&B server: 429", 3, 2)
    tally.add("two users, both write", 20, 20)
    assert tally.totals() == [
        "kills: 59, of which 55 hit",
        "damaged files: 12, of which 12 hit",
        "faults of a server: 3, of which 2 hit",
        "clocks, users and others: 20, of which 20 hit",
    ]
    assert len(tally.lines()) == 6
