"""Trains one agent with the algorithm that the spec names: python run.py --spec spec.json --out DIR [--resolve].

Each algorithm is one file beside this one, complete in itself but for harness.py, which keeps the contract with openrlb. To make
an algorithm of your own, copy its file and harness.py, change what you like, and name the file as ``entry`` in runner.toml: each
runs by itself too (``python ppo.py --spec spec.json --out DIR``).
"""

from __future__ import annotations

from dqn import DQN
from harness import main
from ppo import PPO
from sac import SAC
from td3 import TD3

if __name__ == "__main__":
    main({"dqn": DQN, "ppo": PPO, "sac": SAC, "td3": TD3})
