"""Deep Q-learning in one file, for discrete actions.

Sources, as comments name them:
    paper     Mnih, Kavukcuoglu, Silver et al. (2015), Human-level control through deep reinforcement learning, Nature 518:
              its Methods, algorithm 1 and extended data table 1. Its details for Atari (frames, convolutions) have no place here.
    Lin       Lin (1992), Self-Improving Reactive Agents Based on Reinforcement Learning, Planning and Teaching: replay.
    Huber     Huber (1964), Robust Estimation of a Location Parameter: what the paper's clipped error comes to.
    limits    Pardo, Tavakoli, Levdik, Kormushev (2018), Time Limits in Reinforcement Learning, arXiv 1712.00378.

Hyperparameters mean what they mean in Stable-Baselines3 (SB3), and have its defaults: Adam for the paper's RMSProp, and a bound
on the gradient's norm. What differs is only how it is computed: acting goes through NumPy (a batch of one costs a quarter of what
it costs in torch), a transition is one row of one array, and one optimizer step moves one vector of all weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import gymnasium
import numpy as np
import torch
from harness import Count, Natural, NotNegative, Rate, Share, Task, main, scheduled
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss
from torch.nn.utils import parameters_to_vector, vector_to_parameters

ACTIVATIONS = {"tanh": (nn.Tanh, np.tanh), "relu": (nn.ReLU, lambda x: np.maximum(x, 0))}  # in torch and in NumPy
REPORT_EVERY = 1000  # agent steps between two reports of the loss


@dataclass(frozen=True)
class PolicyKwargs:
    """The network. ``net_arch``: units of its hidden layers."""

    net_arch: list[Count] = field(default_factory=lambda: [64, 64])
    activation_fn: Literal["tanh", "relu"] = "relu"  # paper, Methods, model architecture: rectifiers


@dataclass(frozen=True)
class Hyperparameters:
    """SB3's names and defaults; ``"lin_X"`` is a rate that falls linearly from X to 0."""

    learning_rate: Rate = 1e-4
    buffer_size: Count = 1_000_000  # paper, table 1: replay memory size
    learning_starts: Natural = 100  # paper, table 1: replay start size, 50,000 there; actions are random until then
    batch_size: Count = 32  # paper, table 1
    tau: Share = 1.0  # 1: the target network is a copy, as in the paper
    gamma: Share = 0.99  # paper, table 1
    train_freq: Count = 4  # paper, table 1: update frequency; steps of each environment
    gradient_steps: Literal[-1] | Count = 1  # updates after each; -1: as many as steps were taken
    target_update_interval: Count = 10_000  # paper, table 1; in agent steps
    exploration_fraction: NotNegative = 0.1  # of all steps, over which exploration falls; paper, table 1: a million frames
    exploration_initial_eps: Share = 1.0  # paper, table 1
    exploration_final_eps: Share = 0.05  # paper, table 1: 0.1
    max_grad_norm: NotNegative = 10.0  # SB3; not in the paper
    n_envs: Count = 1
    policy_kwargs: PolicyKwargs = field(default_factory=PolicyKwargs)


class DQN:
    """The agent: its networks, its replay memory and its update."""

    HYPERPARAMETERS = Hyperparameters
    ACTIONS = (gymnasium.spaces.Discrete,)

    def __init__(self, task: Task, hyperparameters: Hyperparameters) -> None:
        self.task, self.hp, kwargs = task, hyperparameters, hyperparameters.policy_kwargs
        self.choices = int(task.action_space.n)
        activation, self.activation = ACTIVATIONS[kwargs.activation_fn]
        sizes = [task.observation_size, *kwargs.net_arch, self.choices]
        # paper, Methods, model architecture: one pass gives the values of all actions
        self.network, self.target = mlp(sizes, activation), mlp(sizes, activation)
        self.parameters = list(self.network.parameters())
        # One vector holds all weights, and the network's weights are views of it: gradient clipping, the optimizer's step and the
        # target's update are one operation each. That is how it is computed, no detail of the algorithm.
        self.weights = flat(self.network)
        self.target_weights = flat(self.target).copy_(self.weights)  # paper, algorithm 1: both begin alike
        self.optimizer = torch.optim.Adam([self.weights], lr=scheduled(self.hp.learning_rate, 1.0), fused=True)
        self.acting = [parameter.detach().numpy() for parameter in self.parameters]  # the same memory, for NumPy
        self.memory = Memory(self.hp.buffer_size, task, actions=1)

    # --- acting -------------------------------------------------------------------------------------------------------------

    def act(self, observations: np.ndarray, deterministic: bool, random: np.random.Generator) -> np.ndarray:
        """Actions as the environment takes them, greedy or epsilon-greedy."""
        if not deterministic and random.random() < self.exploration:
            return random.integers(self.choices, size=len(observations))
        return np.argmax(forward(self.acting, observations.astype(np.float32), self.activation), axis=1)

    @property
    def exploration(self) -> float:
        """Epsilon (paper, Methods, training details): it falls linearly over the first steps, and stays then."""
        hp, done = self.hp, 1.0 - self.task.remaining
        share = min(1.0, done / hp.exploration_fraction) if hp.exploration_fraction else 1.0
        return hp.exploration_initial_eps + share * (hp.exploration_final_eps - hp.exploration_initial_eps)

    # --- learning -----------------------------------------------------------------------------------------------------------

    def learn(self) -> None:
        """Algorithm 1 of the paper: act, remember, and learn from what is remembered."""
        hp, task = self.hp, self.task
        next_copy, next_report = max(1, hp.target_update_interval // hp.n_envs) * hp.n_envs, REPORT_EVERY
        copy_every = next_copy
        while task.steps < task.total:
            for _ in range(hp.train_freq):
                before = task.observations
                if task.steps < hp.learning_starts:
                    actions = task.random.integers(self.choices, size=hp.n_envs)
                else:
                    actions = self.act(before, False, task.random)
                successors, rewards, terminated, _ = task.step(actions)
                # limits, section 3: only a true end has no future; an episode that was cut off goes on. SB3 does so too.
                self.memory.add(before, successors, actions[:, None], rewards, terminated)
                if task.steps >= next_copy:
                    next_copy += copy_every
                    self.target_weights.lerp_(self.weights, hp.tau)  # paper, algorithm 1: every C steps
            if task.steps > hp.learning_starts:
                self.optimizer.param_groups[0]["lr"] = scheduled(hp.learning_rate, task.remaining)
                updates = hp.train_freq * hp.n_envs if hp.gradient_steps == -1 else hp.gradient_steps
                for _ in range(updates):
                    loss = self.update()
                if task.steps >= next_report:
                    next_report = task.steps + REPORT_EVERY
                    task.scalars({"loss": loss.item(), "exploration_rate": self.exploration})

    def update(self) -> Tensor:
        """One step of the network towards its targets; returns the loss."""
        hp = self.hp
        observations, successors, actions, rewards, ends = self.memory.sample(hp.batch_size)
        with torch.no_grad():
            # paper, Methods, equation 2: the target network's greatest value stands in for the future
            targets = rewards[:, 0] + hp.gamma * (1 - ends[:, 0]) * self.target(successors).amax(1)
        values = self.network(observations).gather(1, actions.long())[:, 0]
        loss = smooth_l1_loss(values, targets)  # paper, Methods: the error clipped to [-1, 1], which is Huber's loss
        gradient = parameters_to_vector(torch.autograd.grad(loss, self.parameters))
        # SB3 bounds the gradient's norm; 1e-6 as torch's clip_grad_norm_ has it
        self.weights.grad = gradient.mul_((hp.max_grad_norm / (gradient.norm() + 1e-6)).clamp_(max=1.0))
        self.optimizer.step()
        return loss


# --- replay memory ----------------------------------------------------------------------------------------------------------


class Memory:
    """The last transitions (Lin; paper, Methods, training algorithm): a row for each, so that a batch is one gather."""

    def __init__(self, size: int, task: Task, actions: int) -> None:
        self.parts = [task.observation_size, task.observation_size, actions, 1, 1]
        # The system gives memory as rows are written
        self.rows = np.empty((size, sum(self.parts)), np.float32)
        self.tensor, self.random, self.added = torch.from_numpy(self.rows), task.random, 0

    def add(self, before: np.ndarray, after: np.ndarray, actions: np.ndarray, rewards: np.ndarray, ends: np.ndarray) -> None:
        """Takes a transition of each environment in; the oldest ones give way."""
        for row in zip(before, after, actions, rewards[:, None], ends[:, None], strict=True):
            np.concatenate(row, out=self.rows[self.added % len(self.rows)], casting="unsafe")
            self.added += 1

    def sample(self, batch_size: int) -> tuple[Tensor, ...]:
        """Observations, successors, actions, rewards and ends of transitions drawn uniformly, with replacement."""
        chosen = self.random.integers(min(self.added, len(self.rows)), size=batch_size)
        return self.tensor.index_select(0, torch.from_numpy(chosen)).split(self.parts, dim=1)


# --- networks ---------------------------------------------------------------------------------------------------------------


def mlp(sizes: list[int], activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers with an activation between them; weights begin as torch has them, which is how SB3 has them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


def flat(network: nn.Module) -> Tensor:
    """A vector of all weights of a network, which are views of it from now on."""
    weights = parameters_to_vector(network.parameters()).detach()
    vector_to_parameters(weights, network.parameters())
    return weights


def forward(weights: list[np.ndarray], inputs: np.ndarray, activation: np.ufunc) -> np.ndarray:
    """The outputs of an ``mlp`` whose weights and biases are given in turn, in NumPy."""
    for index in range(0, len(weights) - 2, 2):
        inputs = activation(inputs @ weights[index].T + weights[index + 1])
    return inputs @ weights[-2].T + weights[-1]


if __name__ == "__main__":
    main({"dqn": DQN})
