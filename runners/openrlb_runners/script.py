"""A reproduction for someone without openrlb: one POSIX shell script that carries everything a run was made from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from openrlb.errors import CannotReproduce

_SAFE_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


@dataclass(frozen=True, slots=True)
class Material:
    """What a reproduction script carries.

    Attributes:
        run: The run's id.
        python: The Python version of its environment (``3.11``).
        entry: The script that trains, one of ``sources``.
        sources: The runner's files, by name.
        locks: The lock files, by name.
        spec: ``spec.json``.
        env: ``env.json`` of the stored run.
        variables: Environment variables that the training needs.
        digest: :func:`openrlb_runners.checking.rows_digest` of the stored rows.
        episodes: How many training episodes that hash covers.
        evaluations: How many evaluation episodes.
    """

    run: str
    python: str
    entry: str
    sources: Mapping[str, bytes]
    locks: Mapping[str, bytes]
    spec: bytes
    env: bytes
    variables: Mapping[str, str]
    digest: str
    episodes: int
    evaluations: int


def shell_script(material: Material) -> str:
    """The script's text. It writes into a new folder below the working folder and ends with 0 only where all is bit-exact.

    Raises:
        CannotReproduce: A file that a shell script cannot carry: a NUL byte, bytes that are no UTF-8, a strange name.
    """
    from openrlb_runners import checking

    files = {f"source/{name}": data for name, data in sorted(material.sources.items())}
    files |= {f"lock/{name}": data for name, data in sorted(material.locks.items())}
    files |= {"spec.json": material.spec, "stored-env.json": material.env}
    files["checking.py"] = Path(checking.__file__).read_bytes()
    folders = sorted({str(Path(name).parent) for name in files} - {"."})
    locks = [f"lock/{name}" for name in sorted(material.locks)]
    parts = [_head(material), f"mkdir -p {' '.join(map(quote, folders))}"]
    parts += [_written(name, data) for name, data in files.items()]
    parts += [_environment(material.python, locks), _training(material)]
    return "\n".join(parts)


def _head(material: Material) -> str:
    """The script's purpose, and a fresh folder to work in."""
    folder = quote(f"reproduce-{material.run}")
    return f"""\
#!/bin/sh
# Trains one run again from its own lock files and source, and says whether the result is the stored one, bit for bit.
# Written by: openrlb reproduce --script. Needs: uv, or Python {_word(material.python)}; the package index; some GB of disk.
# PyTorch's CPU wheels for Linux are not on PyPI: set PIP_FIND_LINKS to a folder or page that has them.
# Ends with 0 where the result is bit-exact, else with 1.
set -eu
if [ -e {folder} ]; then
  echo {quote(f"reproduce-{material.run} is already here: move it away first")} >&2
  exit 1
fi
mkdir {folder}
cd {folder}"""


def _environment(python: str, locks: list[str]) -> str:
    """Makes the environment with uv where there is one, else with venv and pip; every hash is checked."""
    python, listed = _word(python), " ".join(map(quote, locks))
    required = " ".join(f"-r {quote(name)}" for name in locks)
    return f"""\
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV CONDA_PREFIX
echo "making the environment" >&2
if command -v uv >&2; then
  uv venv --no-config --quiet --python {python} environment || exit 1
  set -- --no-config --quiet --require-hashes --python environment/bin/python
  if [ -n "${{PIP_FIND_LINKS:-}}" ]; then
    for place in $PIP_FIND_LINKS; do set -- "$@" --find-links "$place"; done
  fi
  uv pip sync "$@" {listed} || exit 1
else
  python{python} -m venv environment || exit 1
  environment/bin/python -m pip install --quiet --no-deps --require-hashes {required} || exit 1
fi"""


def _training(material: Material) -> str:
    """Trains, then judges."""
    variables = " ".join(f"{_word(name)}={quote(value)}" for name, value in sorted(material.variables.items()))
    entry = quote(f"source/{material.entry}")
    words = f"{quote(material.digest)} {int(material.episodes)} {int(material.evaluations)}"
    return f"""\
mkdir out
echo "training" >&2
env {variables} environment/bin/python {entry} --spec spec.json --out out >&2 || {{
  echo "not reproduced: the training did not end by itself" >&2
  exit 1
}}
exec environment/bin/python checking.py out stored-env.json {words}
"""


def _written(name: str, data: bytes) -> str:
    """Shell that writes one file exactly, by a heredoc whose delimiter is no line of the file."""
    if not _SAFE_PATH.fullmatch(name):
        raise _refused(name, "its name holds more than letters, digits, '.', '_' and '-'")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refused(name, "it is no UTF-8 text") from error
    if "\0" in text:
        raise _refused(name, "it holds a NUL byte")
    delimiter = _delimiter(data)
    if text.endswith("\n"):
        return f"cat > {quote(name)} <<'{delimiter}'\n{text}{delimiter}"
    copy = quote(f"{name}.part")  # a heredoc always ends in a line break: the file's own bytes are cut from it
    cut = f"dd if={copy} of={quote(name)} bs={len(data)} count=1 2> /dev/null" if data else f": > {quote(name)}"
    return f"cat > {copy} <<'{delimiter}'\n{text}\n{delimiter}\n{cut}\nrm {copy}"


def _delimiter(data: bytes) -> str:
    """A word that is no line of the data."""
    lines = set(data.split(b"\n"))
    word = f"END_{hashlib.sha256(data).hexdigest()[:12]}"
    while word.encode() in lines:
        word = f"END_{hashlib.sha256(word.encode()).hexdigest()[:12]}"
    return word


def _word(text: str) -> str:
    """A bare word of the script.

    Raises:
        CannotReproduce: It would need quoting where none is possible.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.]+", text):
        raise _refused(repr(text), "it is no plain word")
    return text


def _refused(name: str, why: str) -> CannotReproduce:
    """The error for what a shell script cannot carry."""
    return CannotReproduce(f"{name} does not fit in a shell script", why, "reproduce it with openrlb itself: leave --script out")
