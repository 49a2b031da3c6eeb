# ruff: noqa: ANN001, ANN003, ANN201, ANN202 - runs in another environment, whose types are not known here
"""Run by the sb3 environment's Python: do single_file's updates move the weights as Stable-Baselines3's do?

    python single_file_updates.py RUNNER_FOLDER

Both begin with equal weights and get equal batches and noise. Prints for each algorithm as JSON how far the weights of all
networks and targets are apart after some updates, as a share of how far they moved. Means, for Adam magnifies the rounding of a
weight whose gradient is nearly 0.
"""

from __future__ import annotations

import json
import sys

sys.path.insert(0, sys.argv[1])

import dqn
import harness
import numpy as np
import ppo
import sac
import stable_baselines3
import td3
import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples, RolloutBufferSamples

UPDATES = 20
torch.set_num_threads(1)


def pair(module, name, env, **changed):
    """Our agent and SB3's, with the same hyperparameters."""
    cls = getattr(module, name)
    task = harness.Task({"algo": name, "env": env, "seed": 1, "steps": 1000, "env_kwargs": {}}, 1, cls.ACTIONS)
    ours = cls(task, module.Hyperparameters(**changed))
    theirs = getattr(stable_baselines3, name)("MlpPolicy", env, seed=0, device="cpu", **changed)
    theirs._setup_learn(1000)
    theirs.set_logger(Logger(None, []))
    return ours, theirs


def compared(networks, ours_trains, theirs_trains):
    """Copies SB3's weights, lets both train with equal noise, and says how far they are apart."""
    with torch.no_grad():
        for ours, theirs in networks():
            ours.copy_(theirs)
    begun = [ours.detach().clone() for ours, _ in networks()]
    for trains in (ours_trains, theirs_trains):
        torch.manual_seed(5)
        trains()
    apart = sum(float((ours - theirs).detach().abs().sum()) for ours, theirs in networks())
    return apart / sum(float((ours - before).detach().abs().sum()) for (ours, _), before in zip(networks(), begun, strict=True))


def off_policy(module, name, env, networks, **changed):
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
    listed = lambda: [  # noqa: E731
        (a, b) for x, y in networks(ours, theirs) for a, b in zip(x.parameters(), parameters_of(y), strict=True)
    ]
    return compared(listed, lambda: [ours.update() for _ in range(UPDATES)], lambda: theirs.train(UPDATES, size))


def parameters_of(network):
    """A network's parameters; of SAC's actor, whose output is one layer of ours, with its two output layers as one."""
    if not hasattr(network, "log_std"):
        return list(network.parameters())
    outputs = (network.mu, network.log_std)
    joined = [torch.cat([layer.weight for layer in outputs]), torch.cat([layer.bias for layer in outputs])]
    return [*network.latent_pi.parameters(), *joined]


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
    policy = theirs.policy
    extractor = policy.mlp_extractor
    parts = [*extractor.policy_net.parameters(), *policy.action_net.parameters()]
    parts += [*extractor.value_net.parameters(), *policy.value_net.parameters(), *([] if ours.discrete else [policy.log_std])]
    ours.task.scalars = lambda values: None
    return compared(
        lambda: list(zip(ours.parameters, parts, strict=True)),
        lambda: ours.update(observations, actions, logs, advantages, returns, values),
        theirs.train,
    )


def critics(ours, theirs):
    """Both critics of an agent and of SB3's."""
    return [(ours[0], theirs.qf0), (ours[1], theirs.qf1)]


found = {
    "ppo": on_policy("CartPole-v1", clip_range_vf=0.1),
    "ppo continuous": on_policy("Pendulum-v1", ent_coef=0.01),
    "dqn": off_policy(dqn, "DQN", "CartPole-v1", lambda a, b: [(a.network, b.q_net.q_net), (a.target, b.q_net_target.q_net)]),
    "sac": off_policy(
        sac,
        "SAC",
        "Pendulum-v1",
        lambda a, b: [(a.actor, b.actor), *critics(a.critics, b.critic), *critics(a.targets, b.critic_target)],
    ),
    "td3": off_policy(
        td3,
        "TD3",
        "Pendulum-v1",
        lambda a, b: [
            *((a.actor, b.actor.mu), (a.target_actor, b.actor_target.mu)),
            *critics(a.critics, b.critic),
            *critics(a.target_critics, b.critic_target),
        ],
        target_policy_noise=0.0,
    ),
}
print(json.dumps(found))
