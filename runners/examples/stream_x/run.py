"""Stream Q(lambda) and stream AC(lambda): every transition is learned from once, as it comes, and then forgotten.

Written from Elsayed, Vasan, Mahmood (2024), Streaming Deep Reinforcement Learning Finally Works, arXiv 2410.14606 ("paper"; its
algorithms are named by their names: SparseInit, ObGD, Normalize Observation, Scale Reward, Stream Q, Stream AC). Beside it:

    Watkins   Watkins (1989), Learning from Delayed Rewards: traces end where an action is not greedy.
    Welford   Welford (1962), Note on a Method for Calculating Corrected Sums of Squares and Products.
    limits    Pardo, Tavakoli, Levdik, Kormushev (2018), Time Limits in Reinforcement Learning, arXiv 1712.00378.

Where we differ from the paper: an episode that a time limit cuts off is bootstrapped (limits), where the paper lets the agent see
the time; and SparseInit leaves every unit one weight, where fewer than ten inputs would leave it none.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from contract import BadSpec, Task, main
from network import Network, sigmoid, softmax, softplus


@dataclass
class Hyperparameters:
    """The paper's values, one set for everything; the last five switch one technique off each."""

    learning_rate: float = 1.0  # before ObGD bounds it
    gamma: float = 0.99
    trace_decay: float = 0.8  # lambda
    kappa_value: float = 2.0  # ObGD: how far from overshooting the values stay
    kappa_policy: float = 3.0  # the same for stream AC's policy
    entropy_coef: float = 0.01  # stream AC: tau
    exploration_fraction: float = 0.05  # stream Q: of all steps, over which epsilon falls
    exploration_final_eps: float = 0.01
    net_arch: list[int] = field(default_factory=lambda: [128, 128])
    sparsity: float = 0.9  # SparseInit: the share of each unit's weights that begin at 0
    layer_norm: bool = True
    bound_step: bool = True  # ObGD; false: a plain step of learning_rate
    normalize_observations: bool = True
    scale_rewards: bool = True


class Statistics:
    """Running mean and variance (Welford; the paper's sample mean and variance)."""

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        self.count, self.mean, self.squares = 0, np.zeros(shape), np.zeros(shape)

    def add(self, value: np.ndarray | float) -> None:
        """Takes one in."""
        self.count += 1
        before = value - self.mean
        self.mean = self.mean + before / self.count
        self.squares = self.squares + before * (value - self.mean)

    @property
    def deviation(self) -> np.ndarray:
        """The standard deviation; 1 as long as there are not two values."""
        return np.sqrt(self.squares / (self.count - 1) + 1e-8) if self.count > 1 else np.ones_like(self.mean)


class Stream:
    """What both algorithms share: the environment as the agent sees it, and the bounded step."""

    def __init__(self, task: Task, hyperparameters: Hyperparameters) -> None:
        hp = hyperparameters
        self.task, self.hp, self.env = task, hp, task.make_env()
        if min(hp.net_arch, default=0) < 1 or not all(type(units) is int for units in hp.net_arch):
            raise BadSpec(f"net_arch is {hp.net_arch}, but must be whole numbers above 0")
        if not (0 <= hp.sparsity < 1 and 0 <= hp.gamma <= 1 and 0 <= hp.trace_decay <= 1):
            raise BadSpec("gamma and trace_decay must be from 0 to 1, and sparsity below 1")
        space = self.env.observation_space
        if len(space.shape or ()) != 1:
            raise BadSpec(f"{task.algo} needs a vector of numbers to observe, {task.env} has {space}")
        self.random = np.random.default_rng(task.seed)
        self.inputs, self.choices = space.shape[0], int(getattr(self.env.action_space, "n", 0))
        self.seen, self.rewards, self.reward_trace = Statistics(space.shape), Statistics(), 0.0

    def network(self, outputs: int) -> Network:
        """A network of the paper's kind."""
        return Network([self.inputs, *self.hp.net_arch, outputs], self.hp.sparsity, self.hp.layer_norm, self.random)

    def observed(self, observation: np.ndarray, learn: bool = True) -> np.ndarray:
        """Normalize Observation: less the mean of all that was seen, in standard deviations."""
        if not self.hp.normalize_observations:
            return np.asarray(observation, np.float32)
        if learn:
            self.seen.add(np.asarray(observation, float))
        return ((observation - self.seen.mean) / self.seen.deviation).astype(np.float32)

    def scaled(self, reward: float, over: bool) -> float:
        """Scale Reward: in standard deviations of the discounted sum of rewards; not centred, so that signs stay."""
        if not self.hp.scale_rewards:
            return reward
        self.reward_trace = self.hp.gamma * self.reward_trace * (not over) + reward
        self.rewards.add(self.reward_trace)
        return reward / float(self.rewards.deviation)

    def update(self, network: Network, gradient: np.ndarray, error: float, kappa: float) -> float:
        """ObGD (paper, algorithm 3): a step along the trace that cannot overshoot; returns the step size."""
        hp = self.hp
        network.trace *= hp.gamma * hp.trace_decay
        network.trace += gradient
        size = hp.learning_rate
        if hp.bound_step:
            # An update of this size would move the output by at most kappa times its error's bound: 1 of it overshoots.
            bound = hp.learning_rate * kappa * max(abs(error), 1.0) * float(np.abs(network.trace).sum())
            size = hp.learning_rate / max(bound, 1.0)
        network.weights += (size * error) * network.trace
        return size

    def train(self) -> None:
        """Acts, learns from the one transition, and goes on."""
        task = self.task
        observation, _ = self.env.reset()
        now, next_report = self.observed(observation), 0
        while not task.over:
            action, aside = self.act(now)
            observation, reward, terminated, truncated, _ = self.env.step(self.played(action))
            over, then = terminated or truncated, self.observed(observation)
            scaled = self.scaled(float(reward), over)
            error, size = self.learn(now, action, scaled, then, terminated)
            if over or aside:
                self.forget()
            if task.steps >= next_report:
                next_report = task.steps + 1000
                task.check_finite(*(network.weights for network in self.networks))
                task.scalar("td_error", error)
                task.scalar("step_size", size)
            now = self.observed(self.env.reset()[0]) if over else then
        task.check_finite(*(network.weights for network in self.networks))

    def played(self, action: np.ndarray) -> np.ndarray:
        """An action as the environment takes it."""
        return action

    def forget(self) -> None:
        """Ends the traces: with the episode, or with an action that was not greedy."""
        for network in self.networks:
            network.trace[:] = 0


class StreamQ(Stream):
    """Stream Q(lambda), for discrete actions."""

    def __init__(self, task: Task, hyperparameters: Hyperparameters) -> None:
        super().__init__(task, hyperparameters)
        if not self.choices:
            raise BadSpec(f"stream_q needs Discrete actions, {task.env} has {self.env.action_space}")
        self.networks = [self.network(self.choices)]

    def act(self, now: np.ndarray) -> tuple[int, bool]:
        """Epsilon-greedy, epsilon falling linearly from 1; and whether the action is not the greedy one."""
        hp, task = self.hp, self.task
        share = min(1.0, task.steps / max(1.0, hp.exploration_fraction * task.total))
        greedy = self.best(now)
        if self.random.random() >= 1 + share * (hp.exploration_final_eps - 1):
            return greedy, False
        action = int(self.random.integers(self.choices))
        return action, action != greedy

    def best(self, now: np.ndarray) -> int:
        """The action of the greatest value."""
        return int(np.argmax(self.networks[0].outputs(now)))

    def learn(self, now: np.ndarray, action: int, reward: float, then: np.ndarray, end: bool) -> tuple[float, float]:
        """Stream Q: the error of one value, and a step along the trace of its gradients (Watkins ends it in ``train``)."""
        [network] = self.networks
        future = 0.0 if end else float(network.outputs(then).max())
        values = network.outputs(now)
        error = reward + self.hp.gamma * future - float(values[action])
        chosen = np.zeros(self.choices, np.float32)
        chosen[action] = 1
        return error, self.update(network, network.gradient(chosen), error, self.hp.kappa_value)


class StreamAC(Stream):
    """Stream AC(lambda): a softmax policy for discrete actions, a Gaussian one for continuous."""

    def __init__(self, task: Task, hyperparameters: Hyperparameters) -> None:
        super().__init__(task, hyperparameters)
        self.size = self.choices or 2 * self.env.action_space.shape[0]
        self.networks = [self.network(1), self.network(self.size)]

    def act(self, now: np.ndarray) -> tuple[np.ndarray | int, bool]:
        """An action drawn from the policy."""
        outputs = self.networks[1].outputs(now)
        if self.choices:
            return int(np.searchsorted(np.cumsum(softmax(outputs))[:-1], self.random.random(), side="right")), False
        mean, spread = np.split(outputs, 2)
        return mean + softplus(spread) * self.random.standard_normal(len(mean)).astype(np.float32), False

    def best(self, now: np.ndarray) -> np.ndarray | int:
        """The likeliest action."""
        outputs = self.networks[1].outputs(now)
        return int(np.argmax(outputs)) if self.choices else self.played(outputs[: self.size // 2])

    def played(self, action: np.ndarray) -> np.ndarray:
        """What lies beyond the bounds is cut off; learned from is the action that was drawn."""
        space = self.env.action_space
        return action if self.choices else np.clip(action, space.low, space.high)

    def learn(self, now: np.ndarray, action: np.ndarray, reward: float, then: np.ndarray, end: bool) -> tuple[float, float]:
        """Stream AC: values and policy take a step each, along traces of their own, with the one error."""
        critic, actor = self.networks
        future = 0.0 if end else float(critic.outputs(then)[0])
        error = reward + self.hp.gamma * future - float(critic.outputs(now)[0])
        size = self.update(critic, critic.gradient(np.ones(1, np.float32)), error, self.hp.kappa_value)
        likelier, wider = self.policy_gradients(actor.outputs(now), action)
        # Stream AC: the entropy's gradient gets the error's sign, which the step multiplies it by, so that it always widens
        gradient = actor.gradient(likelier + self.hp.entropy_coef * np.sign(error).astype(np.float32) * wider)
        self.update(actor, gradient, error, self.hp.kappa_policy)
        return error, size

    def policy_gradients(self, outputs: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The gradients of the action's log-likelihood and of the policy's entropy, in the network's outputs."""
        if self.choices:
            shares = softmax(outputs)
            logs = np.log(shares + 1e-12)
            return np.eye(self.choices, dtype=np.float32)[action] - shares, -shares * (logs - (shares * logs).sum())
        mean, spread = np.split(outputs, 2)
        deviation, slope = softplus(spread), sigmoid(spread)
        off = (action - mean) / deviation
        likelier = np.concatenate([off / deviation, (off**2 - 1) / deviation * slope])
        return likelier, np.concatenate([np.zeros_like(mean), slope / deviation])


def trainer(cls: type[Stream]):  # noqa: ANN201
    """What contract.py calls for an algorithm."""

    def train(task: Task, hyperparameters: Hyperparameters) -> None:
        agent = cls(task, hyperparameters)
        task.begin(lambda observation, deterministic: agent.played(agent.best(agent.observed(observation, learn=False))))
        with np.errstate(all="ignore"):  # what overflows is found by check_finite
            agent.train()

    return train


if __name__ == "__main__":
    main({"stream_q": (trainer(StreamQ), Hyperparameters), "stream_ac": (trainer(StreamAC), Hyperparameters)})
