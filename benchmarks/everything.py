"""Every speed benchmark, one after the other, into one Markdown page: what ``just bench`` runs.

    python benchmarks/everything.py [--folder FOLDER] [--large] [--rlops-python ENV/bin/python] [--tune] [-o PAGE.md]

Each is a script of its own and can be run alone: its command stands above its output. FOLDER keeps the stores of ``scale.py``
(under the system's folder for temporary files by default). ``--large`` adds 25,000 runs (half an hour and 4 GB to make),
``--tune`` the trainings of ``tune.py``, which needs a built runner. ``fetch.py`` says what environment rlops needs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from measured import machine

HERE = Path(__file__).resolve().parent
FAILED = "**It failed: exit code"


def section(title: str, words: list[str], shown: str) -> str:
    """One benchmark's output under its title; one that fails is said to have failed, and the others still run."""
    print(f"{title} ...", file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, HERE / words[0], *words[1:]], stdout=subprocess.PIPE, text=True, check=False)
    text = done.stdout.strip() or f"It gave nothing and ended with {done.returncode}."
    body = text if "| --- |" in text else f"```\n{text}\n```"
    if done.returncode:
        body += f"\n\n{FAILED} {done.returncode}.** What stands above is not all; its own words are on standard error."
    return f"## {title}\n\n`python benchmarks/{shown}`\n\n{body}\n"


def main() -> None:
    """Runs them and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "openrlb-benchmarks")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--rlops-python")
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--output", "-o", type=Path)
    options = parser.parse_args()
    runs = ["250", "2500", *(["25000"] if options.large else [])]
    peer = ["--rlops-python", options.rlops_python] if options.rlops_python else []
    asked = {"25,000 runs (--large)": options.large, "rlops (--rlops-python)": peer, "trainings (--tune)": options.tune}
    left_out = "; ".join(name for name, wanted in asked.items() if not wanted)
    head = f"# What openrlb takes\n\nOn {machine()}\n"
    parts = [head + (f"\nLeft out, for it was not asked for: {left_out}.\n" if left_out else "")]
    sections = [
        ("From the start of a process", ["start.py"], "start.py"),
        (
            f"{', '.join(f'{int(number):,}' for number in runs)} runs",
            ["scale.py", str(options.folder), "--runs", *runs],
            f"scale.py FOLDER --runs {' '.join(runs)}",
        ),
        (
            "Fetching, beside rlops" if peer else "Fetching",
            ["fetch.py", *peer],
            "fetch.py --rlops-python ENV/bin/python" if peer else "fetch.py",
        ),
        ("Statistics, beside rliable", ["statistics_speed.py"], "statistics_speed.py"),
        ("A study's bookkeeping, beside Optuna", ["study_beside_optuna.py"], "study_beside_optuna.py"),
        ("Tracking, beside other loggers", ["tracking.py"], "tracking.py"),
        ("A store read over HTTP", ["web_store.py"], "web_store.py"),
        *([("Tuning, beside a bare loop", ["tune.py"], "tune.py")] if options.tune else []),
    ]
    for title, words, shown in sections:
        parts.append(section(title, words, shown))
        if options.output:  # an interruption costs the section that runs
            options.output.write_text("\n".join(parts), encoding="utf-8")
    if not options.output:
        print("\n".join(parts))
    if failed := [title for (title, _, _), part in zip(sections, parts[1:], strict=True) if FAILED in part]:
        sys.exit(f"failed: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
