"""The example stream_x: its gradient is the gradient, its step cannot overshoot, its statistics are those of all it saw."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrlb_runners.template import examples, write_runner


@pytest.fixture(scope="module")
def stream_x(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The example's run.py, imported as a script beside it would."""
    folder = tmp_path_factory.mktemp("example") / "mine"
    assert examples() == ["stream_x"]
    write_runner("mine", folder, example="stream_x")
    assert 'name = "mine"' in (folder / "runner.toml").read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setattr(sys, "dont_write_bytecode", True)
        names = ("run", "network", "contract")
        assert not set(names) & set(sys.modules)
        yield import_module("run")
        for name in names:
            sys.modules.pop(name, None)


@pytest.mark.parametrize("layer_norm", [True, False])
def test_the_gradient_is_the_gradient(stream_x: ModuleType, layer_norm: bool) -> None:
    random = np.random.default_rng(0)
    sizes = [5, 7, 6, 3]
    network = stream_x.Network(sizes, 0.5, layer_norm, random)
    module = sys.modules["network"]
    network.weights = network.weights + 0.1 * random.standard_normal(len(network.weights))  # doubles, to difference them
    network.flat = np.zeros_like(network.weights)
    network.layers, network.slots = module.views(network.weights, sizes), module.views(network.flat, sizes)
    inputs, upstream = random.standard_normal(5), np.array([1.0, -2.0, 0.5])
    network.outputs(inputs)
    found, expected = network.gradient(upstream).copy(), np.zeros_like(network.weights)
    for index, value in enumerate(network.weights):
        values = []
        for moved in (value + 1e-6, value - 1e-6):
            network.weights[index] = moved
            values.append(float(upstream @ network.outputs(inputs)))
        network.weights[index] = value
        expected[index] = (values[0] - values[1]) / 2e-6
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_sparse_weights_are_lecuns_and_every_unit_has_one(stream_x: ModuleType) -> None:
    random = np.random.default_rng(0)
    for inputs in (1, 4, 9, 11, 128):
        weights = sys.modules["network"].sparse((50, inputs), 0.9, random)
        left = (weights != 0).sum(axis=1)
        assert set(left) == {max(1, inputs - int(np.ceil(0.9 * inputs)))}
        assert np.abs(weights).max() <= inputs**-0.5


@given(error=st.floats(-1e6, 1e6), kappa=st.floats(1, 5), seed=st.integers(0, 100), steps=st.integers(1, 3))
def test_a_bounded_step_does_not_overshoot(stream_x: ModuleType, error: float, kappa: float, seed: int, steps: int) -> None:
    random = np.random.default_rng(seed)
    network = stream_x.Network([3, 1], 0.0, False, random)  # linear: the change of its output is exact
    agent = SimpleNamespace(hp=stream_x.Hyperparameters(gamma=0.9))
    for _ in range(steps):
        inputs = np.clip(random.standard_normal(3), -1, 1).astype(np.float32)  # as large as normalized ones mostly are
        before = float(network.outputs(inputs)[0])
        size = stream_x.Stream.update(agent, network, network.gradient(np.ones(1, np.float32)), error, kappa)
        moved = float(network.outputs(inputs)[0]) - before
        assert 0 < size <= 1
        assert abs(moved) <= max(abs(error), 1.0) / kappa * (1 + 1e-3) + 1e-5


def test_an_unbounded_step_is_the_plain_one(stream_x: ModuleType) -> None:
    network = stream_x.Network([2, 1], 0.0, False, np.random.default_rng(0))
    network.outputs(np.array([3.0, 4.0], np.float32))
    before, gradient = network.weights.copy(), network.gradient(np.ones(1, np.float32)).copy()
    agent = SimpleNamespace(hp=stream_x.Hyperparameters(bound_step=False, learning_rate=0.5))
    stream_x.Stream.update(agent, network, gradient, 2.0, 1.0)
    np.testing.assert_allclose(network.weights, before + 0.5 * 2.0 * gradient, rtol=1e-6)
    assert gradient.tolist() == [3.0, 4.0, 1.0]


def test_statistics_are_those_of_all_that_was_seen(stream_x: ModuleType) -> None:
    values = np.random.default_rng(0).normal(5.0, 3.0, (20, 2))
    found = stream_x.Statistics((2,))
    assert found.deviation.tolist() == [1.0, 1.0]
    for value in values:
        found.add(value)
    np.testing.assert_allclose(found.mean, values.mean(axis=0))
    np.testing.assert_allclose(found.deviation, values.std(axis=0, ddof=1), rtol=1e-6)


def test_policy_gradients_are_those_of_the_log_likelihood_and_the_entropy(stream_x: ModuleType) -> None:
    def differenced(value: Callable[[np.ndarray], float], outputs: np.ndarray) -> list[float]:
        steps = np.eye(len(outputs)) * 1e-6
        return [(value(outputs + step) - value(outputs - step)) / 2e-6 for step in steps]

    def likelihood(outputs: np.ndarray) -> float:
        return float(np.log(stream_x.softmax(outputs))[1])

    def entropy(outputs: np.ndarray) -> float:
        shares = stream_x.softmax(outputs)
        return float(-(shares * np.log(shares)).sum())

    outputs = np.array([0.3, -0.2, 0.9])
    found = stream_x.StreamAC.policy_gradients(SimpleNamespace(choices=3), outputs, 1)
    np.testing.assert_allclose(found[0], differenced(likelihood, outputs), atol=1e-6)
    np.testing.assert_allclose(found[1], differenced(entropy, outputs), atol=1e-6)

    action = np.array([0.7, -1.1])

    def gaussian(outputs: np.ndarray) -> float:
        mean, deviation = outputs[:2], np.logaddexp(0, outputs[2:])
        return float((-(((action - mean) / deviation) ** 2) / 2 - np.log(deviation)).sum())

    outputs = np.array([0.3, -0.2, 0.5, -0.4])
    found = stream_x.StreamAC.policy_gradients(SimpleNamespace(choices=0), outputs, action)
    np.testing.assert_allclose(found[0], differenced(gaussian, outputs), atol=1e-6)
    np.testing.assert_allclose(found[1], differenced(lambda o: float(np.log(np.logaddexp(0, o[2:])).sum()), outputs), atol=1e-6)
