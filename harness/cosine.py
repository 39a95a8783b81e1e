"""The two-dimensional cosine transform of weight matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import scipy.fft
import torch
from torch import Tensor


def dct2(weight: Tensor) -> Tensor:
    """Return the two-dimensional orthonormal DCT-II of a matrix ``(m, n)``: C_m W C_nᵀ, on its device.

    C_n[k, j] = √(2/n) cos(π(2j + 1)k / 2n), its row k = 0 divided by √2: C is orthogonal, so that ‖dct2(W)‖_F = ‖W‖_F.
    Float64 and float32 stay what they are; shorter types are widened to float32. The host computes, whatever the device.
    Source: Ahmed, Natarajan and Rao, Discrete Cosine Transform (1974); computed by SciPy's pocketfft.
    """
    return _on_the_host(scipy.fft.dctn, weight)


def inverse_dct2(coefficients: Tensor) -> Tensor:
    """Return the matrix ``(m, n)`` that has these coefficients: C_mᵀ c C_n, types and devices as for :func:`dct2`."""
    return _on_the_host(scipy.fft.idctn, coefficients)


def _on_the_host(transform: Callable[..., Any], matrix: Tensor) -> Tensor:
    wide = matrix.detach() if matrix.dtype in (torch.float32, torch.float64) else matrix.detach().float()
    # torch is told how many cores are its own, where workers share a machine; SciPy is not.
    found = transform(wide.cpu().numpy(), norm="ortho", workers=torch.get_num_threads())
    return torch.from_numpy(found).to(matrix.device)
