"""How measurements are computed: products of float32 as IEEE 754 has them, sums in one order. The user's own settings come back after.

An accelerator may take float32 operands at 10 bits of mantissa (TF32), add up half-precision products in half precision, and add in an
order that changes from run to run. torch keeps these choices for the whole process.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ARITHMETIC = "float32 products: ieee; sums of half-precision products: float32; order of sums: fixed"
"""What reports say of it, and the keys of figures that an accelerator computes; those of a CPU are the same without."""
_PARENTS = (("generic", "all"), ("cuda", "all"), ("mkldnn", "all"))
_LEAVES = tuple((backend, what) for backend in ("cuda", "mkldnn") for what in ("matmul", "conv", "rnn"))
"""What torch has a precision for: a leaf that states none has its parent's."""
_ORDERED = "(cumsum_cuda_kernel|median CUDA with indices output) does not have a deterministic implementation"
"""Warnings that do not apply: sums up to a place are taken in one order in this mode all the same, and no index of a median is read."""


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Compute float32 products in IEEE float32, sums of half-precision products in float32, and everything in an order that is fixed.

    Settings are torch's own, of the whole process; each is put back on any exit. An operation that has no deterministic form runs, with a
    warning. While this lasts torch refuses to say what was set by its older functions (``torch.get_float32_matmul_precision``), if
    something was.
    """
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_ORDERED)
        _products_in_ieee(stack)
        _sums_in_float32(stack)
        _in_one_order(stack)
        yield


def ordered_attention(device: torch.device) -> AbstractContextManager[None]:
    """On CUDA attend by plain products, as training through attention needs: faster kernels add gradients up in an order that changes."""
    if device.type != "cuda":
        return nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel(SDPBackend.MATH)


def fix_workspaces() -> None:
    """Have cuBLAS work in workspaces of fixed size, as repeatable sums of products need; it reads this when it starts on a device."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def _products_in_ieee(stack: ExitStack) -> None:
    from torch import _C  # The attributes of torch.backends set something else in one case: mkldnn's sets the parent of all.

    for place in (*_PARENTS, *_LEAVES):  # Parents first: what is read of a leaf is its own then, and not what it has from them.
        stack.callback(_C._set_fp32_precision_setter, *place, _C._get_fp32_precision_getter(*place))
        _C._set_fp32_precision_setter(*place, "ieee" if place in _LEAVES else "none")


def _sums_in_float32(stack: ExitStack) -> None:
    from torch.backends import cuda

    for name in ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction"):
        was, split = getattr(cuda.matmul, name), getattr(cuda.matmul, f"{name}_split_k", None)
        stack.callback(setattr, cuda.matmul, name, was if split is None else (was, split))
        setattr(cuda.matmul, name, False if split is None else (False, split))
    stack.callback(setattr, cuda.matmul, "allow_fp16_accumulation", cuda.matmul.allow_fp16_accumulation)
    cuda.matmul.allow_fp16_accumulation = False
    stack.callback(cuda.allow_fp16_bf16_reduction_math_sdp, cuda.fp16_bf16_reduction_math_sdp_allowed())  # type: ignore[no-untyped-call]
    cuda.allow_fp16_bf16_reduction_math_sdp(False)


def _in_one_order(stack: ExitStack) -> None:
    import torch
    from torch.backends import cudnn

    on, warn_only = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    stack.callback(torch.use_deterministic_algorithms, on, warn_only=warn_only)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # What memory held reaches no figure; to fill it would only take time.
    filling: Any = torch.utils.deterministic
    stack.callback(setattr, filling, "fill_uninitialized_memory", filling.fill_uninitialized_memory)
    filling.fill_uninitialized_memory = False
    stack.callback(setattr, cudnn, "benchmark", cudnn.benchmark)
    cudnn.benchmark = False
