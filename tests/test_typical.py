"""The rule of typical tokens, on each of its parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.typical import typical


def stream(windows: int = 3, tokens: int = 9, d: int = 4, seed: int = 0) -> torch.Tensor:
    """Rows of norm one."""
    rows = torch.randn(windows, tokens, d, generator=torch.Generator().manual_seed(seed))
    return rows / rows.norm(dim=-1, keepdim=True)


def test_the_first_token_is_never_typical_and_others_of_one_norm_always_are():
    """BOS or not, the first position is out."""
    mask = typical(stream(), stream(seed=1), 10.0)
    assert not mask[:, 0].any()
    assert mask[:, 1:].all()


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(("norm", "kept"), [(9.9, True), (10.1, False)])
def test_ten_times_the_median_at_either_boundary_is_too_much(side, norm, kept):
    """Before the block or after it; a norm just below stays."""
    pair = [stream(), stream(seed=1)]
    pair[side][1, 5] *= norm
    mask = typical(*pair, 10.0)
    assert bool(mask[1, 5]) is kept
    mask[1, 5] = True
    assert mask[:, 1:].all()


def test_the_measure_is_the_windows_own_median():
    """Not the mean, which massive tokens raise, and not another window's."""
    x = stream()
    x[0, 1:4] *= 20.0  # the mean of window 0 is 7.3, its median 1
    x[2] *= 1000.0  # a window in another unit is typical throughout
    mask = typical(x, stream(), 10.0)
    assert mask[0].tolist() == [False, False, False, False, True, True, True, True, True]
    assert mask[1, 1:].all()
    assert mask[2, 1:].all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.floats(1.0, 20.0), st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
def test_the_mask_equals_the_rule_written_out(seed, factor, dtype):
    """Token by token in NumPy; half precision is widened before norms are taken."""
    scale = torch.randn(2, 3, 9, 1, generator=torch.Generator().manual_seed(seed)).exp() ** 2
    pair = [(stream(seed=seed + i) * scale[i]).to(dtype) for i in range(2)]
    ours = typical(*pair, factor)
    for w in range(3):
        for t in range(9):
            expected = t > 0
            for side in pair:
                norms = np.linalg.norm(side[w].double().numpy(), axis=-1)
                ratio = norms[t] / np.median(norms)
                if abs(ratio - factor) < 1e-3 * factor:
                    break  # too near to call in float32
                expected = expected and ratio <= factor
            else:
                assert bool(ours[w, t]) is bool(expected)


def test_large_half_precision_norms_do_not_overflow():
    """A norm beyond fp16's range is still finite, and compared."""
    x = torch.full((1, 5, 64), 3e4, dtype=torch.float16)
    assert typical(x, x, 10.0)[0].tolist() == [False, True, True, True, True]
