"""Hill climbing: change a linear policy at random, and keep the change where its episodes are no worse.

An example that trains as it is. Replace ``Hyperparameters`` and ``train`` by yours; contract.py keeps the contract with openrlb.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from contract import BadSpec, Task, main


@dataclass
class Hyperparameters:
    """Every hyperparameter with its default; requests are checked against them, and runs keep all of them."""

    noise: float = 0.5  # standard deviation of a change; the first weights have 1
    episodes: int = 3  # episodes that judge a change


def train(task: Task, hyperparameters: Hyperparameters) -> None:
    """Refuses what has no meaning, begins, and trains until the steps are done."""
    env = task.make_env()
    if not hasattr(env.action_space, "n") or len(env.observation_space.shape or ()) != 1:
        raise BadSpec(f"{task.algo} needs Discrete actions and a vector to observe, {task.env} has {env.action_space}")
    random = np.random.default_rng(task.seed)
    weights, best = random.standard_normal((int(env.action_space.n), *env.observation_space.shape)), -np.inf
    task.begin(lambda observation, deterministic: np.argmax(weights @ observation))
    while not task.over:
        changed = weights + hyperparameters.noise * random.standard_normal(weights.shape)
        task.check_finite(changed)
        total = 0.0
        for _ in range(hyperparameters.episodes):
            observation, ended = env.reset()[0], False
            while not ended:
                observation, reward, terminated, truncated, _ = env.step(np.argmax(changed @ observation))
                total, ended = total + float(reward), terminated or truncated
        if total >= best:
            weights, best = changed, total
        task.scalar("best_return", best / hyperparameters.episodes)


if __name__ == "__main__":
    main({"hill_climbing": (train, Hyperparameters)})
