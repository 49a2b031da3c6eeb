"""Asks the sb3 runner for its library's defaults and keeps its answers beside it: ``show`` holds a run's settings against them.

    OPENRLB_HOME=FOLDER python runners/make_defaults.py

Nothing is trained: each algorithm is asked what a request for nothing but defaults means, on two environments of each kind of
actions. What is answered differently hangs on the environment and is no default of the library: it is left out.
"""

from __future__ import annotations

import json
import sys

from openrlb.api.run_plan import runner_environment
from openrlb.errors import UsageError
from openrlb.store.variant import flat_config
from openrlb_runners.library_defaults import FILE, code_of
from openrlb_runners.request import TrainingRequest
from openrlb_runners.resolve import resolve
from openrlb_runners.spec import reference_runners

RUNNER = "sb3"
ENVS = ("CartPole-v1", "Acrobot-v1", "Pendulum-v1", "Hopper-v5")


def main() -> None:
    """Asks and writes."""
    spec = next(one for one in reference_runners() if one.name == RUNNER)
    _, runner = runner_environment(spec, "cpu", None, dry_run=True, say=lambda line: None)
    if runner is None:
        raise SystemExit(f"the environment of {RUNNER} is not built here: openrlb runner build {RUNNER}")
    found = {}
    for algo in sorted(spec.algorithms):
        answers = []
        for env in ENVS:
            try:
                answers.append(resolve(runner, [TrainingRequest(algo, env, 0, 1000)])[0]["hyperparameters"])
            except UsageError as error:  # an algorithm for other actions
                sys.stderr.write(f"{algo} on {env}: {error.why}\n")
        if not answers:
            continue
        first, *others = map(flat_config, answers)
        found[algo] = {key: value for key, value in sorted(first.items()) if all(one.get(key, ...) == value for one in others)}
    text = json.dumps({"asked_on": ENVS, "code": code_of(spec), "algorithms": found}, indent=1)
    (spec.folder / FILE).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
