"""Claim 2's interventions written again from their definitions: NumPy and scikit-learn in float64, full forwards with plain hooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.linear_model import Ridge

Array = NDArray[Any]
Map = Callable[[Array], Array]
FACTOR = 1.3
GRID = [10 ** (-8 + 0.5 * i) for i in range(21)]


class Truth:
    """A model on some windows, run whole each time, with blocks replaced at some positions; everything is ``(windows, tokens, d)``."""

    def __init__(self, model: Any, blocks: Sequence[Any], ids: Array) -> None:
        self.model, self.blocks, self.ids = model, blocks, ids
        self.clean, self.logits = self.run({})

    def run(self, replaced: Mapping[int, Array | Map], marked: Array | None = None) -> tuple[list[tuple[Array, Array]], Array]:
        """Run with maps, or with numbers added, in the place of blocks; return each block's input and output, and the logits.

        Where positions are marked, the others take the clean output.
        """
        seen: list[tuple[Array, Array]] = []

        def hook(index: int) -> Any:
            def change(module: Any, args: Any, kwargs: Any, out: Any) -> Any:
                given = (args[0] if args else kwargs["hidden_states"]).numpy()
                after = (out[0] if isinstance(out, tuple) else out).numpy()
                if index in replaced:
                    each = replaced[index]
                    after = given + (each(given) if callable(each) else each)
                    after = after if marked is None else np.where(marked[..., None], after, self.clean[index][1])
                seen.append((given, after))
                new = torch.from_numpy(after)
                return (new, *out[1:]) if isinstance(out, tuple) else new

            return change

        hooks = [block.register_forward_hook(hook(i), with_kwargs=True) for i, block in enumerate(self.blocks)]
        with torch.inference_mode():
            logits = self.model(torch.from_numpy(self.ids), use_cache=False).logits.numpy()
        for each in hooks:
            each.remove()
        return seen, logits

    def typical(self, *blocks: int) -> Array:
        """Tokens that are typical at all of these blocks."""
        marked = np.ones(self.ids.shape, dtype=bool)
        marked[:, 0] = False
        for block in blocks:
            for stream in self.clean[block]:
                norm = np.linalg.norm(stream, axis=-1)
                lower = np.sort(norm, axis=1)[:, [(norm.shape[1] - 1) // 2]]  # the lower median
                marked &= norm <= FACTOR * lower
        return marked

    def nll(self, logits: Array) -> Array:
        """Mean negative log-likelihood of the next token of each window."""
        said = log_softmax(logits[:, :-1], -1)
        return -np.take_along_axis(said, self.ids[:, 1:, None], -1)[..., 0].mean(1)

    def kl(self, logits: Array) -> Array:
        """Mean KL(clean ‖ other) of each window, last position excluded."""
        clean, other = (log_softmax(part[:, :-1], -1) for part in (self.logits, logits))
        return (np.exp(clean) * (clean - other)).sum(-1).mean(1)


def rank_map(x: Array, y: Array, lam: float | None = None, k: int | None = None, energy: float = 0.95) -> tuple[Map, int, float]:
    """Eq. 2 on rows: the map, k and λ."""
    values, v = np.linalg.svd(y, full_matrices=False)[1:]
    held = np.cumsum(values**2) / (values**2).sum()
    k = int(np.searchsorted(held, energy)) + 1 if k is None else k
    lam = 1e-4 * np.trace(x.T @ x) / x.shape[1] if lam is None else lam
    basis = v[:k].T
    fitted = Ridge(alpha=lam, fit_intercept=False, solver="cholesky").fit(x, y @ basis)
    return (lambda h: h @ fitted.coef_.reshape(k, -1).T @ basis.T), k, lam


def full_map(x: Array, y: Array) -> Map:
    """Of full rank, without an intercept, λ as of Eq. 2."""
    fitted = Ridge(alpha=1e-4 * np.trace(x.T @ x) / x.shape[1], fit_intercept=False, solver="cholesky").fit(x, y)
    return lambda h: h @ fitted.coef_.T


def affine_map(x: Array, y: Array, lam: float) -> Map:
    """With an intercept."""
    fitted = Ridge(alpha=lam, solver="cholesky").fit(x, y)
    return lambda h: h @ fitted.coef_.T + fitted.intercept_


def spread(x: Array) -> float:
    """tr(XcᵀXc)/d."""
    return float(np.square(x - x.mean(0)).sum() / x.shape[1])


def chosen(groups: list[tuple[Array, Array]], folds: int = 8) -> float:
    """λ over tr/d with the least held-out error over contiguous folds of the groups, by refitting for every λ."""
    folds = min(folds, len(groups))
    members = [[g for i, g in enumerate(groups) if i * folds // len(groups) == fold] for fold in range(folds)]
    errors = np.zeros(len(GRID))
    for fold in range(folds):
        x, y = (np.concatenate([g[i] for j, m in enumerate(members) if j != fold for g in m]) for i in (0, 1))
        held_x, held_y = (np.concatenate([g[i] for g in members[fold]]) for i in (0, 1))
        errors += [np.square(held_y - affine_map(x, y, penalty * spread(x))(held_x)).sum() for penalty in GRID]
    return GRID[int(np.argmin(errors))]


def r2(fitted: Map, x: Array, y: Array, marked: Array | None, centre: Array | float) -> tuple[Array, Array]:
    """Squared error and energy of each window."""
    error, energy = np.square(y - fitted(x)).sum(-1), np.square(y - centre).sum(-1)
    if marked is not None:
        error, energy = error * marked, energy * marked
    return error.sum(1), energy.sum(1)
