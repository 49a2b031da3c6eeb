"""Twin delayed deep deterministic policy gradients in one file, for continuous actions.

Sources, as comments name them:
    paper     Fujimoto, van Hoof, Meger (2018), Addressing Function Approximation Error in Actor-Critic Methods, arXiv 1802.09477.
    DDPG      Lillicrap, Hunt, Pritzel et al. (2016), Continuous Control with Deep Reinforcement Learning, arXiv 1509.02971: what
              the paper starts from.
    Lin       Lin (1992), Self-Improving Reactive Agents Based on Reinforcement Learning, Planning and Teaching: replay.
    limits    Pardo, Tavakoli, Levdik, Kormushev (2018), Time Limits in Reinforcement Learning, arXiv 1712.00378.

Hyperparameters mean what they mean in Stable-Baselines3 (SB3), and have its defaults; the paper explores with ``noise_type``
"normal" and ``noise_std`` 0.1, for which SB3's default is no noise. What differs is only how it is computed: acting goes through
NumPy, a transition is one row of one array, layers go through oneDNN where torch has it (by default torch takes MKL's product,
which was half as fast on the AMD processor it was measured on), no gradient is computed that no optimizer takes, and one
optimizer step moves one vector of a network's weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import gymnasium
import numpy as np
import torch
from harness import BadSpec, Count, Natural, NotNegative, Rate, Share, Task, main, scheduled
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.nn.utils import parameters_to_vector, vector_to_parameters

REPORT_EVERY = 1000  # agent steps between two reports of the losses


@dataclass(frozen=True)
class PolicyKwargs:
    """The networks. ``net_arch``: units of the hidden layers, of all or of actor (``pi``) and critics (``qf``)."""

    # paper, appendix C: two layers of 400 and 300, rectifiers
    net_arch: list[Count] | dict[Literal["pi", "qf"], list[Count]] = field(default_factory=lambda: [400, 300])
    activation_fn: Literal["relu"] = "relu"


@dataclass(frozen=True)
class Hyperparameters:
    """SB3's names and defaults; ``"lin_X"`` is a rate that falls linearly from X to 0."""

    learning_rate: Rate = 1e-3  # paper, section 6.1
    buffer_size: Count = 1_000_000  # paper, section 6.1: the whole history of a million steps
    learning_starts: Natural = 100  # paper, section 6.1: actions are random until then, 1,000 or 10,000 steps there
    batch_size: Count = 256  # the paper's is 100
    tau: Share = 0.005  # paper, section 6.1
    gamma: Share = 0.99  # DDPG, section 7
    train_freq: Count = 1  # steps of each environment between two bouts of learning
    gradient_steps: Literal[-1] | Count = 1  # updates in a bout; -1: as many as steps were taken
    policy_delay: Count = 2  # paper, section 5.2: updates of the critics for one of the actor
    target_policy_noise: NotNegative = 0.2  # paper, section 6.1
    target_noise_clip: NotNegative = 0.5  # paper, section 6.1
    noise_type: Literal["normal"] | None = None  # paper, section 6.1: exploration noise; of actions between -1 and 1
    noise_std: NotNegative | None = None
    n_envs: Count = 1
    policy_kwargs: PolicyKwargs = field(default_factory=PolicyKwargs)


class TD3:
    """The agent: its networks, its replay memory and its update."""

    HYPERPARAMETERS = Hyperparameters
    ACTIONS = (gymnasium.spaces.Box,)

    def __init__(self, task: Task, hyperparameters: Hyperparameters) -> None:
        self.task, self.hp, space = task, hyperparameters, task.action_space
        if not np.isfinite([space.low, space.high]).all():
            raise BadSpec(f"td3 needs actions with bounds, {task.spec['env']} has {space}")
        if (self.hp.noise_type is None) != (self.hp.noise_std is None):
            raise BadSpec("noise_type and noise_std come together")
        self.actions = math.prod(space.shape)
        arch = self.hp.policy_kwargs.net_arch
        arch = arch if isinstance(arch, dict) else {"pi": arch, "qf": arch}
        self.actor, self.critics = self.networks(arch)  # paper, section 4.2: two critics against overestimation
        self.target_actor, self.target_critics = self.networks(arch)  # DDPG, section 3: slowly moving copies of all
        self.memory = Memory(self.hp.buffer_size, task, self.actions)
        # One vector holds all weights of a network, and its layers' weights are views of it: the optimizer's step and the
        # target's update are one operation each. That is how it is computed, no detail of the algorithm.
        self.weights = [flat(self.actor), flat(self.critics)]
        self.target_weights = [flat(self.target_actor), flat(self.target_critics)]
        for target, weights in zip(self.target_weights, self.weights, strict=True):
            target.copy_(weights)  # paper, algorithm 1: they begin alike
        self.parameters = self.weights
        rate = scheduled(self.hp.learning_rate, 1.0)
        self.optimizers = [torch.optim.Adam([weights], lr=rate, fused=True) for weights in self.weights]  # paper, section 6.1
        self.acting = [parameter.detach().numpy() for parameter in self.actor.parameters()]  # the same memory, for NumPy
        self.updates = 0

    def networks(self, arch: dict[str, list[int]]) -> tuple[nn.Sequential, nn.ModuleList]:
        """An actor, and two critics that share nothing; actions enter at the first layer (paper, appendix C)."""
        observation = self.task.observation_size
        sizes = [observation + self.actions, *arch.get("qf", []), 1]
        return mlp([observation, *arch.get("pi", []), self.actions]), nn.ModuleList(mlp(sizes) for _ in range(2))

    # --- acting -------------------------------------------------------------------------------------------------------------

    def act(self, observations: np.ndarray, deterministic: bool, random: np.random.Generator) -> np.ndarray:
        """Actions as the environment takes them."""
        return self.for_environment(self.choose(observations, deterministic, random))

    def choose(self, observations: np.ndarray, deterministic: bool, random: np.random.Generator) -> np.ndarray:
        """Actions between -1 and 1, [n, actions]; exploration adds noise to them (paper, algorithm 1)."""
        actions = np.tanh(forward(self.acting, observations.astype(np.float32)))
        if deterministic or not self.hp.noise_std:
            return actions
        return np.clip(actions + np.float32(self.hp.noise_std) * random.standard_normal(actions.shape, np.float32), -1, 1)

    def for_environment(self, actions: np.ndarray) -> np.ndarray:
        """From -1 to 1 to the environment's bounds."""
        space = self.task.action_space
        return space.low + (0.5 * (actions.reshape(-1, *space.shape) + 1.0)) * (space.high - space.low)

    # --- learning -----------------------------------------------------------------------------------------------------------

    def learn(self) -> None:
        """Algorithm 1 of the paper: act, remember, and learn from what is remembered."""
        hp, task, next_report, losses = self.hp, self.task, REPORT_EVERY, {}
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
                    losses |= self.update()
                if task.steps >= next_report:
                    next_report = task.steps + REPORT_EVERY
                    task.scalars({name: loss.item() for name, loss in losses.items()})

    def update(self) -> dict[str, Tensor]:
        """One step of the critics and, when it is the actor's turn, of the actor and all targets; returns the losses."""
        hp = self.hp
        observations, successors, actions, rewards, ends = self.memory.sample(hp.batch_size)
        self.updates += 1
        with torch.no_grad():
            # paper, section 5.3: similar actions have similar values, so the target's action is smoothed by clipped noise
            noise = (torch.randn_like(actions) * hp.target_policy_noise).clamp(-hp.target_noise_clip, hp.target_noise_clip)
            after = (torch.tanh(apply(self.target_actor, successors)) + noise).clamp(-1, 1)
            pairs = torch.cat([successors, after], dim=1)
            # paper, equation 10: the smaller of the target critics' values
            future = torch.min(*(apply(critic, pairs) for critic in self.target_critics))
            targets = rewards + hp.gamma * (1 - ends) * future
        pairs = torch.cat([observations, actions], dim=1)
        critic_loss = sum(mse_loss(apply(critic, pairs), targets) for critic in self.critics)  # paper, algorithm 1
        self.step(1, gradient(critic_loss, self.critics))
        if self.updates % hp.policy_delay:
            return {"critic_loss": critic_loss}
        # paper, algorithm 1: up the first critic; its own gradients are not asked for
        chosen = torch.tanh(apply(self.actor, observations))
        actor_loss = -apply(self.critics[0], torch.cat([observations, chosen], dim=1)).mean()
        self.step(0, gradient(actor_loss, self.actor))
        for target, weights in zip(self.target_weights, self.weights, strict=True):
            target.lerp_(weights, hp.tau)  # paper, algorithm 1: with the actor, and as seldom
        return {"critic_loss": critic_loss, "actor_loss": actor_loss}

    def step(self, index: int, found: Tensor) -> None:
        """One step of actor (0) or critics (1) along a gradient."""
        self.weights[index].grad = found
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
    main({"td3": TD3})
