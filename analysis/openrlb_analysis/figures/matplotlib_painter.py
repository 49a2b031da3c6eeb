"""Draws figure specs with matplotlib: PDF, PNG and SVG for print, with embedded TrueType fonts; no browser is needed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from openrlb_analysis.figures.diagram import Drawn, MatrixFigure
from openrlb_analysis.figures.size import Size
from openrlb_analysis.figures.spec import CurvesFigure, IntervalFigure

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

SUFFIXES = (".pdf", ".png", ".svg")
DOTS_PER_INCH = 300
SETTINGS: Mapping[Any, Any] = {
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
    "pdf.use14corefonts": False,
    "svg.fonttype": "path",  # a reader's system needs no font
    "svg.hashsalt": "openrlb",  # equal input gives equal bytes
    "path.simplify": False,  # curves go through every point
    "text.usetex": False,
    "text.parse_math": False,  # labels are literal
    "hatch.color": "white",
}


def image_parts(figure: Drawn, size: Size) -> list[Figure]:
    """The matplotlib figures of a spec: one, or several where it is taller than a page.

    Args:
        figure: What to draw.
        size: How large.
    """
    from openrlb_analysis.figures.matplotlib_curves import curves_parts
    from openrlb_analysis.figures.matplotlib_interval import interval_parts

    with painting():
        if isinstance(figure, IntervalFigure):
            return interval_parts(figure, size)
        if isinstance(figure, CurvesFigure):
            return curves_parts(figure, size)
        if isinstance(figure, MatrixFigure):
            from openrlb_analysis.figures.matplotlib_matrix import matrix_parts

            return matrix_parts(figure, size)
        from openrlb_analysis.figures.matplotlib_diagram import diagram_parts

        return diagram_parts(figure, size)


def write_image(drawn: Figure, path: Path, suffix: str, about: Mapping[str, str]) -> list[str]:
    """Writes one image; equal figures give equal bytes.

    Args:
        drawn: The figure.
        path: Where; its name need not tell the format.
        suffix: One of :data:`SUFFIXES`.
        about: ``title``, ``description`` and ``command``, which are kept inside the file.

    Returns:
        What a reader must know: characters that no installed font has.
    """
    kind = suffix.lstrip(".")
    title, description, command = (about.get(key, "") for key in ("title", "description", "command"))
    facts: dict[str, dict[str, Any]] = {
        "pdf": {"Title": title, "Subject": description, "Keywords": command, "Creator": "openrlb", "CreationDate": None},
        "svg": {"Title": title, "Description": description, "Source": command, "Creator": "openrlb", "Date": None},
        "png": {"Title": title, "Description": description, "Source": command, "Software": "openrlb"},
    }
    with painting(), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        drawn.savefig(
            path, format=kind, dpi=DOTS_PER_INCH, metadata={key: text for key, text in facts[kind].items() if text != ""}
        )
    lacking = sorted({str(one.message).split(" ")[1] for one in told if "missing from font" in str(one.message)})
    return [f"no installed font has the characters {', '.join(lacking)}: boxes stand for them"] if lacking else []


@contextmanager
def painting() -> Iterator[None]:
    """Matplotlib with our settings alone, whatever a user's own matplotlibrc says; everything is put back on leaving."""
    import matplotlib as mpl
    from matplotlib import rc_context

    with warnings.catch_warnings(), rc_context():
        warnings.simplefilter("ignore", mpl.MatplotlibDeprecationWarning)
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # said once, when the file is written
        mpl.rcdefaults()
        mpl.rcParams.update(dict(SETTINGS))
        yield
