"""Where ``-o`` writes: looked at before anything is computed, and what came of it said once the file is there.

Every verb does the same: a missing folder is made and an old file replaced, and both are said.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import typer

DATA_SUFFIXES = (".json", ".csv", ".tsv", ".md", ".txt")
"""Numbers, which a verb writes without naming the file; of a figure or a report the verb itself says where it is."""


def destination(ctx: typer.Context, path: Path | None) -> Path | None:
    """The file that a verb writes, once it is known that it can be; for verbs that name it themselves.

    Args:
        ctx: The call; when it ends, a file that was replaced and a folder that was made are said.
        path: The file.

    Raises:
        StoreUnwritable: It cannot be written.
    """
    return _watched(ctx, path, named=True)


def data_destination(ctx: typer.Context, path: Path | None) -> Path | None:
    """As :func:`destination`, and a new file of numbers is named too: the ``-o`` that most verbs share.

    Args:
        ctx: The call.
        path: The file.

    Raises:
        StoreUnwritable: It cannot be written.
    """
    return _watched(ctx, path, named=path is None or path.suffix.lower() not in DATA_SUFFIXES)


def _watched(ctx: typer.Context, path: Path | None, named: bool) -> Path | None:
    """Looks at a place now, and again when the call ends."""
    if path is not None and not ctx.resilient_parsing:
        from openrlb.store.files import check_writable

        check_writable(path)
        ctx.call_on_close(partial(_tell, ctx, path, _files(path), path.parent.exists(), named))
    return path


def _files(path: Path) -> dict[str, int]:
    """The file and those beside it that take their name from it (captions, numbers), each with its inode.

    What a verb writes takes a name by a rename, so that it has another inode; a file into which a shell puts what the same
    verb prints has the same one before and after.
    """
    found = {}
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if entry.name == path.name or entry.name.startswith((f"{path.stem}-", f"{path.stem}.")):
                with suppress(FileNotFoundError):  # a link to nothing
                    found[entry.name] = entry.stat().st_ino
    return found


def _tell(ctx: typer.Context, path: Path, before: Mapping[str, int], had_folder: bool, named: bool) -> None:
    """Says what the verb has replaced and made."""
    from openrlb.cli.app import talk

    now = _files(path)
    replaced = [str(path.with_name(name)) for name in sorted(before) if now.get(name, before[name]) != before[name]]
    if not had_folder and path.parent.exists():
        talk(ctx).say(f"made the folder {path.parent}")
    if not named and path.name in now and path.name not in before:
        talk(ctx).say(f"written: {path}")
    if replaced:
        talk(ctx).say(f"replaced: {', '.join(replaced)}")
