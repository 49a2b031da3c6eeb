"""A network for one sample at a time: its weights are one vector, and so are its gradient and its eligibility trace.

Details from Elsayed, Vasan, Mahmood (2024), arXiv 2410.14606 ("paper"), LeCun, Bottou, Orr, Müller (1998), Efficient BackProp
("LeCun"), and Ba, Kiros, Hinton (2016), Layer Normalization, arXiv 1607.06450 ("LayerNorm").
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

SLOPE = 0.01  # of the leaky rectifier below 0
EPSILON = 1e-5  # LayerNorm, added to the variance


class Network:
    """Linear layers; between them normalization without learned weights, then a leaky rectifier (paper: before each activation).

    Attributes:
        weights: All weights and biases.
        trace: The eligibility trace of each.
    """

    def __init__(self, sizes: list[int], sparsity: float, layer_norm: bool, random: np.random.Generator) -> None:
        count = sum(outputs * (inputs + 1) for inputs, outputs in pairwise(sizes))
        self.layer_norm = layer_norm
        self.weights, self.trace, self.flat = (np.zeros(count, np.float32) for _ in range(3))
        self.layers, self.slots = views(self.weights, sizes), views(self.flat, sizes)
        for matrix, _ in self.layers:  # biases begin at 0
            matrix[:] = sparse(matrix.shape, sparsity, random)

    def outputs(self, inputs: np.ndarray) -> np.ndarray:
        """What it says for one input; ``gradient`` refers to the last one."""
        self.inputs, self.normal, self.scale = [inputs], [], []
        for matrix, bias in self.layers[:-1]:
            before = matrix @ self.inputs[-1] + bias
            scale = np.float32(1.0)
            if self.layer_norm:
                centred = before - before.mean()
                scale = 1 / np.sqrt((centred * centred).mean() + np.float32(EPSILON))
                before = centred * scale
            self.normal.append(before)
            self.scale.append(scale)
            self.inputs.append(np.where(before > 0, before, np.float32(SLOPE) * before))
        matrix, bias = self.layers[-1]
        return matrix @ self.inputs[-1] + bias

    def gradient(self, upstream: np.ndarray) -> np.ndarray:
        """The gradient of ``upstream @ outputs`` in all weights; overwritten by the next call."""
        for index in range(len(self.layers) - 1, -1, -1):
            matrix, bias = self.slots[index]
            np.multiply(upstream[:, None], self.inputs[index], out=matrix)
            bias[:] = upstream
            if index:
                normal = self.normal[index - 1]
                upstream = (upstream @ self.layers[index][0]) * np.where(normal > 0, np.float32(1), np.float32(SLOPE))
                if self.layer_norm:  # through the mean and the deviation too
                    upstream = upstream - upstream.mean() - normal * (upstream * normal).mean()
                    upstream = upstream * self.scale[index - 1]
        return self.flat


def views(flat: np.ndarray, sizes: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The matrix and the bias of each layer, as parts of one vector."""
    layers, at = [], 0
    for inputs, outputs in pairwise(sizes):
        matrix = flat[at : at + outputs * inputs].reshape(outputs, inputs)
        at += outputs * inputs
        layers.append((matrix, flat[at : at + outputs]))
        at += outputs
    return layers


def sparse(shape: tuple[int, int], sparsity: float, random: np.random.Generator) -> np.ndarray:
    """SparseInit (paper): LeCun's uniform weights, and in each unit a share of them 0; one at least is left."""
    inputs = shape[1]
    bound = 1 / math.sqrt(inputs)
    weights = random.uniform(-bound, bound, shape)
    zeros = min(math.ceil(sparsity * inputs), inputs - 1)
    for row in weights:
        row[random.permutation(inputs)[:zeros]] = 0
    return weights


def softmax(x: np.ndarray) -> np.ndarray:
    """Shares that add up to 1."""
    shares = np.exp(x - x.max())
    return shares / shares.sum()


def softplus(x: np.ndarray) -> np.ndarray:
    """The logarithm of 1 + e^x (paper: the standard deviation of Stream AC's policy)."""
    return np.logaddexp(np.float32(0), x)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """The slope of ``softplus``."""
    return (1 / (1 + np.exp(-x))).astype(np.float32)
