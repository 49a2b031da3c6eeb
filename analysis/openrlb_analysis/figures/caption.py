"""Captions as LaTeX: what is shown, n, rule, cut, interval, normalisation, and every run that was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from openrlb_analysis.figures.alternative_text import alternative_text
from openrlb_analysis.figures.citations import citations, source_key
from openrlb_analysis.figures.diagram import DiagramFigure
from openrlb_analysis.figures.latex import latex
from openrlb_analysis.figures.words import listed, sentence

if TYPE_CHECKING:
    from openrlb_analysis.figures.diagram import Drawn
    from openrlb_analysis.result import Excluded, PlotResult

MOST_REASONS = 4
LONG = 16
"""Longer labels may be shortened in an image; the caption's comments have them in full."""


def caption(figure: Drawn, result: PlotResult, files: Sequence[str], command: str) -> str:
    r"""A caption's file: ``\caption`` and ``\label``, to be read inside a figure environment.

    Args:
        figure: What is drawn.
        result: The analysis behind it.
        files: The names of the image files, in order.
        command: The command line that drew it.
    """
    known = citations(result)
    sources = ",".join(source_key(source) for source in result.sources)
    cited = f" Statistics and code: \\cite{{{','.join((*known, 'openrlb'))}}}."
    runs = f" Runs: \\cite{{{sources}}}." if sources else ""
    text = " ".join(latex(said) for said in caption_sentences(figure, result))
    first = files[0].rsplit(".", 1)
    name = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-.") else "-" for sign in first[0])
    lines = [
        "% Written by openrlb; drawing the figure again overwrites this file.",
        f"% {_comment(command)}",
        "% \\begin{figure}",
        *(f"%   \\includegraphics{{{_comment(file)}}} % at its own size" for file in files),
        f"%   \\input{{{_comment(first[0])}-caption}}",
        "% \\end{figure}",
        "% In words, for readers who do not see it:",
        f"% {_comment(alternative_text(figure))}",
        *(f"% in full: {_comment(label)}" for label in _labels(figure) if len(label) > LONG),
        *(f"% left out: {_comment(words)}" for words in map(_excluded, result.excluded)),
        f"\\caption{{{text}{cited}{runs}}}",
        f"\\label{{fig:{name}}}",
        "",
    ]
    return "\n".join(lines)


def caption_sentences(figure: Drawn, result: PlotResult) -> list[str]:
    """The caption in plain sentences: the footer's, with the reasons of what was left out."""
    said = figure.footer.sentences()
    if not result.excluded:
        return list(said)
    counted = sentence(left_out(result.excluded))
    return [counted if counted.startswith(words.removesuffix(".")) else words for words in said]


def _labels(figure: Drawn) -> list[str]:
    """The groups, and the rows that are something else."""
    panels = figure.panels if isinstance(figure, DiagramFigure) else ()
    return list(dict.fromkeys([*figure.rows, *(tick.text for panel in panels for tick in panel.left or ())]))


def left_out(excluded: Sequence[Excluded]) -> str:
    """How many runs were left out, and why.

    Args:
        excluded: The runs.

    >>> from openrlb_analysis.result import Excluded
    >>> left_out([Excluded("a", "short (ends at 3, cut 10)"), Excluded("b", "short (ends at 4, cut 10)")])
    '2 runs left out: 2 short'
    """
    reasons = Counter(one.reason.split(" (")[0] for one in excluded)
    told = [f"{times} {reason}" for reason, times in reasons.most_common()]
    return f"{len(excluded):,} {'run' if len(excluded) == 1 else 'runs'} left out: {listed(told, MOST_REASONS)}"


def _excluded(one: Excluded) -> str:
    about = ", ".join(filter(None, (one.algo, one.env, "" if one.seed is None else f"seed {one.seed}")))
    return f"{one.run}{f' ({about})' if about else ''}: {one.reason}"


def _comment(text: str) -> str:
    """A text that stays in its comment: one line, without signs that end or swallow one."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
