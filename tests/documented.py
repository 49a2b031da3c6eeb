"""What README, CONTRIBUTING and docs/ show a reader: their links, their code blocks, and the commands in these."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ("openrlb", "pip", "python", "pytest", "just", "git", "mkdocs", "export", "cd", "pre-commit")


@dataclass(frozen=True)
class Block:
    """A fenced code block: the page's path below the root, the line it begins in, its language, and its lines."""

    page: str
    line: int
    language: str
    text: str

    def commands(self) -> list[str]:
        """The commands as typed, without their comments; of ``console`` blocks the lines after ``$``."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console" or (self.text.startswith("$ ")):
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        elif self.language not in ("sh", "bash"):
            lines = [line for line in lines if line.startswith("openrlb ")]
        return [part for line in lines for part in _parts(line)]


def _parts(line: str) -> list[str]:
    """The commands of a line, which may be several with ``&&`` between them."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&")
    lexer.whitespace_split = True
    words, parts = list(lexer), [[]]  # type: tuple[list[str], list[list[str]]]
    for word in words:
        if word == "&&":
            parts.append([])
        else:
            parts[-1].append(word)
    return [shlex.join(part) for part in parts if part]


def pages() -> list[Path]:
    """README.md, CONTRIBUTING.md and every page of docs/."""
    return [path for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md") if path.exists()] + sorted(ROOT.glob("docs/**/*.md"))


def blocks(page: Path) -> list[Block]:
    """The fenced code blocks of a page."""
    found, text = [], page.read_text()
    for match in re.finditer(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE):
        inner = re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE)
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(page.relative_to(ROOT).as_posix(), line, match[2], inner))
    return found


def prose(page: Path) -> str:
    """A page without its code, in which a bracket is no link."""
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "``", text)


def inline_commands(page: Path) -> list[str]:
    """The commands of openrlb that stand in a page's sentences."""
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^#.*$", "", text, flags=re.MULTILINE)  # headings may be errors
    return [" ".join(one.split()) for one in re.findall(r"(?<!`)`(openrlb [^`]+)`(?!`)", text)]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    without_code = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.+?)\s*$", without_code, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found[slug] = found.get(slug, 0) + 1
    return set(found) | {f"{slug}-{number}" for slug, count in found.items() for number in range(1, count)}


def links(page: Path) -> list[str]:
    """The targets of a page's links and images."""
    text = prose(page)
    return re.findall(r"\]\(([^)\s]+)(?: \"[^\"]*\")?\)", text) + re.findall(r"(?:href|src)=\"([^\"]+)\"", text)
