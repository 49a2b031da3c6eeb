"""Any text as LaTeX that sets it literally, with pdfLaTeX too: labels and file names are other people's."""

from __future__ import annotations

import unicodedata

SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': r"{\ttfamily\char34}", "'": r"\textquotesingle{}", "`": r"\textasciigrave{}",
}  # fmt: skip
SIGNS = {
    "\u03bb": r"$\lambda$", "\u03c4": r"$\tau$", "\u03b1": r"$\alpha$", "\u03b2": r"$\beta$", "\u03b3": r"$\gamma$",
    "\u03b5": r"$\varepsilon$", "\u03b4": r"$\delta$", "\u03b8": r"$\theta$", "\u03bc": r"$\mu$", "\u03c0": r"$\pi$",
    "\u03c3": r"$\sigma$", "\u03c1": r"$\rho$", "\u00b1": r"$\pm$", "\u00d7": r"$\times$", "\u2212": r"$-$",
    "\u2264": r"$\leq$", "\u2265": r"$\geq$", "\u00b7": r"$\cdot$", "\u221e": r"$\infty$", "\u2026": r"\ldots{}",
    "\u2013": "--", "\u2014": "---", "\u2018": "`", "\u2019": "'", "\u201c": "``", "\u201d": "''", "\u00df": r"\ss{}",
    "\u00e6": r"\ae{}", "\u00c6": r"\AE{}", "\u00f8": r"\o{}", "\u00d8": r"\O{}", "\u0142": r"\l{}", "\u0141": r"\L{}",
    "\u0131": r"\i{}", "\u00a0": "~",
}  # fmt: skip
ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u0304": "=", "\u0307": ".", "\u030a": "r",
    "\u030c": "v", "\u0306": "u", "\u030b": "H", "\u0327": "c", "\u0328": "k", "\u0323": "d",
}  # fmt: skip


def latex(text: str) -> str:
    r"""A text in which nothing is a command; a character that LaTeX cannot set becomes its Unicode number.

    Args:
        text: Any text; line breaks and other control characters become spaces.

    >>> print(latex("gae_lambda=0.95 & 50% {x} \\input"))
    gae\_lambda=0.95 \& 50\% \{x\} \textbackslash{}input
    >>> print(latex("Gallouédec, λ ≥ 1, 赤, --x"))
    Gallou\'{e}dec, $\lambda$ $\geq$ 1, \texttt{U+8D64}, -{}-x
    """
    pairs = zip(text, f"{text[1:]} ", strict=False)  # one longer where the text is empty
    return "".join(f"{sign}{{}}" if sign + following in ("--", ",,") else _sign(sign) for sign, following in pairs)


def _sign(sign: str) -> str:
    """One character."""
    known = SPECIAL.get(sign) or SIGNS.get(sign)
    if known is not None:
        return known
    if sign.isascii():
        return sign if sign.isprintable() else " "
    apart = unicodedata.normalize("NFD", sign)
    if len(apart) == 2 and apart[0].isascii() and apart[0].isalpha() and apart[1] in ACCENTS:
        return f"\\{ACCENTS[apart[1]]}{{{apart[0]}}}"
    return f"\\texttt{{U+{ord(sign):04X}}}" if sign.isprintable() else " "
