"""The sections below a report's tables: printed, found by their headings, and what holds of every one of them.

What checks something raises ``AssertionError``, and says what was printed; a test file keeps its evidence, its sentences and its odd cases.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from reports.evidence import print_evidence
from reports.ledger import Row

NARROW, WIDE = 110, 140  # columns of the narrowest console, and of a usual one
both_widths = pytest.mark.parametrize("width", [NARROW, WIDE])


def printed(evidence: dict[str, Any], rows: Sequence[Row] = (), width: int = NARROW) -> list[str]:
    """Return the lines that are printed, without the spaces at their ends."""
    text = io.StringIO()
    console = Console(file=text, width=width, highlight=False, markup=False, emoji=False, no_color=True)
    print_evidence(console, evidence, list(rows))
    return [line.rstrip() for line in text.getvalue().splitlines()]


def words(line: str) -> list[str]:
    """Return the words of a line: columns can be compared whatever their widths."""
    return line.split()


def sections(evidence: dict[str, Any], heading: str = "", width: int = NARROW, rows: Sequence[Row] = ()) -> list[list[str]]:
    """Return the lines of each section whose first line, which follows an empty one, holds the heading; all sections without one."""
    lines = printed(evidence, rows, width)
    empty = [i for i, line in enumerate(lines) if not line]
    found = [lines[i + 1 : end] for i, end in zip(empty, [*empty[1:], len(lines)], strict=True)]
    return [section for section in found if heading in section[0]]


def section(evidence: dict[str, Any], heading: str, width: int = NARROW, rows: Sequence[Row] = ()) -> list[str]:
    """Return the lines of the first section under a heading, which must be there."""
    return sections(evidence, heading, width, rows)[0]


def running(lines: Iterable[str]) -> str:
    """Return lines as running text: whatever parts their words is one space."""
    return " ".join(words(" ".join(lines)))


def sentences(*cases: tuple[str, str, str]) -> pytest.MarkDecorator:
    """Decorate a test that takes each sentence, the heading of its section, and the line that it is said from."""
    return pytest.mark.parametrize(("sentence", "heading", "line"), cases)


def says(lines: list[str], line: str, sentence: str) -> None:
    """Check that one of the lines holds these words and no others, so that a reader can say the sentence."""
    assert words(line) in [words(text) for text in lines], "\n".join([sentence, *lines])


def tells(text: str, *told: str) -> None:
    """Check that each of these stands in the text."""
    missing = [part for part in told if part not in text]
    assert not missing, "\n".join([*missing, "not in:", text])


def in_order(evidence: dict[str, Any], *headings: str) -> None:
    """Check that each heading stands over one section, in this order."""
    firsts = [lines[0] for lines in sections(evidence)]
    places = [[i for i, first in enumerate(firsts) if heading in first] for heading in headings]
    assert {len(place) for place in places} == {1}, firsts
    assert places == sorted(places), firsts


def silent(evidence: dict[str, Any], *contents: dict[str, Any], but: str = "") -> None:
    """Check that nothing is printed where all evidence is empty, nor of any predicate save ``but`` with contents that no section draws."""
    assert printed({name: {} for name in evidence}) == []
    for predicate in {name.partition("/")[0] for name in evidence} - {but}:
        for content in contents:
            assert printed({f"{predicate}/paper": content}) == [], (predicate, content)


def hollow(value: Any, random: Random) -> Any:
    """Return the same evidence with some numbers, lists and names null."""
    if random.random() < 0.1:
        return None
    if isinstance(value, dict):
        return {name: hollow(part, random) for name, part in value.items()}
    return [hollow(part, random) for part in value] if isinstance(value, list) else value


def dashes(evidence: dict[str, Any], rows: Sequence[Row] = ()) -> None:
    """Check that whatever of it is null, the rest is printed, on lines within the narrowest console, and no null or nan as such."""

    @given(st.randoms(use_true_random=False))
    @settings(max_examples=100, deadline=None)
    def whatever_is_null(random: Random) -> None:
        lines = printed(hollow(evidence, random) or {}, rows)
        assert not re.search(r"\bNone\b|\bnan\b", "\n".join(lines)), "\n".join(lines)
        assert max(map(len, lines), default=0) <= NARROW, max(lines, key=len)

    whatever_is_null()


def fits(lines: list[str], width: int, but: str | None = None) -> None:
    """Check that there are lines, none longer than the width, and no cell cut, which ends in an ellipsis, save where ``but`` stands."""
    assert lines
    assert max(map(len, lines)) <= width, max(lines, key=len)
    cut = [line for line in lines if "…" in line and (but is None or but not in line)]
    assert not cut, "\n".join(cut)
