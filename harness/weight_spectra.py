"""The measuring of :class:`harness.concentration.Concentration`, one weight matrix at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.anatomy import Anatomy
from harness.concentration import assembled
from harness.cosine import dct2
from harness.layer_inputs import LayerInputs
from harness.layers import Layer
from harness.statistics import Array
from harness.work import Work

_CHUNK = 1 << 20
_PROBE = 16  # tokens that show which weights multiply activations


def measure(work: Work) -> dict[str, Array]:
    """Measure every linear layer of every block, the embedding and a head of its own: the same on every rung, as no text is run."""
    shuffles, seed, anatomy = work.protocol.reconstruction.shuffles, work.protocol.seed, work.anatomy
    layers = []
    for block, found in enumerate(_layers(anatomy)):
        for i, layer in enumerate(found):
            layers.append((layer.name, block, concentration_of(layer.matrix(), shuffles, (seed, block, i))))
        work.progress(block + 1, work.blocks)
    embedding, head = (getattr(module, "weight", None) for module in (anatomy.embedding, anatomy.head))
    tables = {"embedding": embedding} if isinstance(embedding, Tensor) else {}
    if isinstance(head, Tensor) and (embedding is None or head.data_ptr() != embedding.data_ptr()):
        tables["head"] = head
    embeddings = [(n, concentration_of(w, shuffles, (seed, work.blocks, i))) for i, (n, w) in enumerate(tables.items())]
    arrays = assembled(layers, embeddings)
    return {f"{rung}/{name}": array for rung in work.rungs for name, array in arrays.items()}


@torch.inference_mode()
def _layers(anatomy: Anatomy) -> list[list[Layer]]:
    """Return the linear layers of every block, which a few tokens show."""
    stream, calls = anatomy.enter(torch.arange(_PROBE, device=anatomy.device)[None] % anatomy.vocabulary)
    with LayerInputs(anatomy) as inputs:
        for block, call in enumerate(calls):
            stream = anatomy.run(block, stream, call)
            inputs.take(*stream.shape[:2])
        return [inputs.layers(block) for block in range(len(anatomy.blocks))]


def concentration_of(weight: Tensor, shuffles: int, seed: int | Sequence[int]) -> dict[str, Array]:
    """Measure a matrix ``(m, n)`` as :data:`harness.concentration.MEASURES` says: ``gini``, ``energy ()``, ``…_shuffled (shuffles)``.

    ``seed``: of the permutations of W's entries, one number or several (of which one may tell the matrix); the first permutations are the
    same however many there are. NaN for a matrix of zeros.

    Entries are taken in float32 and sums over their coefficients in float64. The transform rounds by about 1e-7 of ‖W‖, which moves Gini
    and energy by at most a few times as much, whatever W. An embedding of 49152 × 576 takes less than 0.5 GB beside its own weights.
    Source: arXiv:2604.20682 §5. Entries that are shuffled keep the distribution of their values and lose only where they stand:
    the coefficient of their mean stays what it is, so that a mean makes no excess.
    """
    # A copy, laid out row by row: it is shuffled in place.
    entries = np.array(weight.detach().cpu().float().numpy(), order="C")
    found, generator, flat = [_concentration(entries)], np.random.default_rng(seed), entries.reshape(-1)
    for _ in range(shuffles):
        generator.shuffle(flat)
        found.append(_concentration(entries))
    gini, energy = np.array(found, dtype=np.float64).T
    return {"gini": np.array(gini[0]), "energy": np.array(energy[0]), "gini_shuffled": gini[1:], "energy_shuffled": energy[1:]}


def _concentration(entries: NDArray[np.float32]) -> tuple[float, float]:
    """Gini of the squared coefficients, and the share of their sum in the largest quarter, n/4 of n rounded up.

    As :func:`harness.statistics.gini`, which would take five float64 arrays of all coefficients; sizes order as squares do, and squares
    are taken in float64, where none vanishes.
    """
    sizes = dct2(torch.from_numpy(entries)).abs_().reshape(-1).numpy()
    sizes.sort()
    n, total, weighted, largest = len(sizes), 0.0, 0.0, 0.0
    for first in range(0, n, _CHUNK):
        squares = sizes[first : first + _CHUNK].astype(np.float64) ** 2
        ranks = np.arange(first + 1, first + len(squares) + 1, dtype=np.float64)
        total += float(squares.sum())
        weighted += float((2 * ranks - n - 1) @ squares)
        largest += float(squares[max(0, n - -(-n // 4) - first) :].sum())
    return (weighted / (n * total), largest / total) if total > 0 else (np.nan, np.nan)
