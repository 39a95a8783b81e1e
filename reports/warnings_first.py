"""What a reader must know before any verdict, on the page and in Markdown: whether the bounds are the locked ones, and sizes are whole."""

from __future__ import annotations

from collections.abc import Iterable

from reports.document import Document


def warnings_of(documents: Iterable[Document]) -> list[str]:
    """Return the warnings, as plain text: bounds that are not the locked ones, amendments, quarter sizes, reports of several bounds."""
    given, said = list(documents), []
    for document in given:
        of = f"{document.name}: " if len(given) > 1 else ""
        bounds = document.contents["bounds"]
        if not bounds["locked"]:
            said.append(f"{of}the bounds are NOT the locked ones: they were changed without an amendment, so no verdict here counts.")
        if bounds["amendments"]:
            said.append(f"{of}the bounds were amended: {'; '.join(bounds['amendments'])}.")
        if any(row.quick for row in document.rows):
            said.append(f"{of}measured at quarter sizes (--quick): figures carry no verdicts.")
    hashes = {document.contents["bounds"]["sha256"][:8] for document in given}
    if len(hashes) > 1:
        said.append(f"These reports were judged by different bounds or protocols ({', '.join(sorted(hashes))}): compare figures with care.")
    return said


def bounds_told(documents: Iterable[Document]) -> str:
    """Say what the bounds are that verdicts were reached against, of all documents together: only what is so of each is said of them."""
    bounds = [document.contents["bounds"] for document in documents]
    if not all(one["locked"] for one in bounds):
        return "bounds that are NOT as they were locked"
    if any(one["amendments"] for one in bounds):
        return "bounds that were amended after they had been locked"
    return "bounds that were fixed before any model was measured"
