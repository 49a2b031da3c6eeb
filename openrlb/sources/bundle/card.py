"""A bundle's dataset card: what the Hugging Face hub shows, and by which ``datasets`` finds the tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from openrlb.sources.bundle.manifest import Manifest

if TYPE_CHECKING:
    from openrlb.sources.bundle.manifest import Part

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"),
         (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"))  # fmt: skip
"""The hub's words for how many rows there are."""


def card(manifest: Manifest, title: str) -> str:
    """The text of ``README.md``.

    Args:
        manifest: What the bundle holds.
        title: What it is called.
    """
    values = sum(part.values for part in manifest.parts)
    size = next((word for most, word in SIZES if values < most), "1B<n<10B")
    configs = ["points", "runs", *(name for name in ("system", "files") if any(_is(name, path) for path in manifest.files))]
    head = ["---", f"license: {manifest.license}", f"pretty_name: {_quoted(title)}", "tags:"]
    head += ["- reinforcement-learning", "- benchmark", "- openrlb", "size_categories:", f"- {size}", "configs:"]
    for name in configs:
        head += [f"- config_name: {name}", f"  data_files: data/*/*/{name}-*.parquet"]
        head += ["  default: true"] if name == "points" else []
    runs = sum(part.runs for part in manifest.parts)
    body = [
        "---",
        f"# {_plain(title)}",
        f"{runs:,} reinforcement-learning runs with {values:,} logged values: every parameter, and what the store kept of how "
        "they were made (versions, lock files, sources). Written by `openrlb export --bundle`.",
        "",
        "| environment | algorithm | runs | values |",
        "|---|---|---|---|",
        *(f"| {_plain(env)} | {_plain(algo)} | {count:,} | {logged:,} |" for env, algo, count, logged in _counts(manifest.parts)),
        "",
        "## Read it",
        "```",
        "openrlb fetch hf://datasets/OWNER/NAME            # or this folder, or where it lies on a web server",
        "openrlb fetch hf://datasets/OWNER/NAME --env ENV  # reads the files of that environment only",
        "```",
        "Its checksums are verified, and every value, parameter and kept file comes back as it was. Other readers find plain "
        "Parquet: `runs` has a row for each run (`record` is all of it as JSON), `points` a row for each logged value with its "
        "run, metric, training step and milliseconds since the run began, `files` a row for each kept file.",
    ]
    if manifest.removed:
        body += ["", "## Taken out before it was written"]
        body += [f"- {_plain(name)}: in {count:,} runs" for name, count in sorted(manifest.removed.items())]
    return "\n".join([*head, *body]) + "\n"


def _counts(parts: Sequence[Part]) -> list[tuple[str, str, int, int]]:
    """Runs and values of each environment and algorithm."""
    found: dict[tuple[str, str], list[int]] = {}
    for part in parts:
        counts = found.setdefault((part.env, part.algo), [0, 0])
        counts[0] += part.runs
        counts[1] += part.values
    return [(env, algo, *counts) for (env, algo), counts in sorted(found.items())]  # type: ignore[misc]


def _is(kind: str, path: str) -> bool:
    """Whether a path is one of a kind of table."""
    return path.rsplit("/", 1)[-1].startswith(f"{kind}-")


def _plain(text: str) -> str:
    """A name as Markdown shows it: one line, and nothing in it is markup."""
    shown = "".join(sign if sign.isprintable() else " " for sign in text)
    return "".join(
        f"\\{sign}" if sign in "\\`*_{}[]()#|!~" else {"<": "&lt;", ">": "&gt;", "&": "&amp;"}.get(sign, sign) for sign in shown
    )


def _quoted(text: str) -> str:
    """A text as a YAML scalar, whatever it holds."""
    import json

    return json.dumps("".join(sign if sign.isprintable() else " " for sign in text))
