"""What is said of workers on a batch system, and the flags that ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from openrlb.cli.app import Talk
from openrlb.errors import UsageError
from openrlb.words import counted

if TYPE_CHECKING:
    from openrlb.api.launching import Launched

EXAMPLES = {"--slurm": "partition=gpu", "--ray": "address=HOST:PORT"}
Launcher = Annotated[
    str, typer.Option("--launcher", help="Where runs execute: local; or slurm or ray, whose workers go on when this ends.")
]
Slurm = Annotated[
    list[str] | None,
    typer.Option("--slurm", metavar="KEY=VALUE", help="An option of sbatch (partition=gpu, time=2:00:00). Repeatable."),
]

Ray = Annotated[
    list[str] | None,
    typer.Option("--ray", metavar="KEY=VALUE", help="address=HOST:PORT, or what a worker takes (num_gpus=1). Repeatable."),
]


def cluster_options(words: list[str] | None, flag: str) -> dict[str, object]:
    """The options that ``--slurm`` or ``--ray`` gives; a word alone is a flag.

    Args:
        words: What was typed.
        flag: Behind which of the two.

    >>> cluster_options(["partition=gpu", "exclusive"], "--slurm")
    {'partition': 'gpu', 'exclusive': True}

    Raises:
        UsageError: A word without a key, or one that is given twice.
    """
    found: dict[str, object] = {}
    for word in words or ():
        key, sign, value = word.partition("=")
        if not key or key in found:
            why = "it is given twice" if key else "it names no option"
            raise UsageError(f"{flag} {word!r} was not understood", why, f"write {flag} {EXAMPLES[flag]}")
        found[key] = value if sign else True
    return found


def tell_launched(said: Talk, launched: Launched, place: str = "") -> None:
    """Says what was submitted, or what would be, and how to look at it.

    Args:
        said: Where it is said.
        launched: The workers.
        place: Further words that name the studies' database.
    """
    workers = counted(launched.workers, "worker")
    if launched.note:
        said.warn(launched.note)
    if not launched.launch:
        said.say(f"{workers} would be submitted by this script:")
        for line in launched.script.rstrip().splitlines():
            said.say(f"  {line}")
        return
    name = f"{launched.name}{place}"
    if launched.already:
        are = "is" if launched.alive == 1 else "are"
        said.say(f"{launched.alive} of {workers} for {launched.name} {are} there already: {launched.where}")
        said.say("nothing is submitted, so --workers is not used: for another number cancel them first, or help them from here")
    else:
        said.say(f"{workers} for {launched.name} submitted: {launched.where}; this program may end")
    more = f"   |   openrlb worker {name}" if launched.already else ""
    said.say(f"next: openrlb status {name} --watch   |   openrlb cancel {name}{more}")
