"""The planted subjects of the simulation: those of the tests, with text, and weights where a plant draws them, anew for each seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.protocol import Protocol
from tests import (
    planted,
    planted_destruction,
    planted_easy,
    planted_replacement,
    planted_sets,
    planted_variance,
    planted_wall,
    test_planted_destruction,
    test_planted_easy,
    test_planted_replacement,
    test_planted_sets,
    test_planted_truths,
    test_planted_variance,
    test_planted_wall,
)

WINDOW = 64
CALIBRATION, EVALUATION = 48, 64  # windows
PLANTED = Protocol(window=WINDOW)
"""The protocol's own sizes, but for windows of 64 tokens."""

Row = tuple[str, str, str, str]
"""(predicate, rung, subject, verdict)"""


@dataclass(frozen=True)
class Plant:
    """A planted subject: ``save(folder, seed)``, ``text(seed)`` for calibration and evaluation, and (predicate, rung) → its verdict."""

    save: Callable[[Path, int], Path]
    text: Callable[[int], tuple[str, str]]
    expected: Mapping[tuple[str, str], str]
    protocol: Protocol = PLANTED


def _words(count: int, seed: int) -> str:
    return planted.words(count, seed=seed)


def _plants(
    rows: list[Row],
    save: Callable[..., Path],
    subjects: Mapping[str, Mapping[str, Any]],
    text: Callable[[int, int], str] | Callable[[str], Callable[[int, int], str]],
    seeded: bool,
    by_subject: bool = False,
) -> dict[str, Plant]:
    """Make plants of a test's table; ``seeded``: a subject draws its weights; ``by_subject``: each has a text of its own."""
    found = {}
    for subject in dict.fromkeys(row[2] for row in rows):
        write: Any = text(subject) if by_subject else text  # type: ignore[call-arg, arg-type]

        def saved(folder: Path, seed: int, subject: str = subject) -> Path:
            return save(folder, **subjects[subject], **({"seed": seed} if seeded else {}))

        def written(seed: int, write: Any = write) -> tuple[str, str]:
            return write(CALIBRATION * WINDOW, 2 * seed + 1), write(EVALUATION * WINDOW, 2 * seed + 2)

        found[subject] = Plant(saved, written, {(name, rung): verdict for name, rung, of, verdict in rows if of == subject})
    return found


def _easy(subject: str) -> Callable[[int, int], str]:
    told_by = test_planted_easy.TEXTS.get(subject, planted_easy.SUBJECTS.get(subject, {}).get("told_by", "pair"))
    return lambda count, seed: planted_easy.text(count, seed, told_by)


_PARTS = {
    "variance": _plants(test_planted_variance.TABLE, planted_variance.save, planted_variance.SUBJECTS, planted_variance.text, seeded=True),
    "replacement": _plants(
        test_planted_replacement.TABLE, planted_replacement.save, planted_replacement.SUBJECTS, planted_variance.text, seeded=False
    ),
    "wall": _plants(test_planted_wall.TABLE, planted_wall.save, planted_wall.SUBJECTS, _words, seeded=True),
    "depth": _plants(test_planted_truths.TABLE, planted.save, test_planted_truths.SUBJECTS, _words, seeded=True),
    "destruction": _plants(test_planted_destruction.TABLE, planted_destruction.save, planted_destruction.SUBJECTS, _words, seeded=True),
    "easy": _plants(test_planted_easy.TABLE, planted_easy.save, planted_easy.SUBJECTS, _easy, seeded=False, by_subject=True),
    "sets": _plants(test_planted_sets.TABLE, planted_sets.save, planted_sets.SUBJECTS, _easy, seeded=False, by_subject=True),
}
PLANTS: dict[str, Plant] = {f"{part}/{subject}": plant for part, plants in _PARTS.items() for subject, plant in plants.items()}
