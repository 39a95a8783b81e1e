"""What ``--models`` prints: the registered models."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table

from fixtures import MODELS, Folder, Hub, Model, ModelError, Wheel
from fixtures.naming import printable, readable_size

_WIDTH = 160  # A narrower terminal breaks lines itself.


def model_list() -> str:
    """Render the registered models as a table: size, where they come from and whether they are there."""
    text = io.StringIO()
    console = Console(file=text, width=_WIDTH, highlight=False, markup=False, emoji=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("-m", "family", "blocks", "parameters", "download", "BOS", "here", "from", "licence"):
        right = name in ("blocks", "parameters", "download")
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for model in MODELS.values():
        size = model.source.size if isinstance(model.source, Hub) else 0
        table.add_row(
            model.name,
            model.family,
            str(model.n_blocks),
            f"{model.parameters / 1e6:,.0f} M" if model.parameters else "",
            readable_size(size) if size else "",
            {True: "yes", False: "no", None: ""}[model.bos],
            "yes" if is_here(model) else "no",
            where(model),
            model.licence,
        )
    console.print(table)
    console.print("\nhere: in the hub's cache, installed, or on disk; a gated model asks you to accept its licence on the hub first.")
    console.print("Any other: --model PATH, --model organisation/name[@revision], or register it (--models-from FILE, see README).")
    return text.getvalue().rstrip()


def is_here(model: Model) -> bool:
    """Whether a model can be loaded without a download."""
    if isinstance(model.source, Hub):
        return model.source.cached()
    try:
        return model.source.fetch(lambda line: None).exists()
    except ModelError:
        return False


def where(model: Model) -> str:
    """Say where a model comes from."""
    if isinstance(model.source, Hub):
        return f"{model.source.repo}@{model.source.revision[:8] if model.source.pinned else model.source.revision}"
    if isinstance(model.source, Wheel):
        return f"package {model.source.package}"
    return printable(model.source.folder if isinstance(model.source, Folder) else model.source.file)
