"""Claim 1 written out from its definitions: float64 NumPy, SciPy and scikit-learn on all rows of what whole forwards gave.

Of the harness only what is drawn at random is taken: chance has no oracle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import scipy.linalg
import scipy.special
import torch
from sklearn.linear_model import Ridge

from tests.small_llama import BLOCKS, GROUPS, PROTOCOL, Change, Whole

K = PROTOCOL.variance.overlap_fewest


def kl(clean: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Σ p (log p − log q) by window, mean over all positions but the last."""
    p, q = (scipy.special.log_softmax(logits[:, :-1], axis=-1) for logits in (clean, other))
    return (np.exp(p) * (p - q)).sum(-1).mean(-1)


def nll(logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """−log p of the next token by window, mean over all positions but the last."""
    found = scipy.special.log_softmax(logits[:, :-1], axis=-1)
    return -np.take_along_axis(found, ids[:, 1:, None], axis=-1)[..., 0].mean(-1)


def rows(stream: np.ndarray, mask: np.ndarray | None, windows: Iterable[int]) -> np.ndarray:
    """The marked tokens of some windows, one a row."""
    return np.concatenate([stream[w] if mask is None else stream[w][mask[w]] for w in windows])


def without(windows: int, group: int, groups: int = GROUPS) -> list[int]:
    """Windows but those of one of so many contiguous groups."""
    return [w for w in range(windows) if w * groups // windows != group]


def every_second(windows: int, first: int = 0) -> list[int]:
    """Windows of every second group."""
    return [w for w in range(windows) if w * GROUPS // windows % 2 == first]


def centred(x: np.ndarray) -> np.ndarray:
    """Rows about their mean."""
    return x - x.mean(0)


def unit(x: np.ndarray) -> float:
    """What λ is measured in: tr(XᵀX)/d about the mean."""
    return float((centred(x) ** 2).sum() / x.shape[1])


def pcs(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of squares along the PCs of rows, descending, and the PCs as columns."""
    _, singular, vt = np.linalg.svd(centred(x), full_matrices=False)
    return singular**2, vt.T


def rank_for(values: np.ndarray, share: float = 0.9) -> int:
    """How many PCs hold a share of the variance."""
    return int(np.argmax(np.cumsum(values) >= share * values.sum())) + 1


def cca(x: np.ndarray, y: np.ndarray, lam_x: float, lam_y: float, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best weights on x and their canonical correlations: Sxy (Syy + λy)⁻¹ Syx w = ρ² (Sxx + λx) w."""
    a, b = centred(x), centred(y)
    inner = a.T @ b @ np.linalg.solve(b.T @ b + lam_y * np.eye(b.shape[1]), b.T @ a)
    squares, weights = scipy.linalg.eigh(inner, a.T @ a + lam_x * np.eye(a.shape[1]))
    return weights[:, ::-1][:, :k], np.sqrt(squares[::-1][:k])


def rrr(x: np.ndarray, y: np.ndarray, lam: float, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best weights of reduced-rank ridge regression, which is least squares with rows √λ I added, and their strengths."""
    d = x.shape[1]
    more, target = np.vstack([centred(x), lam**0.5 * np.eye(d)]), np.vstack([centred(y), np.zeros((d, y.shape[1]))])
    full = np.linalg.lstsq(more, target, rcond=None)[0]
    _, strengths, vt = np.linalg.svd(more @ full, full_matrices=False)
    return full @ vt[:k].T, strengths[:k]


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Mean squared cosine of the principal angles between two spans."""
    return float(np.mean(np.cos(scipy.linalg.subspace_angles(a, b)) ** 2))


def whitened(x: np.ndarray, lam: float, weights: np.ndarray) -> np.ndarray:
    """What weights on x are on z = (Λ + λ)^(−1/2) Qᵀ(x − μ)."""
    values, q = pcs(x)
    return np.sqrt(values + lam)[:, None] * (q.T @ weights)


def cross_validated(x: np.ndarray, y: np.ndarray, mask: np.ndarray, groups: Sequence[int]) -> tuple[float, float]:
    """λ over tr/d with the least error over four contiguous folds of some groups, each fold predicted from the rest; its R²."""
    windows, folds = len(x), PROTOCOL.folds
    members = [[w for w in range(windows) if w * GROUPS // windows in part] for part in np.array_split(groups, folds)]
    penalties, errors, energy = [10.0**power for power in range(-4, 2)], np.zeros(6), 0.0
    for inside in members:
        train = [w for part in members if part is not inside for w in part]
        xs, ys, held, target = (rows(a, mask, some) for some in (train, inside) for a in (x, y))
        energy += ((target - ys.mean(0)) ** 2).sum()
        for i, penalty in enumerate(penalties):
            errors[i] += ((target - ridge(xs, ys, penalty * unit(xs)).predict(held)) ** 2).sum()
    best = int(np.argmin(errors))
    return penalties[best], 1 - errors[best] / energy


def ridge(x: np.ndarray, y: np.ndarray, lam: float) -> Ridge:
    """Ridge regression with an intercept that is not penalised."""
    return Ridge(alpha=lam, solver="svd").fit(x, y)


class Fit:
    """What predicts y from x, both ``(n, d)``; ``unit_of``: the rows in whose spread λ is measured, where they are others."""

    def __init__(self, x: np.ndarray, y: np.ndarray, penalty: float, unit_of: tuple[np.ndarray, np.ndarray] | None = None) -> None:
        self.x, self.y = x, y
        self.lam_x, self.lam_y = (penalty * unit(side) for side in unit_of or (x, y))

    def weights(self, method: str, k: int, factor: float = 1.0) -> np.ndarray:
        """The k best directions of a method ``(d, k)``."""
        if method == "pca":
            return pcs(self.x)[1][:, :k]
        if method == "cca":
            return cca(self.x, self.y, factor * self.lam_x, factor * self.lam_y, k)[0]
        return rrr(self.x, self.y, factor * self.lam_x, k)[0]

    def share(self, factor: float) -> float:
        """‖U_{1…k}‖²/k of the directions of reduced-rank regression in ridge-whitened PC coordinates."""
        basis = scipy.linalg.orth(whitened(self.x, factor * self.lam_x, self.weights("rrr", K, factor)))
        return float((basis[:K] ** 2).sum() / K)

    def r2(self, method: str, k: int, x: np.ndarray, y: np.ndarray) -> float:
        """R² on other rows, about the mean of the fitted ones, of ridge regression on an orthonormal basis of k directions."""
        basis = scipy.linalg.orth(self.weights(method, k))
        left = y - ridge(self.x @ basis, self.y, self.lam_x).predict(x @ basis)
        return float(1 - (left**2).sum() / ((y - self.y.mean(0)) ** 2).sum())


class Boundary:
    """What a projection at a block is made of, on some calibration windows."""

    def __init__(self, run: Whole, rung: str, block: int, windows: list[int] | None = None, k: int | None = None) -> None:
        stream, final = (run.after(b, "calibration") for b in (block, BLOCKS - 1))
        windows = list(range(len(stream))) if windows is None else windows
        x = rows(stream, None if rung == "paper" else run.typical("calibration", block), windows)
        marked = None if rung == "paper" else run.typical("calibration", block, BLOCKS - 1)
        self.mean, self.covariance, (values, self.q) = x.mean(0), np.cov(x.T, bias=True), pcs(x)
        self.k = k or rank_for(values)
        self.dropped = 1 - values[: self.k].sum() / values.sum()
        penalty = cross_validated(stream, final, marked, range(GROUPS))[0] if rung == "strict" else 1e-4
        self.fit = Fit(rows(stream, marked, windows), rows(final, marked, windows), penalty)
        self.predictive = "rrr" if rung == "strict" else "cca"

    def onto(self, basis: np.ndarray) -> Change:
        """Orthogonally, about the mean."""
        return lambda h: self.mean + (h - self.mean) @ basis @ basis.T

    def projected(self) -> Change:
        """Onto the PCs that hold 90% of variance."""
        return self.onto(self.q[:, : self.k])

    def obliquely(self, k: int) -> Change:
        """Keep k predictive scores, and take the rest at its expectation given them."""
        w = self.fit.weights(self.predictive, k)
        write = self.covariance @ w @ np.linalg.inv(w.T @ self.covariance @ w)
        return lambda h: self.mean + (h - self.mean) @ w @ write.T

    def noised(self, seed: int) -> Change:
        """Add noise of the covariance of the text times the share dropped; windows of interventions are one batch."""
        root = scipy.linalg.sqrtm(self.dropped * self.covariance).real

        def drawn(window: int, shape: tuple[int, ...]) -> np.ndarray:
            return torch.randn(shape, generator=torch.Generator().manual_seed(seed * 1_000_003 + window), dtype=torch.float64).numpy()

        return lambda h: h + np.stack([drawn(w, h.shape[1:]) for w in range(len(h))]) @ root
