"""Rounding weights column by column, with each column's error made up for by those still to come (GPTQ, arXiv:2210.17323)."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.errors import MeasurementError
from harness.quantizers import Uniform, checked, onto


def gptq(weight: Tensor, second_moment: Tensor, quantizer: Uniform, damping: float = 0.01, block: int = 128) -> Tensor:
    """Return values ``(out, in)`` float64 on the quantiser's grid that keep tr(E H Eᵀ) of the error E small.

    H is ``second_moment`` ``(in, in)``, XᵀX of the inputs at any scale, with ``damping`` times its mean diagonal added to the diagonal.
    Columns are rounded in their order. With H⁻¹ = UᵀU, U upper triangular, rounding column j by e moves the columns k > j by
    −e·U_jk / U_jj, which is least squares for them (Eq. 3 of the paper, by its Cholesky form). Columns beyond a block of ``block`` are
    moved once a block, which changes nothing but the time.

    Grids are those of ``weight`` itself, fixed before the first column ("static groups"); the paper takes a group's when it is reached.
    A column whose input is always zero in ``second_moment`` is rounded plainly: others neither make up for it nor it for them. Many
    implementations set it to zero; an input that is zero on one text need not be on another. The mean diagonal is that of the rest.

    Where H is not positive definite beyond rounding, the damping is raised tenfold (from below 1e-9: to 1e-8) until it is, at most to 1.
    Raises MeasurementError when it is not even then, ValueError when the arguments are no finite matrices of shapes that fit.
    """
    work = checked(weight).clone()
    rows, columns = work.shape
    hessian = second_moment.to(work)
    if hessian.shape != (columns, columns) or not hessian.isfinite().all():
        raise ValueError(f"second_moment is {tuple(second_moment.shape)}, or not finite; expected finite numbers ({columns}, {columns})")
    if not damping >= 0 or block < 1:  # Nor is it when it is no number.
        raise ValueError(f"damping is {damping} and block {block}; expected at least 0 and 1")
    factor = inverse_factor(hessian, damping)
    low, step = quantizer.grid(work)
    for start in range(0, columns, block):
        end = min(start + block, columns)
        errors = work.new_empty(rows, end - start)
        for j in range(start, end):
            rounded = onto(work[:, j], low[:, j], step[:, j], quantizer.values)
            error = (work[:, j] - rounded) / factor[j, j]
            work[:, j + 1 : end] -= torch.outer(error, factor[j, j + 1 : end])
            work[:, j] = rounded
            errors[:, j - start] = error
        work[:, end:] -= errors @ factor[start:end, end:]
    return work


def inverse_factor(hessian: Tensor, damping: float) -> Tensor:
    """Return U ``(in, in)`` upper triangular with UᵀU the inverse of the damped ``hessian``, dead columns apart.

    Raises MeasurementError when damping by the whole mean diagonal does not make it positive definite.
    """
    diagonal = hessian.diagonal()
    dead = diagonal == 0
    mean = diagonal[~dead].mean() if not dead.all() else diagonal.new_ones(())
    system = hessian.masked_fill(dead[:, None] | dead, 0.0)
    # A pivot is what the other columns leave of a diagonal entry; this share of it may be rounding alone.
    rounding = len(hessian) * torch.finfo(hessian.dtype).eps
    while True:
        damped = system.clone()
        damped.diagonal().copy_(torch.where(dead, 1.0, diagonal + damping * mean))
        # Taken backwards: H reversed is LLᵀ, so that H is RRᵀ with R = L reversed upper triangular, and U = R⁻¹. No inverse is factored.
        factor, failed = torch.linalg.cholesky_ex(damped.flip(0, 1))
        factor = factor.flip(0, 1)
        if not failed and (factor.diagonal().square() > rounding * damped.diagonal()).all():
            inverse: Tensor = torch.linalg.solve_triangular(factor, torch.eye(len(hessian)).to(hessian), upper=True)
            return inverse
        if damping >= 1:
            raise MeasurementError("a weight's input second moment is not positive definite, even damped by its mean diagonal")
        damping = min(max(10 * damping, 1e-8), 1.0)
