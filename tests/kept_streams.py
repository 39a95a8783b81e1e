"""Streams kept in a sweep of their own, as a laboratory keeps them where nothing shares it."""

from __future__ import annotations

from harness.streams import Keeping
from harness.sweep import sweep


def keep(anatomy, ids, protocol, spectra, device, progress):
    """Sweep once over a layout's windows; return what was kept."""
    keeping = Keeping(anatomy, ids, protocol, spectra)
    sweep(anatomy, ids, keeping.visitors, device, progress)
    return keeping.kept()
