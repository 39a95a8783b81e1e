"""What the stream at the end says about the next token: negative log-likelihood and Kullback–Leibler divergence, in chunks.

Logits of a few hundred tokens are held at a time, never vocabulary × all tokens. Everything is in nats, at positions 0 … T − 2 of a
window of T tokens, mean over them unless said otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from harness.anatomy import Anatomy, finish
from harness.errors import MeasurementError
from harness.statistics import Array
from harness.windows import Ids

_CHUNK_LOGITS = 1 << 23
"""Logits held at once on a processor, 32 MB in float32: small enough for its cache to help, large enough for efficient products."""
_CHUNK_ON_DEVICE = 1 << 27
"""Logits held at once on an accelerator, 512 MB in float32: a small chunk would be all launches."""


_FAR = 80.0
"""Changes of a logit beyond which e^b leaves float32: such rows have a divergence that needs no second-order form."""


class Language:
    """Reads next-token distributions off final streams, for fixed windows with their clean run.

    ``clean``: h_B of the clean run, ``(windows, tokens, d)``; ``ids (windows, tokens)`` the tokens.
    """

    def __init__(self, anatomy: Anatomy, clean: Tensor, ids: Ids) -> None:
        self.clean = clean
        self._logits = precise_logits(anatomy)
        self._targets = torch.from_numpy(ids[:, 1:].copy()).to(clean.device)
        positions, most = ids.shape[1] - 1, _rows_at_once(anatomy.vocabulary, clean.device)
        # Chunks of equal size: a short one at a window's end would multiply the head's weights for a few rows.
        self._chunk = math.ceil(positions / math.ceil(positions / most))
        self._variants = max(1, most // self._chunk)

    def nll_nats(self, hidden: Tensor, windows: list[int] | None = None) -> Array:
        """Return the negative log-likelihood of the next token, mean over positions, in nats: ``(variants, windows)``.

        ``hidden (variants, windows, tokens, d)``: final streams; ``windows``: which windows they belong to, all when None.
        """
        return _mean(self._read(hidden, windows, nll=True, kl=False)[0])

    def kl_from_clean_nats(self, hidden: Tensor) -> Array:
        """Return KL(clean ‖ other) = Σ p_clean (log p_clean − log p_other), mean over positions, in nats: ``(variants, windows)``.

        ``hidden (variants, windows, tokens, d)`` as in :meth:`nll_nats`, of all windows. None is below zero.
        """
        return _mean(self.kl_by_position_nats(hidden))

    def kl_by_position_nats(self, hidden: Tensor) -> Array:
        """Return the same at each position: ``(variants, windows, tokens − 1)``."""
        return self._read(hidden, None, nll=False, kl=True)[1]

    def costs_nats(self, hidden: Tensor, windows: list[int] | None = None) -> tuple[Array, Array]:
        """Return both :meth:`nll_nats` and :meth:`kl_from_clean_nats`, from the same logits."""
        nll, kl = self._read(hidden, windows, nll=True, kl=True)
        return _mean(nll), _mean(kl)

    def _read(self, hidden: Tensor, windows: list[int] | None, nll: bool, kl: bool) -> tuple[Array, Array]:
        """Return both at each position, zeros for what is not asked. Raises MeasurementError for logits that are not finite."""
        found = np.zeros((2, *hidden.shape[:2], self._targets.shape[1]))
        for w, part in self._chunks(hidden.shape[1]):
            window = w if windows is None else windows[w]
            target = self._targets[window, part]
            clean = self._logits(self.clean[window, part]) if kl else torch.zeros(0)
            p = torch.softmax(clean, -1) if kl else clean
            for v in range(0, len(hidden), self._variants):
                some = slice(v, v + self._variants)
                rows = hidden[some, w, part]
                logits = self._logits(rows.flatten(0, 1)).view(*rows.shape[:2], -1)
                if nll:
                    own = logits.gather(-1, target.expand(rows.shape[:2])[..., None])[..., 0]
                    found[0, some, w, part] = _on_host(torch.logsumexp(logits, -1) - own)
                if kl:
                    found[1, some, w, part] = _on_host(_divergence(clean, p, logits))
        if not np.isfinite(found).all():
            raise MeasurementError("the logits after an intervention are not finite; try --dtype float32")
        return found[0], found[1]

    def _chunks(self, windows: int) -> Iterator[tuple[int, slice]]:
        """Cut positions 0 … T − 2 of every window into chunks."""
        positions = self._targets.shape[1]
        for w in range(windows):
            for start in range(0, positions, self._chunk):
                yield w, slice(start, min(start + self._chunk, positions))


def _divergence(clean: Tensor, p: Tensor, other: Tensor) -> Tensor:
    """KL(clean ‖ other) of each row of logits, in nats; ``other (…, rows, vocabulary)`` is overwritten.

    ``clean (rows, vocabulary)``, and ``p``, its softmax.

    With a = the change of the logits and b = a − E_clean[a], it is log(1 + E_clean[e^b − 1 − b]): every term is positive and of second
    order, so that a divergence of 1e-10 is not lost in the rounding of logits, and none is below zero.
    """
    b = other.sub_(clean)
    b -= torch.linalg.vecdot(p, b)[..., None]
    far = b.amax(-1) > _FAR
    kl = torch.log1p(torch.linalg.vecdot(p, torch.expm1(b).sub_(b)).clamp_min(0))
    if bool(far.any()):
        rows = far.nonzero()[:, -1]
        kl[far] = torch.logsumexp(torch.log_softmax(clean[rows], -1) + b[far], -1).clamp_min(0)
    return kl


def _rows_at_once(vocabulary: int, device: torch.device) -> int:
    """Return how many tokens' logits are held at once."""
    return max(1, (_CHUNK_LOGITS if device.type == "cpu" else _CHUNK_ON_DEVICE) // vocabulary)


class LogitSketch:
    """Next-token logits times fixed Gaussian directions of the vocabulary: ``(…, d)`` to ``(…, columns)``.

    A random projection keeps inner products up to 1/√columns (Johnson and Lindenstrauss), at a fraction of the vocabulary's size.
    """

    def __init__(self, anatomy: Anatomy, columns: int, seed: int, device: torch.device) -> None:
        self._anatomy, head = anatomy, anatomy.head
        generator = torch.Generator().manual_seed(seed)
        rows = anatomy.logits(torch.zeros(1, 1, anatomy.width, device=device, dtype=_dtype(head))).shape[-1]
        directions = torch.randn(rows, columns, generator=generator) / columns**0.5
        self._directions = directions.to(device)
        self._product: Tensor | None = None
        config = anatomy.model.config.get_text_config()  # type: ignore[union-attr, operator]
        bent = any(getattr(config, name, None) is not None for name in ("logit_scale", "logits_scaling", "final_logit_softcapping"))
        if type(head) is nn.Linear and not bent and not hasattr(head, "_hf_hook"):
            self._product = head.weight.float().T @ self._directions  # The bias cancels in a change of logits.

    def __call__(self, hidden: Tensor) -> Tensor:
        """Sketch the logits of final streams ``(windows, tokens, d)``, up to a constant; float32."""
        if self._product is not None:
            sketched: Tensor = self._anatomy.norm(hidden).float() @ self._product
            return sketched
        chunk = _rows_at_once(len(self._directions), hidden.device)
        flat = hidden.reshape(1, -1, hidden.shape[-1])
        parts = [self._anatomy.logits(part).float() @ self._directions for part in torch.split(flat, chunk, dim=1)]
        return torch.cat(parts, dim=1).reshape(*hidden.shape[:-1], -1)


Logits = Callable[[Tensor], Tensor]
"""What maps final streams ``(tokens, d)`` to logits ``(tokens, vocabulary)`` float32."""


def precise_logits(anatomy: Anatomy) -> Logits:
    """Return what maps final streams ``(tokens, d)`` to logits in float32.

    A head of half precision is applied in float32: its rounding, some 2^−8 of a logit, is a divergence of 1e-3 nats by itself.
    """
    head = anatomy.head
    narrow = type(head) is nn.Linear and head.weight.dtype in (torch.bfloat16, torch.float16) and not hasattr(head, "_hf_hook")
    if not narrow:
        return lambda hidden: anatomy.logits(hidden[None])[0].float()
    assert isinstance(head, nn.Linear)
    weight, bias = head.weight.float(), None if head.bias is None else head.bias.float()
    return lambda hidden: finish(nn.functional.linear(anatomy.norm(hidden[None])[0].float(), weight, bias), anatomy.model).to(hidden.device)


def _dtype(head: nn.Module) -> torch.dtype:
    return next((p.dtype for p in head.parameters()), torch.float32)


def _on_host(values: Tensor) -> Array:
    # Widened on the host: one device has no float64.
    found: Array = values.cpu().double().numpy()
    return found


def _mean(by_position: Array) -> Array:
    found: Array = by_position.mean(-1)
    return found
