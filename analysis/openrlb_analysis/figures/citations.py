"""What a figure's numbers rest on, as BibTeX: where the runs came from, whose code trained them, which methods computed."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING

from openrlb.store.segment import origin
from openrlb_analysis.figures.latex import latex
from openrlb_analysis.figures.words import count

if TYPE_CHECKING:
    from openrlb_analysis.result import PlotResult

AGARWAL = ("iqm", "optimality-gap", "poi", "profile", "win-rate", "rank", "efficiency")
METRICS = dict.fromkeys(AGARWAL, "agarwal2021precipice") | {"critical-difference": "demsar2006comparisons"}
IMPLEMENTATIONS = {
    "sb3": "raffin2021stablebaselines3",
    "sbx": "raffin2021stablebaselines3",
    "rl_zoo3": "raffin2020zoo",
    "cleanrl": "huang2022cleanrl",
    "tianshou": "weng2022tianshou",
    "baselines": "dhariwal2017baselines",
    "jaxrl": "kostrikov2021jaxrl",
    "morl-baselines": "felten2023toolkit",
    "sfujim": "fujimoto2018td3",
    "phasic-policy-gradient": "cobbe2021ppg",
}
NORMALIZATIONS = {"atari57-human": "mnih2015human", "dmc": "tassa2018dmcontrol", "d4rl": "fu2020d4rl"}


def citations(result: PlotResult) -> tuple[str, ...]:
    """The keys of the works that a figure rests on, in the order in which a caption names them."""
    keys = [METRICS.get(metric, "") for metric in (result.metric, result.aggregate)]
    keys += [IMPLEMENTATIONS.get(group.impl, "") for group in result.groups]
    keys.append(NORMALIZATIONS.get(result.normalization.split(" ")[0], ""))
    keys += ["huang2024openrlbenchmark" for source in map(origin, result.sources) if source.startswith("wandb:openrlbenchmark/")]
    return tuple(dict.fromkeys(filter(None, keys)))


def bibliography(result: PlotResult) -> str:
    """BibTeX entries of those works, of each source of runs, and of openrlb itself.

    Args:
        result: What the figure shows.
    """
    found = [references()[key] for key in citations(result)]
    counted = {run for group in result.groups for entry in group.per_env for run in entry.run_ids}
    found += [_source(source, result.sources, len(counted)) for source in result.sources]
    own = version("openrlb")
    found.append(
        f"@misc{{openrlb,\n  title = {{openrlb: honest numbers and figures for reinforcement-learning research}},\n"
        f"  key = {{openrlb}},\n  note = {{Version {latex(own)}}}\n}}"
    )
    return "\n\n".join(found) + "\n"


def source_key(source: str) -> str:
    """The BibTeX key of a source of runs.

    >>> source_key("wandb:openrlbenchmark/cleanrl")
    'runs-wandb-openrlbenchmark-cleanrl'
    """
    return f"runs-{re.sub(r'[^a-z0-9]+', '-', source.casefold()).strip('-')}"


@functools.cache
def references() -> dict[str, str]:
    """The works that openrlb knows, by their keys, as BibTeX."""
    text = (files("openrlb_analysis.figures") / "references.bib").read_text(encoding="utf-8")
    entries = [entry.strip() for entry in re.split(r"\n(?=@)", text) if entry.strip()]
    return {entry[entry.index("{") + 1 : entry.index(",")]: entry for entry in entries}


def _source(source: str, every: Sequence[str], runs: int) -> str:
    """An entry for the runs of one source."""
    kind, _, place = origin(source).partition(":")
    where = f"  howpublished = {{\\url{{https://wandb.ai/{_address(place)}}}}},\n" if kind == "wandb" and place else ""
    note = f"{count(runs, 'run')} used" + ("" if len(every) == 1 else " from all sources together")
    title = f"Tracked runs: {latex(source)}"  # in two braces: styles that change a title's case would change commands
    return (
        f"@misc{{{source_key(source)},\n  title = {{{{{title}}}}},\n  key = {{{latex(source)}}},\n{where}  note = {{{note}}}\n}}"
    )


def _address(place: str) -> str:
    r"""A project's address without characters that \url or BibTeX would take for something else."""
    from urllib.parse import quote

    return quote(place, safe="/-_.").replace("%", "\\%")
