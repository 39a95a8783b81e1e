"""What a measurement is made from: the model, its windows, the protocol, kept streams, and where results and progress go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.measurement import STRICT, Arrays, Measurement
from harness.protocol import Protocol
from harness.transfer import LastMap

if TYPE_CHECKING:
    from harness.anatomy import Anatomy
    from harness.bookmark import StoreBookmark
    from harness.loading import Subject
    from harness.streams import Streams
    from harness.sweep import Progress
    from harness.windows import Ids


@dataclass
class Work:
    """What a measurement is made from. ``streams``: kept from a sweep over the layout's windows, made when first asked for.

    ``also``: takes the arrays of another measurement that came with it. ``maps``: the last block's maps by text, this one's first, then
    by rung.
    """

    subject: Subject
    measurement: Measurement
    ids: dict[str, Ids]
    protocol: Protocol
    progress: Progress
    bookmark: StoreBookmark
    streams: Callable[[], Streams]
    also: Callable[[Measurement, Arrays], None]
    maps: Callable[[], dict[str, dict[str, LastMap]]]

    @property
    def anatomy(self) -> Anatomy:
        """The model, taken apart."""
        return self.subject.anatomy

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return len(self.subject.anatomy.blocks)

    @property
    def width(self) -> int:
        """The width d of the stream."""
        return self.subject.anatomy.width

    @property
    def rungs(self) -> tuple[str, ...]:
        """The rungs that are measured."""
        return self.measurement.rungs

    @property
    def strict(self) -> bool:
        """Whether this is the layout of ``strict``."""
        return self.measurement.layout == STRICT
