"""``openrlb fetch --presets`` and ``--save-preset``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from openrlb.cli.render import chosen_format, emit_json, emit_rows

COLUMNS = ("name", "use", "source", "map", "kinds", "step_unit", "frames", "kept")


def list_presets(names: Sequence[str], as_json: bool) -> None:
    """The presets as a table, or as JSON with every key."""
    from openrlb.api.presets import presets

    rows = presets(names)
    if as_json:
        emit_json([asdict(row) for row in rows])
    else:
        emit_rows(
            [row.columns for row in rows],
            COLUMNS,
            chosen_format(False, None, None),
        )


def keeper(name: str, places: Sequence[str], kept: dict[str, Any]) -> Callable[[Sequence[str]], str]:
    """What keeps this fetch's reading under a name, with the maps that it guessed; what cannot be kept is said now.

    Raises:
        UsageError: The map of a W&B project says more than a preset holds.
    """
    from openrlb import config
    from openrlb.api.presets import tracked_table
    from openrlb.api.remote import project_of

    project = project_of(places[0]) if len(places) == 1 else None
    if project is not None:
        tracked_table(*project, kept.get("map", ()), kept)

    def keep(guesses: Sequence[str]) -> str:
        if project is None:
            flags, table, use = {"map": list(dict.fromkeys(guesses)), **kept}, config.PRESETS, f"fetch FOLDER --preset {name}"
        else:
            flags, table = tracked_table(*project, list(guesses[:1]) or kept.get("map", ()), kept), config.TRACKED
            use = f"fetch {name}"
        return f"kept in {config.save_preset(name, flags, table)}: openrlb {use}"

    return keep
