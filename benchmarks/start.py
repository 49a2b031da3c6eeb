"""What a command takes from the start of its process: ``--help`` beside an empty typer program, and the packaged sample.

    python benchmarks/start.py [--rounds 5]

Each command is a process of its own and they take turns, so that a busy machine slows all alike. In a cell stand processor time,
in parentheses wall time, and peak memory: medians of the rounds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from measured import OPENRLB, Measured, machine, measure, median, table

EMPTY = """
import typer
app = typer.Typer()

@app.command()
def one(): "First."

@app.command()
def two(): "Second."

app()
"""


def main() -> None:
    """Writes a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(machine(), end="\n\n", flush=True)
    found: dict[str, list[Measured]] = {}
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        script = home / "empty.py"
        script.write_text(EMPTY)
        measure([*OPENRLB, "fetch"], home)
        plot = [*OPENRLB, "plot", "--metric", "iqm", "--env", "Hopper"]
        commands = {
            "an empty typer program, --help": [sys.executable, str(script), "--help"],
            "openrlb --help": [*OPENRLB, "--help"],
            "openrlb list": [*OPENRLB, "list"],
            "openrlb plot --metric iqm --env Hopper -o iqm.html": [*plot, "-o", str(home / "iqm.html")],
            "... -o iqm.svg": [*plot, "-o", str(home / "iqm.svg")],
        }
        for _ in range(options.rounds):
            for label, words in commands.items():
                found.setdefault(label, []).append(measure(words, home))
    medians = {label: median(rounds) for label, rounds in found.items()}
    base = next(iter(medians.values())).processor
    rows = [[label, one.words(), f"{one.processor / base:.1f}"] for label, one in medians.items()]
    print(table(["command, on the packaged sample", "takes", "times the empty program"], rows))


if __name__ == "__main__":
    main()
