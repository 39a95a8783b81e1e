"""Exit heads on kept streams, at mid, at later exits, on the embeddings, distilled; what stands beside the one at mid (claim 5)."""

from __future__ import annotations

import numpy as np

from harness.bigram import bigram
from harness.branches import run_block
from harness.exits import EMBEDDINGS
from harness.head_course import Course, Plan, checked
from harness.linearity import CALIBRATION
from harness.measurement import INTERVENTION
from harness.next_token import said
from harness.pieces import encode, pieces
from harness.statistics import Array
from harness.streams import Streams, keep_some
from harness.windows import Ids
from harness.work import Work


def measure(work: Work) -> dict[str, Array]:
    """Train the head at mid; read the model, naive heads and the bigram table beside it."""
    streams, mid = work.streams(), work.protocol.easy.exits_of(work.blocks)[0]
    course = _AtMid(work, streams, checked([Plan(mid)], work.strict)).run()
    return course.findings(course.beside(streams))


def measure_later(work: Work) -> dict[str, Array]:
    """Train the heads at the exits above mid."""
    exits = work.protocol.easy.exits_of(work.blocks)[1:]
    return Course(work, kept(work, exits), checked([Plan(at) for at in exits], work.strict)).run().findings()


def measure_lowest(work: Work) -> dict[str, Array]:
    """Train the same head on the embeddings h_0."""
    return Course(work, kept(work, [EMBEDDINGS]), checked([Plan(EMBEDDINGS)], work.strict)).run().findings()


def measure_distilled(work: Work) -> dict[str, Array]:
    """Train the head at mid to the model's distribution: KL(model ‖ head) in the place of cross-entropy."""
    mid = work.protocol.easy.exits_of(work.blocks)[0]
    return Course(work, work.streams(), checked([Plan(mid, distilled=True)], work.strict)).run().findings()


def kept(work: Work, blocks: list[int]) -> Streams:
    """Sweep once for the streams that the heads read, and the final ones."""
    p, marked = work.protocol, work.protocol.easy.looked_at(work.blocks)
    streams = keep_some(
        work.anatomy, work.ids, [*blocks, work.blocks - 1], p.typical_factor, work.subject.device, lambda done, total: None, marked
    )
    streams.name_interventions()
    return streams


class _AtMid(Course):
    """The course of the head at mid, with what stands beside it."""

    def beside(self, streams: Streams) -> dict[str, Array]:
        """Read what the head at mid is compared with: arrays of :class:`harness.exits.Exit` beyond those of heads."""
        work, full = self._work, self._full
        exits = self._easy.exits_of(work.blocks)
        stream, naive = streams.at[exits[0]][INTERVENTION], []
        for before, at in zip([exits[0], *exits], exits, strict=False):
            for block in range(before + 1, at + 1):
                stream = run_block(work.anatomy, block, stream, self._ids)
            naive.append((said(self._read, stream, self._ids).top == full.top).astype(np.float64))
        learned = said(self._read, streams.at[work.blocks - 1][CALIBRATION], self._learned).top
        counts = self._marked(CALIBRATION)[:, :-1].cpu().numpy() if work.strict else np.ones_like(learned, dtype=bool)
        tables = []
        for windows in [list(range(len(counts))), *([self.half] if work.strict else [])]:
            marks = counts[windows]
            table = bigram(self._learned[windows][:, :-1][marks], learned[windows][marks])
            tables.append((table.said_after(self._ids[:, :-1]) == full.top).astype(np.float64))
        parts = [*work.anatomy.norm.parameters(), *work.anatomy.head.parameters()]
        return {
            "full_right": full.right,
            "full_confidence": full.confidence,
            "full_nll": full.nll,
            "bigram": np.stack(tables),
            "exits": np.array(exits, dtype=np.float64),
            "naive": np.stack(naive),
            "active": np.array([work.anatomy.parameters(block)[1] for block in range(work.blocks)]),
            "head": np.array(float(sum(part.numel() for part in parts))),
            "pieces": encode(self._texts(self._ids, np.roll(self._ids, 1, axis=1))),
            "said": encode(self._texts(full.top, self._ids[:, :-1])),
        }

    def _texts(self, ids: Ids, before: Ids) -> list[str]:
        """Return the text of each token; the first of a window follows itself, and so stands alone."""
        before = before.copy()
        if ids.shape == self._ids.shape:
            before[:, 0] = ids[:, 0]
        return pieces(self._work.subject.tokenizer, ids.ravel(), before.ravel())
