"""Which models and texts of a run are those of a baseline, although names made from paths change with their content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fixtures.naming import printable, without_digest
from reports.baseline import Baseline, Subject
from reports.pairing import Pair, matched


@dataclass(frozen=True)
class Matches:
    """Pairs of a run → keys of a baseline's subjects; what has no counterpart on either side."""

    keys: Mapping[Pair, str]
    absent: tuple[str, ...]
    unknown: tuple[Pair, ...]

    def error(self, baseline: Baseline) -> str | None:
        """Say why what has no counterpart cannot be passed over, or None.

        A run of some of a baseline's models is one; a run that has others instead may be one of a model that was renamed.
        """
        if not self.absent or (self.keys and not self.unknown):
            return None
        ids = sum(len(baseline.subjects[key].cells) for key in self.absent)
        run = ", ".join(printable(f"{model}/{corpus}") for model, corpus in (*self.keys, *self.unknown))
        shown = ", ".join(printable(key) for key in self.absent)
        return f"{ids} ids of {shown} match nothing: this run tests {run or 'nothing'}"


def match(baseline: Baseline, pairs: Iterable[Pair]) -> Matches:
    """Match the pairs (model, corpus) of a run with subjects: by whole names, then without digits of content where only one fits."""
    kept = {(subject.model, subject.corpus): key for key, subject in baseline.subjects.items() if subject.cells or subject.claims}
    run = list(pairs)
    keys = {pair: kept[other] for pair, other in matched(run, kept, without_digest).items()}
    taken = set(keys.values())
    return Matches(keys, tuple(key for key in kept.values() if key not in taken), tuple(pair for pair in run if pair not in keys))


def key_for(baseline: Mapping[str, Subject], pair: Pair, others: Iterable[Pair]) -> str:
    """Return the key of a subject that is new: without digits of content, unless that would be another's."""
    brief = f"{without_digest(pair[0])}/{without_digest(pair[1])}"
    taken = brief in baseline or any(f"{without_digest(m)}/{without_digest(c)}" == brief for m, c in others if (m, c) != pair)
    return f"{pair[0]}/{pair[1]}" if taken else brief
