"""Words and settings: each way in which a text that somebody types enters openrlb."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzzing import corpus
from fuzzing.holding import BrokenError

from openrlb.errors import OpenrlbError


def text(data: bytes) -> str:
    """An argument as a shell hands it over: bytes that are no UTF-8 become lone surrogates."""
    return data.decode("utf-8", errors="surrogateescape")


def orlb_filter(data: bytes, folder: Path) -> None:
    from openrlb.sources.orlb_filter import parse

    groups = parse(text(data).split("\x1f"))
    for group in groups:
        json.dumps(group.mongo())
        group.fits(corpus.RUNS[0].run)
        if parse(group.words()) != (group,):
            raise BrokenError("a filter that does not read back as it was")


def map_words(data: bytes, folder: Path) -> None:
    from openrlb.sources.mapping import Map

    parsed = Map.parse([text(data)])
    if Map.parse([str(parsed)]) != parsed:
        raise BrokenError("a map that does not read back as it was")


def pattern(data: bytes, folder: Path) -> None:
    from openrlb.sources.pattern import PathPattern

    words, _, path = text(data).partition("\x1f")
    PathPattern.parse(words).match((path or "a/b/c").split("/"))


def assigned(data: bytes, folder: Path) -> None:
    import openrlb.cli.app  # noqa: F401 - the verbs import it, and it them
    from openrlb.cli.run import assigned as read
    from openrlb_runners.batch import nested

    json.dumps(nested(read(text(data).split("\x1f"), "--set")))


def where(data: bytes, folder: Path) -> None:
    from openrlb.store.where import meeting, told

    told([one.run for one in corpus.RUNS], text(data))
    with meeting(text(data)) as meets:
        meets(corpus.RUNS[0])


_STORE: list[Any] = []


def query(data: bytes, folder: Path) -> None:
    """SQL over a store that must stay as it is."""
    from openrlb.store import Store

    if not _STORE:
        import tempfile

        store = Store(Path(tempfile.mkdtemp()) / "store")
        store.write(corpus.RUNS)
        store.fold()
        _STORE.append(store)
    store = _STORE[0]
    before = sorted((path, path.stat().st_mtime_ns) for path in store.layout.root.rglob("*"))
    try:
        store.query(text(data))
    finally:
        if before != sorted((path, path.stat().st_mtime_ns) for path in store.layout.root.rglob("*")):
            raise BrokenError("a query changed the store")


def selecting(data: bytes, folder: Path) -> None:
    """Words that select: --since, --env, --algo, --seed, --metric, a score rule, a sort key."""
    from openrlb.cli.options import seeds, whole_number
    from openrlb.sources.metrics import metric
    from openrlb.store.environments import base_name, matching
    from openrlb.store.select import checked_date, named, placed
    from openrlb_analysis.normalize import check_name
    from openrlb_analysis.rules import parse_rule

    word = text(data)
    matching(word, ["Hopper-v4", "ALE/Pong-v5"])
    named(word, ["ppo", "sac"])
    placed(word, ["rl/logs", "wandb:lab/weird"])
    base_name(word)
    metric(word)
    for one in (checked_date, parse_rule, whole_number, check_name, lambda word: seeds([word])):
        try:
            one(word)
        except OpenrlbError:
            continue
        except Exception as error:
            import click

            if not isinstance(error, click.UsageError):
                raise


def toml(read: Callable[[Path], object], name: str = "mine.toml") -> Callable[[bytes, Path], None]:
    def take(data: bytes, folder: Path) -> None:
        (folder / name).write_bytes(data)
        read(folder / name)

    return take


def _config(path: Path) -> None:
    import os

    from openrlb.config import checked_defaults

    os.environ["OPENRLB_CONFIG"] = str(path)
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        checked_defaults({"plot": {"metric": "metric", "level": "level"}, "run": {"seeds": "seeds"}})
        from openrlb.config import merged
        from openrlb.sources.presets import load_presets

        load_presets(merged().get("presets"))
    finally:
        os.chdir(here)


def _space(path: Path) -> None:
    from openrlb_hpo.space import load_space

    space = load_space(str(path), "ppo")
    type(space).from_json(json.loads(json.dumps(space.to_json())))


def _recipe(path: Path) -> None:
    from openrlb.api.recipe import read_recipe, recipe_text

    recipe_text(read_recipe(str(path)).flags, ["x"])


def _runner(path: Path) -> None:
    from openrlb_runners.published import origin
    from openrlb_runners.spec import read_runner

    origin(read_runner(path.parent))


def _hyperparameters(path: Path) -> None:
    from openrlb_runners.batch import read_hyperparameters

    read_hyperparameters(path, "ppo", "Hopper-v5")


def _table(path: Path) -> None:
    from openrlb_analysis.normalize import read_table

    read_table(path)


def pins(data: bytes, folder: Path) -> None:
    from openrlb_runners.locks import needed_here, read_pins

    needed_here(read_pins("base.txt", data), "3.11")


def packaged(*parts: str) -> Callable[[], list[bytes]]:
    root = Path(__file__).resolve().parents[2]
    return lambda: [path.read_bytes()[:6000] for path in sorted(root.glob("/".join(parts)))]
