"""Intervals cover the truth as often as they say: simulations on subjects whose truth is known. Run by ``pytest tests -m simulation -s``.

The visitors of the sweep are fed streams directly: x and Δ = xA + noise, so that the R² in the limit of much text is known in closed form.
The figures stand in tests/README.md.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.affine_linearity import AffineLinearity
from harness.linearity import CALIBRATION, EVALUATION
from harness.protocol import Protocol
from harness.rank_linearity import RankLinearity
from harness.statistics import kendall_with_depth, spearman_with_depth

D, TOKENS = 4, 32
LEVELS = (0.95, 0.9984)
PROTOCOL = Protocol(window=TOKENS, energy=1.0, ridge=1e-6, typical_factor=1e6, strict_evaluation_windows=64)


def draw(kind: str, windows: int, share: float, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw x and Δ ``(windows, tokens, d)`` whose linear share is ``share``.

    gaussian: independent; heavy: noise of Student's t with 5 degrees of freedom; correlated: the noise's size differs between windows
    (log-normal, σ = 0.5) and is correlated along a window (AR(1), 0.7).
    """
    shape = (windows, TOKENS, D)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    if kind == "heavy":
        chi = torch.randn((*shape, 5), generator=generator, dtype=torch.float64).square().sum(-1)
        noise = noise / (chi / 5).sqrt() * (3 / 5) ** 0.5
    if kind == "correlated":
        for t in range(1, TOKENS):
            noise[:, t] = 0.7 * noise[:, t - 1] + (1 - 0.7**2) ** 0.5 * noise[:, t]
        size = (0.5 * torch.randn((windows, 1, 1), generator=generator, dtype=torch.float64)).exp()
        noise = noise * size / np.exp(0.5**2)
    return x, share**0.5 * x.flip(-1) + (1 - share) ** 0.5 * noise


def measure(visitor, kind: str, shares: list[float], evaluation: int, seed: int):
    """Show a visitor one block for each share."""
    generator = torch.Generator().manual_seed(seed)
    watcher = visitor(32, evaluation, D, PROTOCOL, "cpu")
    for block, share in enumerate(shares):
        for split, windows in ((CALIBRATION, 32), (EVALUATION, evaluation)):
            x, y = draw(kind, windows, share, generator)
            watcher.see(split, 0, x, x + y)
            watcher.end_split(split)
        watcher.end_block(block)
    return watcher.result()


@pytest.mark.simulation
@pytest.mark.parametrize("kind", ["gaussian", "heavy", "correlated"])
def test_r2_is_covered(kind):
    """1,000 repetitions a rung, d = 4, R² = 0.6. At least 92% of 95% intervals and 99% of 99.84% intervals hold the truth.

    With noise of very different size between windows, 16 windows are too few for that: 89% and 98% were found there, and 86% and 97% are
    asked for. No interval is so wide that 95% of them cover in more than 98.5%.
    """
    torch.set_num_threads(1)
    hits: dict[tuple[str, float], int] = {}
    with torch.inference_mode():
        for seed in range(1000):
            found = measure(RankLinearity, kind, [0.6], 16, seed) | measure(AffineLinearity, kind, [0.6], 64, seed + 10**6)
            for rung, linearity in found.items():
                for level in LEVELS:
                    interval = linearity.r2.at(0).interval(level)
                    hits[rung, level] = hits.get((rung, level), 0) + (interval.low <= 0.6 <= interval.high)
    for (rung, level), count in sorted(hits.items()):
        print(f"{kind:10}  {rung:8}  nominal {level:.2%}  covered {count / 1000:.1%}")
    few, enough = (860, 970), (920, 990)
    for (rung, level), count in hits.items():
        assert level != 0.95 or count <= 985
        assert count >= (few if kind == "correlated" and rung != "strict" else enough)[level != 0.95]


@pytest.mark.simulation
@pytest.mark.parametrize("gap", [0.02, 0.005])
@pytest.mark.parametrize("blocks", [12, 30])
def test_rank_correlations_are_attenuated_by_noise(blocks, gap):
    """100 repetitions on ``held-out``, blocks whose R² rises by ``gap`` a block, so that ρ = τ = 1: what the intervals make of it.

    This documents a limit: noise swaps neighbours, which lowers the figures, and the intervals are centred on them.
    """
    torch.set_num_threads(1)
    shares = [0.3 + gap * b for b in range(blocks)]
    hits, means = dict.fromkeys(("ρ", "τ"), 0), dict.fromkeys(("ρ", "τ"), 0.0)
    error = 0.0
    with torch.inference_mode():
        for seed in range(100):
            figure = measure(RankLinearity, "correlated", shares, 16, seed)["held-out"].r2
            error += float(np.std(np.asarray(figure.value) - shares)) / 100
            for name, trend in (("ρ", spearman_with_depth), ("τ", kendall_with_depth)):
                interval = figure.map(trend).interval(0.95, (-1, 1))
                hits[name] += interval.high >= 1 - 1e-9
                means[name] += interval.value / 100
    for name in hits:
        print(f"{blocks} blocks, gap {gap}, error of R² {error:.3f}: {name} mean {means[name]:.2f} of 1, covered {hits[name]}%")
        assert means[name] < (0.97 if gap == 0.02 else 0.7)
