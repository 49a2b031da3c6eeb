# ruff: noqa: ANN001, ANN003, ANN201, ANN202 - runs in another environment, whose types are not known here
"""Run by the sb3 environment's Python: does single_file train as Stable-Baselines3 does?

    python single_file_updates.py RUNNER_FOLDER updates|trainings

updates: both begin with equal weights and get equal batches and noise. Prints for each algorithm as JSON how far the weights of
all networks and targets are apart after some updates, as a share of how far they moved. Means, for Adam magnifies the rounding of
a weight whose gradient is nearly 0.

trainings: both begin with equal weights and draw equal random numbers in the same order, and train for a while in equal
environments. Prints for each algorithm how many episodes had the same length, and how far the returns are apart at most. This
holds what updates leaves out: acting, exploration and its schedule, the order of storing and learning, what is stored at an
episode's end, targets' updates by steps, advantages, minibatches' order.
"""

from __future__ import annotations

import copy
import io
import json
import sys

sys.path.insert(0, sys.argv[1])

import dqn
import gymnasium
import harness
import numpy as np
import ppo
import sac
import stable_baselines3
import td3
import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.type_aliases import ReplayBufferSamples, RolloutBufferSamples
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

UPDATES = 20
torch.set_num_threads(1)


# --- which weights are the same -----------------------------------------------------------------------------------------------


def weights(name, ours, theirs):
    """The weights of all networks and targets, pair by pair."""
    if name == "PPO":
        policy = theirs.policy
        extractor = policy.mlp_extractor
        parts = [*extractor.policy_net.parameters(), *policy.action_net.parameters()]
        parts += [*extractor.value_net.parameters(), *policy.value_net.parameters()]
        return list(zip(ours.parameters, [*parts, *([] if ours.discrete else [policy.log_std])], strict=True))
    if name == "DQN":
        networks = [(ours.network, theirs.q_net.q_net), (ours.target, theirs.q_net_target.q_net)]
    elif name == "SAC":
        networks = [(ours.actor, theirs.actor), *critics(ours.critics, theirs.critic)]
        networks += critics(ours.targets, theirs.critic_target)
    else:
        networks = [(ours.actor, theirs.actor.mu), (ours.target_actor, theirs.actor_target.mu)]
        networks += [*critics(ours.critics, theirs.critic), *critics(ours.target_critics, theirs.critic_target)]
    return [(a, b) for x, y in networks for a, b in zip(x.parameters(), parameters_of(y), strict=True)]


def critics(ours, theirs):
    """Both critics of an agent and of SB3's."""
    return [(ours[0], theirs.qf0), (ours[1], theirs.qf1)]


def parameters_of(network):
    """A network's parameters; of SAC's actor, whose output is one layer of ours, with its two output layers as one."""
    if not hasattr(network, "log_std"):
        return list(network.parameters())
    outputs = (network.mu, network.log_std)
    joined = [torch.cat([layer.weight for layer in outputs]), torch.cat([layer.bias for layer in outputs])]
    return [*network.latent_pi.parameters(), *joined]


def copy_weights(name, ours, theirs):
    """Gives ours the weights of SB3's."""
    with torch.no_grad():
        for here, there in weights(name, ours, theirs):
            here.copy_(there)


# --- updates ------------------------------------------------------------------------------------------------------------------


def pair(module, name, env, **changed):
    """Our agent and SB3's, with the same hyperparameters."""
    cls = getattr(module, name)
    task = harness.Task({"algo": name, "env": env, "seed": 1, "steps": 1000, "env_kwargs": {}}, 1, cls.ACTIONS)
    ours = cls(task, module.Hyperparameters(**changed))
    theirs = getattr(stable_baselines3, name)("MlpPolicy", env, seed=0, device="cpu", **changed)
    theirs._setup_learn(1000)
    theirs.set_logger(Logger(None, []))
    return ours, theirs


def compared(name, ours, theirs, ours_trains, theirs_trains):
    """Copies SB3's weights, lets both train with equal noise, and says how far they are apart."""
    copy_weights(name, ours, theirs)
    begun = [here.detach().clone() for here, _ in weights(name, ours, theirs)]
    for trains in (ours_trains, theirs_trains):
        torch.manual_seed(5)
        trains()
    return apart(weights(name, ours, theirs), begun)


def apart(ended, begun):
    """How far weights are apart, as a share of how far ours have moved."""
    between = sum(float((here - there).detach().abs().sum()) for here, there in ended)
    return between / sum(float((here - before).detach().abs().sum()) for (here, _), before in zip(ended, begun, strict=True))


def off_policy(module, name, env, **changed):
    """DQN, SAC or TD3, on batches of made-up transitions."""
    ours, theirs = pair(module, name, env, buffer_size=1000, **changed)
    random, discrete = np.random.default_rng(0), name == "DQN"
    size, width = ours.hp.batch_size, ours.task.observation_size
    batches = []
    for _ in range(UPDATES):
        before, after, rewards = (torch.tensor(random.standard_normal((size, n)), dtype=torch.float32) for n in (width, width, 1))
        actions = random.integers(2, size=(size, 1)) if discrete else random.uniform(-1, 1, (size, 1)).astype(np.float32)
        ends = torch.tensor(random.integers(2, size=(size, 1)), dtype=torch.float32)
        batches.append((before, after, torch.tensor(actions), rewards, ends))
    here, there = iter(batches), iter(batches)
    ours.memory.sample = lambda size: next(here)

    def sample(size, env=None):
        before, after, actions, rewards, ends = next(there)
        return ReplayBufferSamples(before, actions, after, ends, rewards)

    theirs.replay_buffer.sample = sample
    return compared(name, ours, theirs, lambda: [ours.update() for _ in range(UPDATES)], lambda: theirs.train(UPDATES, size))


def on_policy(env, **changed):
    """PPO, on a made-up rollout; minibatches are the whole rollout, for the two draw their orders from other generators."""
    n = 256
    ours, theirs = pair(ppo, "PPO", env, n_steps=n, batch_size=n, n_epochs=UPDATES, **changed)
    random = np.random.default_rng(0)
    observations = torch.tensor(random.standard_normal((n, ours.task.observation_size)), dtype=torch.float32)
    actions = random.integers(2, size=n) if ours.discrete else random.standard_normal((n, 1)).astype(np.float32)
    values, logs, advantages, returns = (torch.tensor(random.standard_normal(n), dtype=torch.float32) for _ in range(4))
    logs = logs.abs().neg()
    actions = torch.tensor(actions)
    batch = RolloutBufferSamples(observations, actions, values, logs, advantages, returns)
    theirs.rollout_buffer.get = lambda size: iter([batch])
    ours.task.scalars = lambda values: None
    rollout = (observations, actions, logs, advantages, returns, values)
    return compared("PPO", ours, theirs, lambda: ours.update(*rollout), theirs.train)


def updates():
    """How far the weights are apart after some updates, by algorithm."""
    return {
        "ppo": on_policy("CartPole-v1", clip_range_vf=0.1),
        "ppo continuous": on_policy("Pendulum-v1", ent_coef=0.01),
        "dqn": off_policy(dqn, "DQN", "CartPole-v1"),
        "sac": off_policy(sac, "SAC", "Pendulum-v1"),
        "td3": off_policy(td3, "TD3", "Pendulum-v1", target_policy_noise=0.0),
    }


# --- trainings ----------------------------------------------------------------------------------------------------------------


def draw_from(generator, theirs):
    """Makes SB3's agent draw from a generator, in the order in which single_file's agents draw."""
    np.random.rand = generator.random
    np.random.permutation = generator.permutation
    # the second kind of call asks in which environment a transition lies; there is one
    np.random.randint = lambda low, high, size: generator.integers(high, size=size) if high > 1 else np.zeros(size, int)
    np.random.normal = lambda mean, std: mean + np.float32(std) * noise(theirs, generator)
    space = theirs.action_space
    if isinstance(space, gymnasium.spaces.Discrete):
        space.sample = lambda: generator.integers(space.n, size=1)[0]
    else:
        unscaled = lambda share: space.low + 0.5 * (share + 1.0) * (space.high - space.low)  # noqa: E731
        space.sample = lambda: unscaled(generator.uniform(-1, 1, (1, *space.shape)).astype(np.float32)[0])
    if isinstance(theirs, stable_baselines3.PPO | stable_baselines3.SAC):
        actor = theirs.policy if isinstance(theirs, stable_baselines3.PPO) else theirs.actor
        draw_actions_from(generator, actor.action_dist, squashed=actor is not theirs.policy)


def noise(theirs, generator):
    """Exploration noise for one action; SB3 adds it to the first, random actions too, TD3's paper and ours do not."""
    if theirs.num_timesteps < theirs.learning_starts:
        return np.zeros(theirs.action_space.shape, np.float32)
    return generator.standard_normal((1, *theirs.action_space.shape), np.float32)[0]


def draw_actions_from(generator, distribution, squashed):
    """The same for the distribution of a policy's actions; in updates SAC's draw from torch's generator, as ours do."""
    as_before = distribution.sample

    def sample():
        inner = distribution.distribution
        if isinstance(inner, torch.distributions.Categorical):
            return torch.argmax(inner.logits + torch.from_numpy(generator.gumbel(size=inner.logits.shape)), dim=1)
        if len(inner.mean) > 1:
            return as_before()
        drawn = inner.mean + inner.stddev * torch.from_numpy(generator.standard_normal(inner.mean.shape, np.float32))
        if squashed:
            distribution.gaussian_actions = drawn
        return torch.tanh(drawn) if squashed else drawn

    distribution.sample = sample


def trained(module, name, env, limit, steps, *, n_envs=1, normalize=False, noise_std=None, **changed):
    """Trains both, with episodes cut off after ``limit`` steps; returns how many there were, alike, and how they ended."""
    cls, stream, changed = getattr(module, name), io.StringIO(), copy.deepcopy(changed)  # SB3 adds to what it is given
    spec = {"algo": name, "env": env, "seed": 1, "steps": steps, "env_kwargs": {"max_episode_steps": limit}, "evaluation": None}
    task = harness.Task(spec, n_envs, cls.ACTIONS)
    own = {"normalize": True} if normalize else {"noise_type": "normal", "noise_std": noise_std} if noise_std else {}
    ours = cls(task, harness.filled(module.Hyperparameters, {**changed, **own, "n_envs": n_envs}, name))
    venv = DummyVecEnv([lambda: Monitor(harness.make_environment(spec))] * n_envs)
    venv._seeds = task.seeds["env"]
    monitors = venv.envs
    if noise_std:
        changed["action_noise"] = NormalActionNoise(np.zeros(ours.actions), noise_std * np.ones(ours.actions))
    if normalize:
        venv = VecNormalize(venv, gamma=changed.get("gamma", 0.99))
    theirs = getattr(stable_baselines3, name)("MlpPolicy", venv, device="cpu", **changed)
    theirs.set_logger(Logger(None, []))
    copy_weights(name, ours, theirs)
    begun = [here.detach().clone() for here, _ in weights(name, ours, theirs)]
    generator = np.random.default_rng()
    generator.bit_generator.state = task.random.bit_generator.state
    draw_from(generator, theirs)
    torch.manual_seed(5)
    theirs.learn(steps)
    torch.manual_seed(5)
    task.begin(ours, stream)
    ours.learn()
    if name == "DQN":
        assert 0.3 < ours.exploration == theirs.exploration_rate < 0.9, (ours.exploration, theirs.exploration_rate)
    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    here = sorted((row["length"], row["return"]) for row in rows if row["t"] == "episode")
    there = sorted(pair for one in monitors for pair in zip(one.get_episode_lengths(), one.get_episode_rewards(), strict=True))
    return {
        "env": env,
        "steps": task.steps,
        "episodes": [len(here), len(there)],
        "cut off": sum(length == limit for length, _ in here),
        "equal lengths": sum(a[0] == b[0] for a, b in zip(here, there, strict=False)),
        "returns apart": max(abs(a[1] - b[1]) / abs(b[1]) for a, b in zip(here, there, strict=False)),
        "weights apart": apart(weights(name, ours, theirs), begun),
    }


def trainings():
    """How far two trainings from equal weights and random numbers are apart, by algorithm."""
    small = {"learning_starts": 100, "batch_size": 32, "buffer_size": 500, "policy_kwargs": {"net_arch": [32, 32]}}
    rollouts = {"n_steps": 128, "batch_size": 48, "n_epochs": 3}
    deep = {"train_freq": 64, "gradient_steps": 32, "target_update_interval": 128, "learning_rate": 1e-3}
    return {
        # of several environments the two put a rollout's steps in other orders, so that minibatches are whole rollouts
        "ppo": trained(ppo, "PPO", "CartPole-v1", 30, 640, n_envs=2, n_steps=64, batch_size=128, n_epochs=5),
        "ppo continuous": trained(ppo, "PPO", "Hopper-v5", 20, 640, normalize=True, **rollouts),
        "dqn": trained(dqn, "DQN", "CartPole-v1", 15, 960, exploration_fraction=1.5, **small, **deep),
        "sac": trained(sac, "SAC", "Hopper-v5", 20, 500, **small),
        "td3": trained(td3, "TD3", "Hopper-v5", 20, 500, noise_std=0.1, target_policy_noise=0.0, **small),
    }


if __name__ == "__main__":
    print(json.dumps({"updates": updates, "trainings": trainings}[sys.argv[2]]()))
