"""The symbol beside the word of each verdict, the same on the page and in Markdown."""

from __future__ import annotations

from claims import Verdict

SYMBOLS = {
    Verdict.HOLDS: "✓",
    Verdict.FALSIFIED: "✗",
    Verdict.INCONCLUSIVE: "?",
    Verdict.MEASURED: "○",
    Verdict.NOT_APPLICABLE: "∅",
    Verdict.UNTESTED: "–",
    Verdict.ERROR: "!",
}
"""Beside the word, never in its place, so that no verdict is told by its colour alone; none that GitHub draws as a picture."""
