"""Tokens where they stand in the text: one safe line each, whatever the text holds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from reports.tokens_in_context import cut
from tests.printed_sections import NARROW, both_widths, printed, section
from tests.test_easy_evidence import EASIEST, EVIDENCE, TOKEN

HOSTILE = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "[red]x[/red]",
    "[/]",
    "[link=file:///]y",
    "a\r\nb\tc\x00",
    "😀" * 50,
    "👩‍👩‍👧‍👦",
    "漢字" * 40,
    "\u202eevil\u2066",
    "\u200f\u200b",
    "שלום",
    "e" + "\u0301" * 300,
    "\ud800",
    "x" * 100_000,
    "\u2028" * 9,
    "",
]


@both_widths
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_breaks_its_line(text, width):
    """Escapes, markup, line breaks, wide and long characters: one line a token, printable and within the width, brackets intact."""
    token = TOKEN | dict.fromkeys(("before", "token", "next", "said"), text)
    lines = section({"easy_sets_agree/strict": {"easiest": [token, token, TOKEN]}}, EASIEST, width)
    assert len([line for line in lines if "3:41" in line]) == 3
    assert max(map(cell_len, lines)) <= NARROW
    assert all(line.isprintable() for line in lines)
    assert lines[2].count("⟦") == lines[2].count("⟧") == 3


def test_markup_is_shown_as_it_stands():
    """A console that would read it prints it too."""
    found = {"easy_sets_agree/strict": {"easiest": [TOKEN | {"token": "[red]x[/red]"}]}}
    assert "⟦[red]x[/red]⟧" in " ".join(section(found, EASIEST))


@given(st.text(max_size=60), st.integers(4, 20), st.booleans())
@settings(max_examples=200, deadline=None)
def test_cut_text_is_safe_and_fits(text, room, from_end):
    """In cells and in characters; it is printable, one end of it is kept, and what fits is not cut."""
    found = cut(text, room, from_end)
    assert found.isprintable()
    assert max(cell_len(found), len(found)) <= room
    if text.isascii() and text.isprintable():
        assert found == text if len(text) <= room else found.strip("…") in text
        assert found.endswith(text[-3:]) if from_end or len(text) <= room else found.startswith(text[:3])


def test_tokens_are_listed_of_the_strictest_rung_alone():
    """Twice twenty lines are enough."""
    assert "not shown" not in " ".join(printed(EVIDENCE))
    assert "(1 of paper)" in " ".join(printed({"easy_sets_agree/paper": EVIDENCE["easy_sets_agree/paper"]}))
