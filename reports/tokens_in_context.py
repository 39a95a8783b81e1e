"""Tokens of the text where they stand: one safe line each, whatever the text holds."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from fixtures.naming import printable
from reports.sections import Evidence, Value, as_count, as_share, as_short, new_table, told

_WIDEST_TOKEN, _WIDEST_CONTEXT = 14, 74


def print_tokens(console: Console, tokens: Iterable[Evidence | None]) -> None:
    """Print a line a token: KL, whether the head agrees, confidence, where it is, what stands before, what is said and what follows."""
    table = new_table("KL", "agreed", "confidence", "at", left=0, plot="in the text", gap=1)
    for token in tokens:
        if token:
            numbers = told(token.get("kl"), as_short), _yes_or_no(token.get("agreed")), told(token.get("confidence"), as_share)
            table.add_row(*numbers, _place(token.get("window"), token.get("position")), _in_context(token))
    if table.row_count:
        console.print(table)


def cut(text: object, room: int, from_end: bool = False) -> str:
    """Make foreign text safe for one line and shorten it to so many terminal cells, counting one for every character that takes none.

    Control and format characters are escaped. With ``from_end`` the end of it is kept.
    """
    text = str(text)
    near = text[-room - 1 :] if from_end else text[: room + 1]
    shown = printable(near)
    order = shown[::-1] if from_end else shown
    if sum(map(_cells, order)) <= room:
        return shown
    kept, left = list[str](), room - 1
    for character in order:
        left -= _cells(character)
        if left < 0:
            break
        kept.append(character)
    return f"…{''.join(reversed(kept))}" if from_end else f"{''.join(kept)}…"


def _cells(character: str) -> int:
    return max(1, cell_len(character))


def _in_context(token: Evidence) -> Text:
    """``…before ⟦token⟧ said ⟦X⟧, text goes on ⟦Y⟧``: words between foreign texts keep one that runs from right to left in its place."""
    here, said, after = (_token(token.get(name)) for name in ("token", "said", "next"))
    rest = f"{here} said {said}, text goes on {after}"
    before = token.get("before") or ""
    if before:
        room = _WIDEST_CONTEXT - sum(map(_cells, rest)) - 2
        before = f"…{cut(before, room, from_end=True).removeprefix('…')} "
    return Text(before + rest)


def _token(text: str | None) -> str:
    return "–" if text is None else f"⟦{cut(text, _WIDEST_TOKEN)}⟧"


def _yes_or_no(agreed: bool | None) -> str:
    return "–" if agreed is None else "yes" if agreed else "no"


def _place(window: Value, position: Value) -> str:
    return f"{as_count(window)}:{as_count(position)}"
