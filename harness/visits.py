"""What measurements do while a sweep passes, so that several of them, and the streams that are kept, can share one.

A visit is a context: what it changes of the model while blocks run is put back at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from harness.errors import MeasurementError
from harness.measurement import Arrays, Measurement
from harness.sweep import Progress, Resumable, State, Visitor, sweep
from harness.windows import Ids
from harness.work import Work

if TYPE_CHECKING:
    from harness.bookmark import StoreBookmark


@dataclass(frozen=True, eq=False)
class Visit:
    """A measurement's part in a sweep: ``visitors``, in this order, and ``result``, its arrays once the sweep has ended.

    ``alone``: blocks compute otherwise while it lasts, if only in the last digits, so that nothing else may share the sweep.
    """

    visitors: Sequence[Resumable]
    result: Callable[[], Arrays]
    alone: bool = False


SEVERAL = "sweep of several"
"""What blocks of shared sweeps run for is called, where the number of windows run together is kept: several visitors may leave room for
fewer than each of them alone."""
Visiting = Callable[[Work], AbstractContextManager[Visit]]


class Shown:
    """A visitor that is shown some splits of a sweep over more of them, as if these were all."""

    def __init__(self, visitor: Resumable, splits: Collection[str]) -> None:
        self._visitor, self._splits = visitor, splits

    def see(self, split: str, first: int, before: Tensor, after: Tensor) -> None:
        """Hand on a batch of these splits."""
        if split in self._splits:
            self._visitor.see(split, first, before, after)

    def end_split(self, split: str) -> None:
        """Hand on the end of one of them."""
        if split in self._splits:
            self._visitor.end_split(split)

    def end_block(self, block: int) -> None:
        """Hand on the end of a block."""
        self._visitor.end_block(block)

    def state(self) -> State:
        """Return the visitor's."""
        return self._visitor.state()

    def restore(self, state: State, blocks: int) -> None:
        """Hand on a kept state."""
        self._visitor.restore(state, blocks)


def make_alone(work: Work, visiting: Visiting) -> Arrays:
    """Make one measurement in a sweep of its own, taking up an interrupted one where it was."""
    with visiting(work) as visit:
        sweep(work.anatomy, work.ids, visit.visitors, work.subject.device, work.progress, work.bookmark)
        return visit.result()


class Visits:
    """Open visits of several measurements to one sweep."""

    def __init__(self, works: Sequence[Work], visits: Sequence[Visit]) -> None:
        self._works, self._visits = works, visits

    @property
    def measurements(self) -> list[Measurement]:
        """Those that share it."""
        return [work.measurement for work in self._works]

    def sweep(
        self, windows: Mapping[str, Ids], passengers: Sequence[Visitor], progress: Progress, bookmark: StoreBookmark
    ) -> tuple[list[Arrays], bool]:
        """Sweep over windows of a layout, each visitor shown the splits that its measurement needs.

        ``passengers``: visitors that cannot be taken up where they were. Returns the arrays of each measurement, and whether the passengers
        saw all of the sweep; of one that was taken up they see nothing.
        """
        first, pairs = self._works[0], zip(self._works, self._visits, strict=True)
        shown = [Shown(visitor, work.ids.keys()) for work, visit in pairs for visitor in visit.visitors]
        begun = sweep(first.anatomy, windows, shown, first.subject.device, progress, bookmark, passengers, SEVERAL)
        return [visit.result() for visit in self._visits], begun == 0


@contextmanager
def opened(works: Sequence[Work]) -> Iterator[Visits]:
    """Open the visits of measurements to one sweep, and leave out those that cannot be had, or have to be alone.

    What cannot be had says so when it is asked for.
    """
    with ExitStack() as stack:
        open_works, visits = list[Work](), list[Visit]()
        for work in works:
            with ExitStack() as own, suppress(MeasurementError):
                visit: Visit = own.enter_context(work.measurement.function()(work))
                if not visit.alone:
                    open_works.append(work)
                    visits.append(visit)
                    stack.push(own.pop_all())
        yield Visits(open_works, visits)
