"""A page taken apart without a browser: tags, text, what its cells open to, and the line of each rung."""

from __future__ import annotations

import json
from html.parser import HTMLParser

VOID = {"meta", "input", "br", "img", "link", "hr", "path", "wbr"}


class Parsed(HTMLParser):
    """Tags in order with their attributes, text outside scripts and styles, and whether every tag was closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.text, self.wrong, self.scripts = "", [], {}
        self.lines: dict[tuple[str | None, str | None], list[str]] = {}
        self.predicate = self.line = None
        self.feed(text)
        self.close()
        self.wrong += self.stack

    def handle_starttag(self, tag, attrs):
        """An opening tag."""
        names = [name for name, _ in attrs]
        if len(set(names)) < len(names):
            self.wrong.append(f"{tag}: {names}")
        self.tags.append((tag, dict(attrs)))
        self.predicate = dict(attrs).get("data-predicate", self.predicate)
        if "data-rung" in dict(attrs):
            self.line = self.lines.setdefault((self.predicate, dict(attrs)["data-rung"]), [])
        if self.line is not None and tag in ("th", "td"):
            self.line.append("")
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        """A tag that closes itself."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        """A closing tag."""
        if tag in VOID:
            return
        if tag == "tr":
            self.line = None
        if not self.stack or self.stack.pop() != tag:
            self.wrong.append(f"/{tag}")

    def handle_data(self, data):
        """Text."""
        if self.stack and self.stack[-1] in ("script", "style"):
            ident = dict(self.tags[-1][1]).get("id") or self.stack[-1]
            self.scripts[ident] = self.scripts.get(ident, "") + data
        else:
            self.text += data
            if self.line:
                self.line[-1] += data


def parts_of(html: str) -> tuple[Parsed, dict[str, Parsed]]:
    """The page, and what its cells open to, by name."""
    parsed = Parsed(html)
    details = {name.removesuffix("-text"): json.loads(text) for name, text in parsed.scripts.items() if name.endswith("-text")}
    return parsed, {name: Parsed(text) for name, text in details.items()}
