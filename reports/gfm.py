"""GitHub-flavoured Markdown: foreign text that stays text, tables that stay tables, and a size that is kept.

GitHub links mentions and references in the text that Markdown makes, so escaping does not stop them: a zero-width space does, and so does
a code span. Entities are used in place of backslashes, whose meaning beside a pipe differs from one parser of tables to another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fixtures.naming import printable

_GAP = "\u200b"
_ACTIVE = re.compile(r"[\\`*\[\]<>&|~$]|(?<![^\W_])_|_(?![^\W_])")
_LINKING = re.compile(r"@|#(?=\w)|(?<=[Gg][Hh])-(?=\d)|:(?=//)|(?<=[Ww][Ww][Ww])\.|:(?=[\w+-]+:)")


def plain(text: object) -> str:
    """Write foreign text as text: on one line, without markup, HTML, mentions, references or links."""
    shown = _LINKING.sub(lambda found: found[0] + _GAP, printable(text))
    return _ACTIVE.sub(lambda found: f"&#{ord(found[0])};", shown)


def code(text: object) -> str:
    """Write foreign text as code, in a table too; what is empty as an empty pair of quotes."""
    shown = printable(text)
    if not shown.strip() or "|" in shown or "\\" in shown or "`" in shown:  # Where parsers disagree, or there is nothing to fence.
        return f"<code>{plain(shown) if shown.strip() else '&quot;&quot;'}</code>"
    return f"`{shown}`" if shown == shown.strip() else f"` {shown} `"


def fenced(text: str, language: str = "") -> str:
    """Write lines as a block of code, with a fence that none of them closes."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


@dataclass(frozen=True)
class Section:
    """A part of a page. Of ``lines``, whole ones are cut where there is no room; ``head`` and ``tail`` stay beside those that are kept."""

    title: str
    head: str
    lines: tuple[str, ...] = ()
    tail: str = ""


def table(title: str, heading: str, names: Sequence[str], rows: Iterable[Sequence[str]]) -> Section:
    """Make a section of a table; the cells are Markdown."""
    head = f"{heading}\n\n{_line(names)}\n{_line(['---'] * len(names))}\n"
    return Section(title, head, tuple(f"{_line(row)}\n" for row in rows))


def folded(title: str, summary: str, lines: Iterable[str]) -> Section:
    """Make a section that a reader opens; ``summary`` and ``lines`` are Markdown, a line a point."""
    return Section(title, f"<details><summary>{summary}</summary>\n\n", tuple(f"- {line}\n" for line in lines), "\n</details>\n")


def fit(sections: Iterable[Section], limit: int) -> str:
    """Join sections in at most ``limit`` bytes of UTF-8, saying at the end what was cut; ``""`` where not even that fits.

    A section that has no room loses lines from its end, or goes whole; those after it are still tried.
    """
    given = list(sections)
    whole = "\n".join(section.head + "".join(section.lines) + section.tail for section in given)
    if _size(whole) <= limit:
        return whole
    most = _cut([f"{len(section.lines)} of {len(section.lines)} lines of {section.title}" for section in given], limit)
    room, kept, cut = limit - _size(most), [], []
    for section in given:
        needed = _size(section.head + section.tail) + 1
        if needed > room:
            cut.append(section.title)
            continue
        room, lines = room - needed, []
        for line in section.lines:
            if _size(line) > room:
                break
            room -= _size(line)
            lines.append(line)
        if section.lines and not lines:
            cut.append(section.title)
            room += needed
            continue
        if len(lines) < len(section.lines):
            cut.append(f"{len(section.lines) - len(lines)} of {len(section.lines)} lines of {section.title}")
        kept.append(section.head + "".join(lines) + section.tail)
    page = "\n".join([*kept, _cut(cut, limit)])
    return page if _size(page) <= limit else ""


def _cut(what: list[str], limit: int) -> str:
    return f"\n> **Cut** to fit the limit of {limit:,} bytes. Left out: {'; '.join(what)}. The report file has all.\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _size(text: str) -> int:
    return len(text.encode())
