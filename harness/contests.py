"""One layer in the arena: every method against what it is compared with, at as many stored bits.

Direct quantisation never has fewer bits: it has 16 levels, or as many as the method's bits pay for. As those are seldom a whole number
of levels, some entries have one level more than the others: error and bits are those of the mixture, so that both store the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fixtures.naming import printable
from harness.allocation import KEPT
from harness.errors import MeasurementError
from harness.layer_moments import Scored
from harness.methods import Given, Inputs, Method, Stored
from harness.protocol import ReconstructionProtocol
from harness.quantizers import FINE as _FINE
from harness.quantizers import Per, Uniform
from harness.statistics import Array

HALF = "half"
"""The choice of calibration tokens that is half of the windows."""
_MOST_LEVELS = 1 << 20  # Of direct quantisation: beyond it a ratio is a lower bound, which a caveat says.
_PRODUCTS = KEPT - (6 << 20)  # bytes of products EᵀE held at once, by each of the layers that run side by side: few enough to be kept
_PARTS = 4  # of their columns: more save little and make the products small

Key = tuple[str, str, str]
"""A changed weight: what made it, what shares a scale, and the calibration tokens it was fitted to, "" for none."""
Keep = Callable[[Key, Tensor], None]


@dataclass(frozen=True)
class Side:
    """A rung: the calibration tokens that methods are fitted to, and the moments on which errors are scored."""

    choice: str
    scored: Scored


@dataclass(frozen=True)
class Contests:
    """The methods of a layout, and what shares a scale there: ``own``, beside groups of columns."""

    methods: Mapping[str, Method]
    protocol: ReconstructionProtocol
    own: Per
    halves: bool

    def scales(self, method: Method) -> tuple[Per, Per]:
        """What shares a scale, by grain."""
        return ("tensor", self.protocol.codebook_groups) if method.codebook else (self.own, self.protocol.groups)

    def key(self, method: Method, grain: int, choice: str) -> Key:
        """Name the weight that a method makes."""
        return method.name, str(self.scales(method)[grain]), choice if method.fitted else ""

    def direct(self, grain: int = 0) -> Key:
        """Name the weight that direct quantisation with 16 levels makes."""
        return f"direct/{self.protocol.levels}", str((self.own, self.protocol.groups)[grain]), ""

    def measure(self, given: Given, inputs: Mapping[str, Inputs], sides: Mapping[str, Side], keep: Keep) -> dict[str, dict[str, Array]]:
        """Return rung → arrays of one layer, as :class:`harness.reconstruction.Reconstruction` names them without L.

        ``given``: of the layer, whatever its inputs and scales; ``inputs``: by choice of calibration tokens; ``keep``: takes every weight.
        """
        bits: dict[Key, float] = {}
        errors: dict[Key, dict[str, tuple[float, Array]]] = {}
        weight: dict[Key, float] = {}
        rows, columns = given.weight.shape
        chunk = max(1, _PRODUCTS // (8 * columns**2))
        waiting: list[Key] = []
        products = given.weight.new_empty(chunk, columns, columns)

        def flush() -> None:
            if not waiting:
                return
            for rung, side in sides.items():
                whole, rest = side.scored.errors(products[: len(waiting)], rows)
                for i, key in enumerate(waiting):
                    errors.setdefault(key, {})[rung] = float(whole[i]), rest[i].cpu().numpy()
            waiting.clear()

        for key, change, stored in self.changes(given, inputs, {side.choice for side in sides.values()}, keep):
            bits[key], weight[key] = stored, float(change.square().mean())
            half_gram(change, products[len(waiting)])
            waiting.append(key)
            if len(waiting) == chunk:
                flush()
        flush()
        groups = {rung: len(side.scored.tokens) for rung, side in sides.items()}
        return {rung: self._found(given, rung, side.choice, bits, errors, weight, groups[rung]) for rung, side in sides.items()}

    def changes(self, given: Given, inputs: Mapping[str, Inputs], choices: set[str], keep: Keep) -> Iterator[tuple[Key, Tensor, float]]:
        """Yield the change of the weight by every method, and by what each is compared with."""
        done: set[Key] = set()
        rows, columns = given.weight.shape

        def made(key: Key, stored: Stored) -> Iterator[tuple[Key, Tensor, float]]:
            done.add(key)
            keep(key, stored[0])
            yield key, stored[0] - given.weight, stored[1]

        for method in self.methods.values():
            fits = [*sorted(choices), *([HALF] if self.halves else [])] if method.fitted else [""]
            for grain, per in enumerate(self.scales(method)):
                for choice in fits:
                    if choice and not inputs[choice].sums.n:  # An expert that atypical tokens alone have reached, or none of this half.
                        continue
                    one = replace(given, per=per, inputs=inputs[choice or min(choices)])
                    if (stored := _stored(method, one)) is None:
                        continue
                    yield from made(self.key(method, grain, choice), stored)
                    for levels, _ in matched(stored[1], per, rows, columns, self.protocol.levels):
                        base = _base(method, levels, per, choice)
                        if base not in done:
                            yield from made(base, one.gptq(levels) if method.against == "gptq" else one.quantised(given.weight, levels))
                if method.name == "svd":
                    yield from _cross_terms(replace(given, per=per), per)
        for grain, per in enumerate((self.own, self.protocol.groups)):
            if self.direct(grain) not in done:
                yield from made(self.direct(grain), replace(given, per=per).quantised(given.weight))

    def _found(
        self,
        given: Given,
        rung: str,
        choice: str,
        bits: Mapping[Key, float],
        errors: Mapping[Key, Mapping[str, tuple[float, Array]]],
        weight: Mapping[Key, float],
        groups: int,
    ) -> dict[str, Array]:
        m = len(self.methods)
        rows, columns = given.weight.shape
        names = ("error", "base", "error_half", "base_half", "weight", "base_weight", "bits", "base_bits")
        found: dict[str, Array] = {name: np.full((m, 2), np.nan) for name in names}
        found |= {name: np.full((m, 2, groups), np.nan) for name in ("error_rest", "base_rest")}
        found |= {"cross": np.full(2, np.nan), "cross_rest": np.full((2, groups), np.nan), "parts": np.full((2, 2), np.nan)}
        for i, method in enumerate(self.methods.values()):
            for grain, per in enumerate(self.scales(method)):
                for fit, half in ((choice, ""), (HALF, "_half")):
                    key, at = self.key(method, grain, fit), (i, grain)
                    if key not in errors or (half and not (method.fitted and self.halves)):
                        continue
                    shares = matched(bits[key], per, rows, columns, self.protocol.levels)
                    bases = [(_base(method, levels, per, fit), part) for levels, part in shares]
                    found[f"error{half}"][at] = errors[key][rung][0]
                    found[f"base{half}"][at] = sum(part * errors[base][rung][0] for base, part in bases)
                    if not half:
                        found["error_rest"][at] = errors[key][rung][1]
                        found["base_rest"][at] = sum(part * errors[base][rung][1] for base, part in bases)
                        found["weight"][at], found["bits"][at] = weight[key], bits[key] / (rows * columns)
                        found["base_weight"][at] = sum(part * weight[base] for base, part in bases)
                        found["base_bits"][at] = sum(part * bits[base] for base, part in bases) / (rows * columns)
        for grain, per in enumerate((self.own, self.protocol.groups)):
            if (cross := ("cross", str(per), "")) in errors:
                found["cross"][grain], found["cross_rest"][grain] = errors[cross][rung]
                found["parts"][grain] = [errors[part, str(per), ""][rung][0] for part in ("truncation", "product")]
        return found


def half_gram(change: Tensor, out: Tensor) -> None:
    """Write what stands for EᵀE beside a symmetric matrix, ``(in, in)``: Σ (out ∘ S) = Σ (EᵀE ∘ S) for every S = Sᵀ.

    Blocks on the diagonal are its own, those above it are doubled, those below are 0: (n + 1)/2n of the operations of EᵀE, in n parts.
    """
    columns = change.shape[1]
    size = -(-columns // _PARTS)
    for start in range(0, columns, size):
        end = min(start + size, columns)
        own, rest = change[:, start:end], change[:, end:]
        out[start:end, :start].zero_()
        torch.mm(own.T, own, out=out[start:end, start:end])
        if end < columns:
            torch.addmm(out[start:end, end:], own.T, rest, beta=0, alpha=2, out=out[start:end, end:])


def matched(bits: float, per: Per, rows: int, columns: int, fewest: int) -> list[tuple[int, float]]:
    """Return numbers of levels, and the share of entries that has each, so that direct quantisation stores as many bits.

    ``fewest`` levels at least: where a method stores less, direct quantisation stores more; 2²⁰ at most. Two numbers that follow one
    another, or one.
    """

    def stored(levels: int) -> float:
        return Uniform(levels, per).bits(rows, columns)

    if bits <= stored(fewest):
        return [(fewest, 1.0)]
    entries = rows * columns
    # As many as pay for the numbers of fine grids, or else of coarse ones; then one more or less for rounding.
    fine = _afford(bits, stored(_FINE + 1) - entries * np.log2(_FINE + 1), entries)
    levels = fine if fine > _FINE else min(_afford(bits, stored(fewest) - entries * np.log2(fewest), entries), _FINE)
    while levels < _MOST_LEVELS and stored(levels + 1) <= bits:
        levels += 1
    while levels > fewest and stored(levels) > bits:
        levels -= 1
    if levels == _MOST_LEVELS:
        return [(levels, 1.0)]
    more = (bits - stored(levels)) / (stored(levels + 1) - stored(levels))
    return [(levels, 1 - more), (levels + 1, more)] if more > 0 else [(levels, 1.0)]


def _afford(bits: float, beside: float, entries: int) -> int:
    return min(int(2 ** min((bits - beside) / entries, 24)), _MOST_LEVELS)


def _base(method: Method, levels: int, per: Per, choice: str) -> Key:
    return f"{method.against}/{levels}", str(per), choice if method.against == "gptq" else ""


def _cross_terms(given: Given, per: Per) -> Iterator[tuple[Key, Tensor, float]]:
    """Yield the parts of (A + ε_A)(B + ε_B) − W: A B − W, ε_A B + A ε_B, ε_A ε_B (Eq. 4)."""
    if (found := given.factored()) is None:
        return
    a, b = found
    change_a, change_b = given.quantised(a)[0] - a, given.quantised(b)[0] - b
    parts = {"truncation": a @ b - given.weight, "cross": change_a @ b + a @ change_b, "product": change_a @ change_b}
    for name, change in parts.items():
        yield (name, str(per), ""), change, 0.0


def _stored(method: Method, given: Given) -> Stored | None:
    """Store the weight by a method. Raises MeasurementError where a function that is not ours fails or returns what is no stored form."""
    if method.own:
        return method.make(given)
    inputs = copy(given.inputs)
    inputs.__dict__.pop("second_moment", None)
    # Of its own, for it may write to what it is given.
    given = replace(given, weight=given.weight.clone(), inputs=inputs, made={})
    shape = tuple(given.weight.shape)
    try:
        found = method.make(given)
        if found is None:
            return None
        matrix, bits = found
        stored = torch.as_tensor(matrix).to(given.weight), float(bits)
    except Exception as error:
        raise MeasurementError(f"challenger '{method.name}': {type(error).__name__}: {printable(error)}") from error
    if stored[0].shape != shape or not bool(stored[0].isfinite().all()) or not 0 < stored[1] < torch.inf:
        returned = f"a matrix {tuple(stored[0].shape)} and {stored[1]:g} bits"
        raise MeasurementError(f"challenger '{method.name}' returned {returned}; expected finite numbers {shape}, and bits above 0")
    return stored


def methods_apart(methods: Sequence[Method], slow: bool) -> dict[str, Method]:
    """Those that take long, or the others."""
    return {method.name: method for method in methods if method.slow is slow}
