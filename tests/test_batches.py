"""No figure depends on how many windows are run together, beyond rounding."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from claims.declared import all_predicates
from harness.anatomy import Anatomy
from harness.batching import BATCH
from tests import families
from tests.family_laboratory import all_rows, laboratory, texts_of

ABSOLUTE = RELATIVE = 1e-4
"""Of figures and both ends of their intervals. Products of float32 matrices of other sizes round otherwise, by about 1e-7 of a stream."""
BATCHED = [f"harness.{module}.BATCH" for module in ("batching", "refitting")]


def test_the_docs_say_the_same_tolerance():
    """The numbers that are allowed here are those that users read."""
    text = (Path(__file__).parent.parent / "docs" / "running.md").read_text(encoding="utf-8")
    (said,) = re.findall(r"how many windows run together, beyond rounding: (\S+), plus (\S+) of it", text)
    assert tuple(map(float, said)) == (ABSOLUTE, RELATIVE)


@pytest.mark.parametrize(("family", "blocks", "smaller"), [("mistral", 10, 3), ("mixtral", 4, 1)])
def test_figures_do_not_depend_on_the_batch(family, blocks, smaller, tmp_path, monkeypatch):
    """Every cell of every claim, with its interval and its verdict, whether windows run by eights, by threes, or one by one.

    With 10 blocks every cell has a figure; of fewer, those that need more have none, and are no part of what is compared.
    """
    model = families.model_of(families.config_of(family, blocks, 16, 2, 64))
    path, texts = families.save(tmp_path / "model", family, model), texts_of(tmp_path, family, model, 2)
    enter, together, by_batch = Anatomy.enter, [], {}
    monkeypatch.setattr(Anatomy, "enter", lambda self, ids: (together.append(len(ids)), enter(self, ids))[1])
    for batch in (BATCH, smaller):
        for place in BATCHED:
            monkeypatch.setattr(place, batch)
        together.clear()
        by_batch[batch] = all_rows(laboratory(path, texts))
        # Steps of training take two windows, whatever the batch.
        assert max(together) == max(batch, 2)
    one, two = by_batch.values()
    assert {row.cell.predicate for row in one if row.value is None} == {p.name for _, p in all_predicates() if p.inapplicable(blocks)}
    assert (blocks == 10) == all(row.value is not None for row in one)
    for expected, found in zip(one, two, strict=True):
        assert (found.cell, found.verdict) == (expected.cell, expected.verdict)
        for name in ("value", "low", "high"):
            a, b = (np.nan if (x := getattr(row, name)) is None else x for row in (expected, found))
            np.testing.assert_allclose(b, a, rtol=RELATIVE, atol=ABSOLUTE, err_msg=f"{found.cell.ident} {name}")
