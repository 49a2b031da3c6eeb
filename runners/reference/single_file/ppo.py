"""Proximal policy optimization in one file, for discrete and continuous actions.

Sources, as comments name them:
    paper     Schulman, Wolski, Dhariwal, Radford, Klimov (2017), Proximal Policy Optimization Algorithms, arXiv 1707.06347.
    details   Huang, Dossa, Raffin, Kanervisto, Wang (2022), The 37 Implementation Details of Proximal Policy Optimization, ICLR
              Blog Track: core 1 to core 13 and continuous 1 to continuous 9, as they are numbered there. Its details for
              Atari (9), LSTM (5) and MultiDiscrete (1) have no place here, nor has sharing layers (half of core 13).
    GAE       Schulman, Moritz, Levine, Jordan, Abbeel (2016), High-Dimensional Continuous Control Using Generalized Advantage
              Estimation, arXiv 1506.02438.
    limits    Pardo, Tavakoli, Levdik, Kormushev (2018), Time Limits in Reinforcement Learning, arXiv 1712.00378.

Hyperparameters mean what they mean in Stable-Baselines3 (SB3), and have its defaults. What differs is only how it is computed:
the rollout acts through NumPy (a batch of one costs a quarter of what it costs in torch), values and log-probabilities of the
whole rollout come from one pass at its end, and one optimizer step moves one vector of all weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import gymnasium
import numpy as np
import torch
from harness import BadSpec, Count, NotNegative, Rate, Share, Task, main, scheduled
from torch import Tensor, nn
from torch.nn.functional import log_softmax, mse_loss
from torch.nn.utils import parameters_to_vector, vector_to_parameters

ACTIVATIONS = {"tanh": (nn.Tanh, np.tanh), "relu": (nn.ReLU, lambda x: np.maximum(x, 0))}  # in torch and in NumPy


@dataclass(frozen=True)
class PolicyKwargs:
    """The networks. ``net_arch``: units of the hidden layers, of both networks or of ``pi`` and ``vf``."""

    net_arch: dict[Literal["pi", "vf"], list[Count]] | list[Count] = field(
        default_factory=lambda: {"pi": [64, 64], "vf": [64, 64]}  # paper, section 6.1
    )
    activation_fn: Literal["tanh", "relu"] = "tanh"  # paper, section 6.1
    ortho_init: bool = True  # core 2
    log_std_init: float = 0.0  # continuous 2


@dataclass(frozen=True)
class NormalizeKwargs:
    """How to normalize observations and rewards (continuous 6 to 9)."""

    norm_obs: bool = True
    norm_reward: bool = True
    clip_obs: NotNegative = 10.0
    clip_reward: NotNegative = 10.0
    epsilon: NotNegative = 1e-8


@dataclass(frozen=True)
class Hyperparameters:
    """SB3's names and defaults; ``"lin_X"`` is a rate that falls linearly from X to 0 (core 4)."""

    learning_rate: Rate = 3e-4
    n_steps: Count = 2048  # steps of each environment in a rollout
    batch_size: Count = 64
    n_epochs: Count = 10
    gamma: Share = 0.99
    gae_lambda: Share = 0.95
    clip_range: Rate = 0.2
    clip_range_vf: Rate | None = None  # core 9: off in SB3 too; the studies that details names found no gain from it
    normalize_advantage: bool = True
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    max_grad_norm: NotNegative = 0.5
    target_kl: NotNegative | None = None  # ends a rollout's epochs early (details, early stopping), at 1.5 times it as SB3 does
    n_envs: Count = 1  # core 1
    normalize: bool | NormalizeKwargs = False
    policy_kwargs: PolicyKwargs = field(default_factory=PolicyKwargs)


class PPO:
    """The agent: its networks, its rollout and its update."""

    HYPERPARAMETERS = Hyperparameters
    ACTIONS = (gymnasium.spaces.Discrete, gymnasium.spaces.Box)

    def __init__(self, task: Task, hyperparameters: Hyperparameters) -> None:
        self.task, self.hp, space = task, hyperparameters, task.action_space
        if self.hp.n_steps * self.hp.n_envs < 2:
            raise BadSpec("n_steps times n_envs must be at least 2")
        self.discrete = isinstance(space, gymnasium.spaces.Discrete)
        actions = int(space.n) if self.discrete else math.prod(space.shape)
        self.build_networks(actions, self.hp.policy_kwargs)
        # One vector holds all weights, and the networks' weights are views of it: gradient clipping, the optimizer's step and the
        # check for divergence are one operation each. That is how it is computed, no detail of the algorithm.
        self.weights = parameters_to_vector(self.parameters).detach()
        vector_to_parameters(self.weights, self.parameters)
        # core 3: Adam's epsilon is 1e-5, not 1e-8
        self.optimizer = torch.optim.Adam([self.weights], lr=scheduled(self.hp.learning_rate, 1.0), eps=1e-5, fused=True)
        self.acting = [parameter.detach().numpy() for parameter in self.policy.parameters()]  # the same memory, for NumPy
        normalize = NormalizeKwargs() if self.hp.normalize is True else self.hp.normalize
        self.normalizer = Normalizer(task, self.hp.gamma, normalize) if normalize else None
        rollout = (self.hp.n_steps, self.hp.n_envs)
        self.observations = np.zeros((*rollout, task.observation_size), np.float32)
        self.actions = np.zeros(rollout if self.discrete else (*rollout, actions), np.int64 if self.discrete else np.float32)

    def build_networks(self, actions: int, kwargs: PolicyKwargs) -> None:
        """Two networks that share nothing (core 13, continuous 4), and the policy's spread where actions are continuous."""
        arch = kwargs.net_arch if isinstance(kwargs.net_arch, dict) else {"pi": kwargs.net_arch, "vf": kwargs.net_arch}
        activation, self.activation = ACTIVATIONS[kwargs.activation_fn]
        observation = self.task.observation_size
        self.policy = mlp([observation, *arch.get("pi", []), actions], activation)
        self.value = mlp([observation, *arch.get("vf", []), 1], activation)
        if kwargs.ortho_init:
            orthogonal(self.policy, output_gain=0.01)  # core 2: a first policy close to uniform
            orthogonal(self.value, output_gain=1.0)
        # continuous 2 and 3: a standard deviation for each action, which no observation changes
        self.log_std = nn.Parameter(torch.full((actions,), float(kwargs.log_std_init)))
        spread = [] if self.discrete else [self.log_std]
        self.parameters = [*self.policy.parameters(), *self.value.parameters(), *spread]

    # --- acting -------------------------------------------------------------------------------------------------------------

    def act(self, observations: np.ndarray, deterministic: bool, random: np.random.Generator) -> np.ndarray:
        """Actions as the environment takes them; the normalizer's statistics are used, not changed."""
        if self.normalizer is not None:
            observations = self.normalizer.normalized(observations)
        return self.for_environment(self.choose(observations.astype(np.float32), deterministic, random))

    def choose(self, observations: np.ndarray, deterministic: bool, random: np.random.Generator) -> np.ndarray:
        """Actions as the policy means them: [n] of choices, or [n, actions] of numbers without bounds."""
        outputs = forward(self.acting, observations, self.activation)
        if self.discrete:  # the largest of logits and Gumbel noise is a draw from their softmax (Gumbel 1954)
            return np.argmax(outputs if deterministic else outputs + random.gumbel(size=outputs.shape), axis=1)
        if deterministic:
            return outputs
        # continuous 1: a normal distribution
        return outputs + np.exp(self.log_std.detach().numpy()) * random.standard_normal(outputs.shape, np.float32)

    def for_environment(self, actions: np.ndarray) -> np.ndarray:
        """Continuous 5: the environment gets an action clipped to its bounds; the rollout keeps it as it was drawn."""
        space = self.task.action_space
        return actions if self.discrete else np.clip(actions.reshape(-1, *space.shape), space.low, space.high)

    # --- learning -----------------------------------------------------------------------------------------------------------

    def learn(self) -> None:
        """Algorithm 1 of the paper: fixed stretches of experience, each learned from for some epochs (core 1)."""
        self.seen = self.observe(self.task.observations)
        while self.task.steps < self.task.total:
            rollout = self.collect()
            self.update(*rollout)

    def observe(self, observations: np.ndarray) -> np.ndarray:
        """What the networks see of new observations; the normalizer learns from them."""
        if self.normalizer is not None:
            self.normalizer.learn_observations(observations)
            observations = self.normalizer.normalized(observations)
        return observations.astype(np.float32)

    @torch.no_grad()
    def collect(self) -> tuple[Tensor, ...]:
        """One rollout: observations, actions, log-probabilities, advantages, returns and values of n_steps x n_envs steps."""
        hp, task = self.hp, self.task
        rewards, ends = np.zeros((hp.n_steps, hp.n_envs)), np.zeros((hp.n_steps, hp.n_envs), bool)
        cut_off = []  # where an episode was truncated, and what it would have gone on from
        for t in range(hp.n_steps):
            self.observations[t] = self.seen
            self.actions[t] = self.choose(self.seen, False, task.random)
            successors, rewards[t], terminated, truncated = task.step(self.for_environment(self.actions[t]))
            ends[t] = terminated | truncated
            if self.normalizer is not None:
                rewards[t] = self.normalizer.learn_rewards(rewards[t], ends[t])
            self.seen = self.observe(task.observations)
            for index in np.flatnonzero(truncated & ~terminated):
                last = successors[index] if self.normalizer is None else self.normalizer.normalized(successors[index])
                cut_off.append((t, index, last.astype(np.float32)))
        # The policy has not changed since the rollout began, so that one pass at its end gives what a pass at each step would.
        observations = torch.from_numpy(self.observations).flatten(0, 1)
        actions = torch.from_numpy(self.actions).flatten(0, 1)
        values = self.value(observations)[:, 0].numpy()
        # limits, section 3: an episode that was cut off has a future, whose value stands in for it. SB3's PPO does so too.
        for t, index, last in cut_off:
            rewards[t, index] += hp.gamma * self.value(torch.from_numpy(last)).item()
        after = self.value(torch.from_numpy(self.seen))[:, 0].numpy()
        advantages = self.advantages(rewards, ends, values.reshape(rewards.shape), after)
        tensors = (torch.from_numpy(advantages), torch.from_numpy(advantages + values), torch.from_numpy(values))
        return observations, actions, self.log_probabilities(observations, actions)[0], *tensors

    def advantages(self, rewards: np.ndarray, ends: np.ndarray, values: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Core 5: generalized advantage estimates (GAE, equation 16), over the rollout backwards; flat, step after step."""
        goes_on = self.hp.gamma * ~ends
        errors = rewards + goes_on * np.concatenate([values[1:], after[None]]) - values  # GAE, equation 10
        found, advantage, decay = np.empty_like(values), np.zeros(len(after)), goes_on * self.hp.gae_lambda
        for t in reversed(range(len(found))):
            found[t] = advantage = errors[t] + decay[t] * advantage
        return found.reshape(-1)

    def log_probabilities(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities [n] of actions, and the policy's entropies [n]."""
        outputs = self.policy(observations)
        if self.discrete:
            logs = log_softmax(outputs, dim=1)
            return logs.gather(1, actions[:, None])[:, 0], -(logs.exp() * logs).sum(1)
        # continuous 3: independent normal distributions, so that logarithms and entropies add up
        scaled = (actions - outputs) * torch.exp(-self.log_std)
        constant = self.log_std.sum() + 0.5 * math.log(2 * math.pi) * actions.shape[1]
        return -0.5 * scaled.square().sum(1) - constant, (constant + 0.5 * actions.shape[1]).expand(len(actions))

    def update(self, *rollout: Tensor) -> None:
        """Some epochs over a rollout, in minibatches (core 6)."""
        hp, task = self.hp, self.task
        self.optimizer.param_groups[0]["lr"] = scheduled(hp.learning_rate, task.remaining)  # core 4: annealing
        self.clip_range = scheduled(hp.clip_range, task.remaining)
        for _ in range(hp.n_epochs):
            # core 6: every epoch in an order of its own, which leaves no sample out
            order = torch.from_numpy(task.random.permutation(len(rollout[0])))
            for minibatch in zip(*(part[order].split(hp.batch_size) for part in rollout), strict=True):
                loss, divergence = self.loss(*minibatch)
                if hp.target_kl is not None and float(divergence) > 1.5 * hp.target_kl:
                    return self.report(*rollout)
                gradient = parameters_to_vector(torch.autograd.grad(loss, self.parameters))
                # core 11: the whole gradient's norm is bounded; 1e-6 as torch's clip_grad_norm_ has it
                self.weights.grad = gradient.mul_((hp.max_grad_norm / (gradient.norm() + 1e-6)).clamp_(max=1.0))
                self.optimizer.step()
        return self.report(*rollout)

    def loss(
        self, observations: Tensor, actions: Tensor, before: Tensor, advantages: Tensor, returns: Tensor, old_values: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The loss of a minibatch (paper, equation 9), and how far the policy has moved since the rollout."""
        hp = self.hp
        log_probabilities, entropies = self.log_probabilities(observations, actions)
        values = self.value(observations)[:, 0]
        if hp.normalize_advantage and len(advantages) > 1:  # core 7: within the minibatch, not the rollout
            std, mean = torch.std_mean(advantages)
            advantages = (advantages - mean) / (std + 1e-8)
        log_ratio = log_probabilities - before
        ratio = log_ratio.exp()
        # core 8: the clipped surrogate objective (paper, equation 7)
        clipped = ratio.clamp(1 - self.clip_range, 1 + self.clip_range)
        loss = -torch.min(advantages * ratio, advantages * clipped).mean()
        if hp.clip_range_vf is not None:  # core 9, as SB3 has it: the value itself is clipped around the old one
            bound = scheduled(hp.clip_range_vf, self.task.remaining)
            values = old_values + (values - old_values).clamp(-bound, bound)
        loss = loss + hp.vf_coef * mse_loss(values, returns)  # core 10; with vf_coef 0.5 this is half of the squared error
        if hp.ent_coef:
            loss = loss - hp.ent_coef * entropies.mean()  # core 10
        if hp.target_kl is None:
            return loss, loss
        return loss, (ratio - 1 - log_ratio).detach().mean()  # Schulman's estimate k3, joschu.net/blog/kl-approx.html

    @torch.no_grad()
    def report(
        self, observations: Tensor, actions: Tensor, before: Tensor, advantages: Tensor, returns: Tensor, old_values: Tensor
    ) -> None:
        """Core 12: what shows whether it goes well, over the whole rollout after its update."""
        log_probabilities, entropies = self.log_probabilities(observations, actions)
        log_ratio = log_probabilities - before
        ratio = log_ratio.exp()
        variance = returns.var().item()
        scalars = {
            "approx_kl": (ratio - 1 - log_ratio).mean().item(),  # k3 again
            "clip_fraction": ((ratio - 1).abs() > self.clip_range).float().mean().item(),
            "clip_range": self.clip_range,
            "entropy": entropies.mean().item(),
            "explained_variance": 1 - (returns - old_values).var().item() / variance if variance else math.nan,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "value_loss": mse_loss(self.value(observations)[:, 0], returns).item(),
        }
        if not self.discrete:
            scalars["std"] = self.log_std.exp().mean().item()
        self.task.scalars(scalars)


# --- networks ---------------------------------------------------------------------------------------------------------------


def mlp(sizes: list[int], activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers with an activation between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


def orthogonal(network: nn.Sequential, output_gain: float) -> None:
    """Core 2: orthogonal weights, with a gain of the square root of 2 before the output, and no biases."""
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight, output_gain if layer is layers[-1] else math.sqrt(2))
        nn.init.zeros_(layer.bias)


def forward(weights: list[np.ndarray], inputs: np.ndarray, activation: np.ufunc) -> np.ndarray:
    """The outputs of an ``mlp`` whose weights and biases are given in turn, in NumPy."""
    for index in range(0, len(weights) - 2, 2):
        inputs = activation(inputs @ weights[index].T + weights[index + 1])
    return inputs @ weights[-2].T + weights[-1]


# --- normalization ----------------------------------------------------------------------------------------------------------


class Normalizer:
    """Observations and rewards on a scale of their own (continuous 6 to 9)."""

    def __init__(self, task: Task, gamma: float, settings: NormalizeKwargs) -> None:
        self.settings, self.gamma = settings, gamma
        self.observations, self.rewards = Moments((task.observation_size,)), Moments(())
        self.returns = np.zeros(len(task.observations))

    def learn_observations(self, observations: np.ndarray) -> None:
        """Takes new observations into the statistics."""
        if self.settings.norm_obs:
            self.observations.add(observations)

    def normalized(self, observations: np.ndarray) -> np.ndarray:
        """Continuous 6 and 7: mean 0 and variance 1 by the statistics so far, clipped."""
        if not self.settings.norm_obs:
            return observations
        scaled = (observations - self.observations.mean) / np.sqrt(self.observations.variance + self.settings.epsilon)
        return np.clip(scaled, -self.settings.clip_obs, self.settings.clip_obs)

    def learn_rewards(self, rewards: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Continuous 8 and 9: rewards over the deviation of a discounted sum of past rewards (no mean is taken off), clipped."""
        if not self.settings.norm_reward:
            return rewards
        self.returns = self.returns * self.gamma + rewards
        self.rewards.add(self.returns)
        self.returns[ends] = 0.0
        scaled = rewards / np.sqrt(self.rewards.variance + self.settings.epsilon)
        return np.clip(scaled, -self.settings.clip_reward, self.settings.clip_reward)


class Moments:
    """Running mean and variance: Chan, Golub, LeVeque (1979), Updating Formulae and a Pairwise Algorithm, equation 2.1."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.mean, self.variance, self.count = np.zeros(shape), np.ones(shape), 1e-4

    def add(self, batch: np.ndarray) -> None:
        """Takes a batch [n, ...] in."""
        count = self.count + len(batch)
        delta = batch.mean(axis=0) - self.mean
        self.mean = self.mean + delta * len(batch) / count
        squares = self.variance * self.count + batch.var(axis=0) * len(batch)
        self.variance = (squares + np.square(delta) * self.count * len(batch) / count) / count
        self.count = count


if __name__ == "__main__":
    main({"ppo": PPO})
