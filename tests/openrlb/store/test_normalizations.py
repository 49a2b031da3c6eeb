"""Frozen normalisations: written once, added to, never changed; several writers; damaged files; rebuilds."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from openrlb.errors import SelectionError, StoreDamaged
from openrlb.store import Store
from openrlb.store.layout import Layout
from openrlb.store.normalizations import FrozenNormalization, Scale, freeze, read_normalizations


def made(name: str = "mine", created: str = "2026-01-01", **scales: Scale) -> FrozenNormalization:
    return FrozenNormalization(name, "ref", "ppo", "the random agent's", "episodic_return", "eval", "final:10%", created, scales)


HOPPER = Scale(1.0, 2.5, (), ("folder a",), ("folder b", "folder c"), 1000, "agent_step")


def test_what_is_read_is_what_was_frozen(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert read_normalizations(layout) == {}
    cdf = Scale(0.1, 0.3, (0.1, 0.2, 0.3), (), ("folder b",))
    assert freeze(layout, made(Hopper=HOPPER, Ant=cdf)) == made(Hopper=HOPPER, Ant=cdf)
    freeze(layout, made("other", Hopper=HOPPER))
    assert read_normalizations(layout) == {"mine": made(Hopper=HOPPER, Ant=cdf), "other": made("other", Hopper=HOPPER)}


def test_a_frozen_number_never_changes_and_new_environments_raise_the_version(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    freeze(layout, made(Hopper=HOPPER))
    again = freeze(layout, made(created="2027-01-01", Hopper=replace(HOPPER, high=99.0), Ant=HOPPER))
    assert again.scales == {"Hopper": HOPPER, "Ant": replace(HOPPER, version=2)}
    assert again.version == 2 and again.created == "2026-01-01"


@pytest.mark.parametrize("unlike", [{"method": "minmax"}, {"group": "sac"}, {"rule": "last"}, {"kind": "episode"}])
def test_a_name_means_one_thing(tmp_path: Path, unlike: dict[str, str]) -> None:
    layout = Layout(tmp_path)
    freeze(layout, made(Hopper=HOPPER))
    with pytest.raises(SelectionError, match="mine is frozen already") as error:
        freeze(layout, replace(made(Ant=HOPPER), **unlike))  # type: ignore[arg-type]
    assert "--freeze NAME" in error.value.fix


def _freeze_some(folder: Path, worker: int) -> None:
    """One process: names of its own, and one that all share."""
    for number in range(5):
        freeze(Layout(folder), made(f"own-{worker}-{number}", Hopper=HOPPER))
        freeze(Layout(folder), made("shared", **{f"env{number}": replace(HOPPER, high=float(worker + 2))}))


def test_two_writers_lose_nothing_and_agree_on_what_they_share(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_freeze_some, args=(tmp_path, worker)) for worker in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    found = read_normalizations(Layout(tmp_path))
    assert {f"own-{worker}-{number}" for worker in range(2) for number in range(5)} < set(found)
    assert set(found["shared"].scales) == {f"env{number}" for number in range(5)}


def test_a_rebuild_leaves_it_alone(runs: Store) -> None:
    freeze(runs.layout, made(Hopper=HOPPER))
    runs.layout.catalog.unlink()
    runs.rebuild()
    assert read_normalizations(runs.layout) == {"mine": made(Hopper=HOPPER)}
    assert runs.health().unknown == ()


def test_a_damaged_file_is_named_and_not_overwritten(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    freeze(layout, made(Hopper=HOPPER))
    whole = layout.normalizations.read_bytes()
    layout.normalizations.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreDamaged, match="frozen normalisations cannot be read"):
        freeze(layout, made(Ant=HOPPER))
    assert layout.normalizations.read_bytes() == whole[: len(whole) // 2]
