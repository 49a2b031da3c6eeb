"""Trains by a script of somebody's git repository, at one commit: checkout.tar beside this file holds that commit's files.

Yours to fill in: the command, how hyperparameters are passed, which there are, and where its returns are found.
"""

from __future__ import annotations

from dataclasses import dataclass

from contract import Task, main
from foreign import Stdout, train_by  # Csv, Tensorboard

REPOSITORY = ""
COMMIT = ""
# Run by this environment's Python, in a fresh copy of the checkout; {env}, {seed}, {steps}, {threads} and {device} are filled in.
COMMAND = ["train.py", "--env-id={env}", "--seed={seed}", "--total-timesteps={steps}"]
# One for each hyperparameter; {name} is its name, {dashed} the same with dashes.
FLAG = "--{dashed}={value}"
# Where the raw returns of episodes are found, while it trains:
#   Stdout(episode=r"...(?P<step>\d+)...(?P<return>[-+.\deE]+)")  a pattern of its lines; (?P<length>\d+) if it tells one
#   Csv("runs/*/progress.csv", step="step", episode="episodic_return")
#   Tensorboard("runs/**/events*", episode="charts/episodic_return")  other tags are kept as they are
# ``eval=`` in place of ``episode=`` for evaluation episodes. A rolling mean is neither: leave it to the other tags.
ROWS = [Stdout(episode=r"global_step=(?P<step>\d+), episodic_return=\[?(?P<return>[-+.\deE]+)")]


@dataclass
class Hyperparameters:
    """What of the script can be set, with its defaults; every run passes and keeps all of them."""

    learning_rate: float = 2.5e-4


def train(task: Task, hyperparameters: Hyperparameters) -> None:
    """Runs the command and turns what it logs into rows."""
    train_by(task, hyperparameters, COMMIT, COMMAND, FLAG, ROWS)


if __name__ == "__main__":
    main({"script": (train, Hyperparameters)})
