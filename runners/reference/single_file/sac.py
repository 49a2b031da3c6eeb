"""Soft actor-critic in one file, for continuous actions.

Sources, as comments name them:
    2018a     Haarnoja, Zhou, Abbeel, Levine (2018), Soft Actor-Critic: Off-Policy Maximum Entropy Deep Reinforcement Learning
              with a Stochastic Actor, arXiv 1801.01290.
    2018b     Haarnoja, Zhou, Hartikainen et al. (2018), Soft Actor-Critic Algorithms and Applications, arXiv 1812.05905: no value
              network, and a temperature that is learned. Where the two differ, this file follows 2018b.
    Lin       Lin (1992), Self-Improving Reactive Agents Based on Reinforcement Learning, Planning and Teaching: replay.
    limits    Pardo, Tavakoli, Levdik, Kormushev (2018), Time Limits in Reinforcement Learning, arXiv 1712.00378.

Hyperparameters mean what they mean in Stable-Baselines3 (SB3), and have its defaults, which are those of 2018b (table 1). What
differs is only how it is computed: acting goes through NumPy, a transition is one row of one array, layers go through oneDNN
where torch has it (by default torch takes MKL's product, which was half as fast on the AMD processor it was measured on), no
gradient is computed that no optimizer takes, and one optimizer step moves one vector of a network's weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import gymnasium
import numpy as np
import torch
from harness import AutoCoefficient, BadSpec, Count, Natural, NotNegative, Rate, Share, Task, main, scheduled
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.nn.utils import parameters_to_vector, vector_to_parameters

REPORT_EVERY = 1000  # agent steps between two reports of the losses
LOG_STD_LEAST, LOG_STD_MOST = -20.0, 2.0  # bounds of the policy's spread, SB3's; the papers name none


@dataclass(frozen=True)
class PolicyKwargs:
    """The networks. ``net_arch``: units of the hidden layers, of all or of actor (``pi``) and critics (``qf``)."""

    # 2018b, table 1: two layers of 256, rectifiers
    net_arch: list[Count] | dict[Literal["pi", "qf"], list[Count]] = field(default_factory=lambda: [256, 256])
    activation_fn: Literal["relu"] = "relu"


@dataclass(frozen=True)
class Hyperparameters:
    """SB3's names and defaults; ``"lin_X"`` is a rate that falls linearly from X to 0."""

    learning_rate: Rate = 3e-4  # 2018b, table 1; of actor, critics and temperature
    buffer_size: Count = 1_000_000  # 2018b, table 1
    learning_starts: Natural = 100  # SB3: actions are random until then
    batch_size: Count = 256  # 2018b, table 1
    tau: Share = 0.005  # 2018b, table 1: target smoothing coefficient
    gamma: Share = 0.99  # 2018b, table 1
    train_freq: Count = 1  # steps of each environment between two bouts of learning
    gradient_steps: Literal[-1] | Count = 1  # 2018b, table 1: updates in a bout; -1: as many as steps were taken
    ent_coef: AutoCoefficient | NotNegative = "auto"  # 2018b, section 5: learned; "auto_0.1" begins at 0.1 instead of 1
    target_update_interval: Count = 1  # 2018b, table 1; in updates
    target_entropy: Literal["auto"] | float = "auto"  # 2018b, appendix D: minus the number of actions
    n_envs: Count = 1
    policy_kwargs: PolicyKwargs = field(default_factory=PolicyKwargs)


class SAC:
    """The agent: its networks, its replay memory and its update."""

    HYPERPARAMETERS = Hyperparameters
    ACTIONS = (gymnasium.spaces.Box,)

    def __init__(self, task: Task, hyperparameters: Hyperparameters) -> None:
        self.task, self.hp, space = task, hyperparameters, task.action_space
        if not np.isfinite([space.low, space.high]).all():
            raise BadSpec(f"sac needs actions with bounds, {task.spec['env']} has {space}")
        self.actions = math.prod(space.shape)
        self.build_networks(self.hp.policy_kwargs.net_arch)
        self.memory = Memory(self.hp.buffer_size, task, self.actions)
        learned = isinstance(self.hp.ent_coef, str)
        start = float(self.hp.ent_coef.removeprefix("auto").removeprefix("_") or 1.0) if learned else self.hp.ent_coef
        # Its logarithm is learned (SB3), so that the temperature stays positive
        self.log_temperature = torch.tensor(math.log(start) if start else -math.inf, dtype=torch.float32)
        self.target_entropy = -float(self.actions) if self.hp.target_entropy == "auto" else self.hp.target_entropy
        # One vector holds all weights of a network, and its layers' weights are views of it: the optimizer's step and the
        # target's update are one operation each. That is how it is computed, no detail of the algorithm.
        self.actor_weights, self.critic_weights, self.target_weights = map(flat, (self.actor, self.critics, self.targets))
        self.target_weights.copy_(self.critic_weights)
        self.parameters = [self.actor_weights, self.critic_weights, *([self.log_temperature] if learned else [])]
        rate = scheduled(self.hp.learning_rate, 1.0)
        self.optimizers = [torch.optim.Adam([weights], lr=rate, fused=True) for weights in self.parameters]  # 2018b, table 1
        self.acting = [parameter.detach().numpy() for parameter in self.actor.parameters()]  # the same memory, for NumPy
        self.updates = 0

    def build_networks(self, net_arch: list[int] | dict[str, list[int]]) -> None:
        """An actor, two critics against overestimation (2018a, section 4.2), and their slowly moving copies."""
        arch = net_arch if isinstance(net_arch, dict) else {"pi": net_arch, "qf": net_arch}
        observation, hidden = self.task.observation_size, arch.get("qf", [])
        self.actor = mlp([observation, *arch.get("pi", []), 2 * self.actions])  # means, then logarithms of deviations
        self.critics, self.targets = (
            nn.ModuleList(mlp([observation + self.actions, *hidden, 1]) for _ in range(2)) for _ in range(2)
        )

    # --- acting -------------------------------------------------------------------------------------------------------------

    def act(self, observations: np.ndarray, deterministic: bool, random: np.random.Generator) -> np.ndarray:
        """Actions as the environment takes them; deterministic ones are squashed means (2018a, section 5.2)."""
        return self.for_environment(self.choose(observations, deterministic, random))

    def choose(self, observations: np.ndarray, deterministic: bool, random: np.random.Generator) -> np.ndarray:
        """Actions between -1 and 1, [n, actions]."""
        mean, log_std = np.split(forward(self.acting, observations.astype(np.float32)), 2, axis=1)
        if not deterministic:
            std = np.exp(np.clip(log_std, LOG_STD_LEAST, LOG_STD_MOST))
            mean = mean + std * random.standard_normal(mean.shape, np.float32)
        return np.tanh(mean)

    def for_environment(self, actions: np.ndarray) -> np.ndarray:
        """From -1 to 1 to the environment's bounds."""
        space = self.task.action_space
        return space.low + (0.5 * (actions.reshape(-1, *space.shape) + 1.0)) * (space.high - space.low)

    # --- learning -----------------------------------------------------------------------------------------------------------

    def learn(self) -> None:
        """Algorithm 1 of 2018b: act, remember, and learn from what is remembered."""
        hp, task, next_report = self.hp, self.task, REPORT_EVERY
        while task.steps < task.total:
            for _ in range(hp.train_freq):
                before = task.observations
                if task.steps < hp.learning_starts:
                    actions = task.random.uniform(-1, 1, (hp.n_envs, self.actions)).astype(np.float32)
                else:
                    actions = self.choose(before, False, task.random)
                successors, rewards, terminated, _ = task.step(self.for_environment(actions))
                # limits, section 3: only a true end has no future; an episode that was cut off goes on. SB3 does so too.
                self.memory.add(before, successors, actions, rewards, terminated)
            if task.steps > hp.learning_starts:
                for optimizer in self.optimizers:
                    optimizer.param_groups[0]["lr"] = scheduled(hp.learning_rate, task.remaining)
                for _ in range(hp.train_freq * hp.n_envs if hp.gradient_steps == -1 else hp.gradient_steps):
                    actor_loss, critic_loss = self.update()
                if task.steps >= next_report:
                    next_report = task.steps + REPORT_EVERY
                    losses = {"actor_loss": actor_loss.item(), "critic_loss": critic_loss.item()}
                    task.scalars({**losses, "ent_coef": self.log_temperature.exp().item()})

    def update(self) -> tuple[Tensor, Tensor]:
        """One step of temperature, critics and actor; returns the actor's and the critics' loss."""
        hp = self.hp
        observations, successors, actions, rewards, ends = self.memory.sample(hp.batch_size)
        chosen, log_probabilities = self.sample_actions(observations)
        temperature = self.log_temperature.exp()  # before its own step: a new tensor
        if len(self.optimizers) == 3:
            # 2018b, equation 18, with the temperature's logarithm as its factor (as SB3 has it): the gradient is a mean
            self.step(2, -(log_probabilities.detach() + self.target_entropy).mean())
        with torch.no_grad():
            # 2018b, equation 6: the soft value of what comes next, by the smaller of the target critics
            after, log_after = self.sample_actions(successors)
            future = self.value(self.targets, successors, after) - temperature * log_after
            targets = rewards + hp.gamma * (1 - ends) * future
        pairs = torch.cat([observations, actions], dim=1)
        critic_loss = 0.5 * sum(mse_loss(apply(critic, pairs), targets) for critic in self.critics)  # 2018b, equation 5
        self.step(1, gradient(critic_loss, self.critics))
        # 2018b, equation 9: against the critics as they are now; their own gradients are not asked for
        actor_loss = (temperature * log_probabilities - self.value(self.critics, observations, chosen)).mean()
        self.step(0, gradient(actor_loss, self.actor))
        self.updates += 1
        if self.updates % hp.target_update_interval == 0:
            self.target_weights.lerp_(self.critic_weights, hp.tau)  # 2018b, algorithm 1: an exponential moving average
        return actor_loss, critic_loss

    def sample_actions(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Actions [n, actions] that the gradient can pass through (2018b, equation 8), and their log-probabilities [n, 1]."""
        mean, log_std = apply(self.actor, observations).chunk(2, dim=1)
        log_std = log_std.clamp(LOG_STD_LEAST, LOG_STD_MOST)
        noise = torch.randn_like(mean)
        actions = torch.tanh(mean + log_std.exp() * noise)
        normal = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
        # 2018b, appendix C, equation 26: squashing changes the density; 1e-6 keeps the logarithm finite (SB3)
        return actions, (normal - torch.log(1 - actions.square() + 1e-6)).sum(1, keepdim=True)

    def value(self, critics: nn.ModuleList, observations: Tensor, actions: Tensor) -> Tensor:
        """The smaller of two critics' values [n, 1] (2018a, section 4.2)."""
        pairs = torch.cat([observations, actions], dim=1)
        return torch.min(*(apply(critic, pairs) for critic in critics))

    def step(self, index: int, found: Tensor) -> None:
        """One step of actor (0), critics (1) or temperature (2) along a gradient."""
        self.parameters[index].grad = found
        self.optimizers[index].step()


# --- replay memory ----------------------------------------------------------------------------------------------------------


class Memory:
    """The last transitions (Lin): a row for each, so that a batch is one gather."""

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


def mlp(sizes: list[int]) -> nn.Sequential:
    """Linear layers with rectifiers between them; weights begin as torch has them, which is how SB3 has them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def apply(network: nn.Module, inputs: Tensor) -> Tensor:
    """A network's outputs, by oneDNN where torch has it."""
    return network(inputs.to_mkldnn()).to_dense() if torch.backends.mkldnn.is_available() else network(inputs)


def flat(network: nn.Module) -> Tensor:
    """A vector of all weights of a network, which are views of it from now on."""
    weights = parameters_to_vector(network.parameters()).detach()
    vector_to_parameters(weights, network.parameters())
    return weights


def gradient(loss: Tensor, network: nn.Module) -> Tensor:
    """The loss's gradient by a network's weights, in one vector."""
    return parameters_to_vector(torch.autograd.grad(loss, list(network.parameters())))


def forward(weights: list[np.ndarray], inputs: np.ndarray) -> np.ndarray:
    """The outputs of an ``mlp`` whose weights and biases are given in turn, in NumPy."""
    for index in range(0, len(weights) - 2, 2):
        inputs = np.maximum(inputs @ weights[index].T + weights[index + 1], 0)
    return inputs @ weights[-2].T + weights[-1]


if __name__ == "__main__":
    main({"sac": SAC})
