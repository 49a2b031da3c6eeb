"""Word of runs that no verb can show yet."""

from __future__ import annotations

from openrlb.cli.app import Talk


def tell_going_on(said: Talk) -> None:
    """Says how many tracked runs are being written now."""
    from openrlb.api.opened import going_on

    count = going_on()
    if count:
        runs, they = ("1 tracked run is", "it is") if count == 1 else (f"{count:,} tracked runs are", "they are")
        said.say(f"note: {runs} going on; {they} stored on finishing")
