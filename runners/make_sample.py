"""Makes the packaged sample: trains what is missing of its recipe and bundles it.

    python runners/make_sample.py --python ENV/bin/python --runs FOLDER

ENV needs stable-baselines3, sb3-contrib, gymnasium[mujoco] and torch. Runs that are done in FOLDER are not trained again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
RUNNER = ROOT / "reference" / "sb3" / "run.py"
SAMPLE = ROOT.parent / "openrlb" / "sample"
RECIPE = {"algo": ("ppo", "trpo", "a2c"), "env": ("Hopper-v5",), "seed": (1, 2, 3, 4, 5), "steps": 100_000}


def main() -> None:
    """Trains and bundles."""
    from openrlb.sources import write_bundle
    from openrlb.sources.trained import read_trained

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", required=True, help="the Python of an environment that can train")
    parser.add_argument("--runs", type=Path, required=True, help="where run folders lie and go")
    words = parser.parse_args()
    batches = []
    for algo in RECIPE["algo"]:
        for env in RECIPE["env"]:
            for seed in RECIPE["seed"]:
                folder = words.runs / f"{algo}-{env}-{seed}"
                spec = {"algo": algo, "env": env, "seed": seed, "steps": RECIPE["steps"], "threads": 1, "device": "cpu"}
                train(words.python, spec, folder)
                batches.append(read_trained(folder, impl="sb3", runner_source=RUNNER.read_bytes(), source="sample"))
    for old in (*SAMPLE.glob("*.parquet"), *SAMPLE.glob("bundle.json")):
        old.unlink()
    shutil.rmtree(SAMPLE / "segments", ignore_errors=True)
    write_bundle(SAMPLE, batches)
    sys.stderr.write(f"{len(batches)} runs in {SAMPLE}\n")


def train(python: str, spec: dict[str, object], folder: Path) -> None:
    """Trains one run, unless it is done.

    Raises:
        subprocess.CalledProcessError: The runner failed; its words are in the run's folder.
    """
    if (folder / "done.json").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.json").write_text(json.dumps(spec))
    with (folder / "stdout").open("w") as out, (folder / "stderr").open("w") as err:
        command = [python, str(RUNNER), "--spec", str(folder / "spec.json"), "--out", str(folder)]
        subprocess.run(command, stdout=out, stderr=err, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)


if __name__ == "__main__":
    main()
