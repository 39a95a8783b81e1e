"""The recipe of an exit head written again from its definition: RMSNorm, softmax and AdamW by hand, in NumPy float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

Array = NDArray[np.float64]
BETAS, EPSILON = (0.9, 0.999), 1e-8


class Oracle:
    """g ⊙ x/√(mean x² + ε) times Wᵀ; ``target (n, words)`` is a distribution, one-hot for text."""

    def __init__(self, gain: Array, weight: Array, epsilon: float) -> None:
        self.parameters = [gain.astype(np.float64).copy(), weight.astype(np.float64).copy()]
        self._epsilon, self._step = epsilon, 0
        self._moments = [[np.zeros_like(p), np.zeros_like(p)] for p in self.parameters]

    def normed(self, x: Array) -> Array:
        """Return x over its root mean square."""
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + self._epsilon)

    def logits(self, x: Array) -> Array:
        """Return logits ``(n, words)``."""
        gain, weight = self.parameters
        return (self.normed(x) * gain) @ weight.T

    def loss(self, x: Array, target: Array) -> float:
        """Cross-entropy with the target minus its entropy: KL(target ‖ head), which of text is −log p."""
        entropy = np.where(target > 0, target * np.log(np.where(target > 0, target, 1)), 0).sum(-1)
        return float((entropy - (target * log_softmax(self.logits(x), -1)).sum(-1)).mean())

    def step(self, x: Array, target: Array, rate: float) -> float:
        """Take one step of AdamW without decay; return the loss before it."""
        loss, n = self.loss(x, target), self.normed(x)
        gain, weight = self.parameters
        error = (softmax(self.logits(x), -1) - target) / len(x)
        gradients = [((error @ weight) * n).sum(0), error.T @ (n * gain)]
        self._step += 1
        for parameter, gradient, moments in zip(self.parameters, gradients, self._moments, strict=True):
            for moment, beta, power in zip(moments, BETAS, (1, 2), strict=True):
                moment *= beta
                moment += (1 - beta) * gradient**power
            first, second = (moment / (1 - beta**self._step) for moment, beta in zip(moments, BETAS, strict=True))
            parameter -= rate * first / (np.sqrt(second) + EPSILON)
        return loss


def schedule(steps: int, warmup: int) -> list[float]:
    """Share of the rate at each step: linear up to 1, half a cosine down."""
    down = steps - warmup
    return [(i + 1) / warmup for i in range(warmup)] + [(1 + math.cos(math.pi * i / down)) / 2 for i in range(down)]


def one_hot(tokens: Sequence[int] | NDArray[np.int64], words: int) -> Array:
    """Return the distribution that is sure of each token."""
    return np.eye(words)[np.asarray(tokens)]
