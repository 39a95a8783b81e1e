"""Runs that share a store at the same time report what each would have reported alone."""

from __future__ import annotations

import pytest

from tests.conftest import LINEARITY
from tests.forked_runs import check_store, found, unfinished_files

LAST, *OTHERS = LINEARITY


def test_the_same_command_twice_at_once_gives_equal_rows(forked, alone, tmp_path):
    """Both runs keep and drop the same bookmarks at every block; no entry is set aside, none is of half a sweep, nothing is said."""
    given, left_alone = alone
    both = forked.together((tmp_path, "one.json", given), (tmp_path, "two.json", given))
    for ended in both:
        assert ended.code == 0, ended.said
        assert "store:" not in ended.said
        assert found(ended.report) == found(left_alone.report)
    assert check_store(tmp_path) == []
    assert unfinished_files(tmp_path) == []
    assert [len(ended.writes) for ended in both] >= [2, 2]


@pytest.mark.parametrize("split", ["rungs", "claims"])
def test_different_cells_at_once_give_the_rows_of_one_run(forked, alone, tmp_path, split):
    """Two runs, of other rungs or of other claims: the rows that each selects are those of one run of everything."""
    given, left_alone = alone
    subject = given[len(LINEARITY) :]
    parts = [(*given, "-m", "paper"), (*given, "-m", "strict")] if split == "rungs" else [(LAST, *subject), (*OTHERS, *subject)]
    ended = forked.together(*[(tmp_path, f"{i}.json", part) for i, part in enumerate(parts)])
    assert [each.code for each in ended] == [0, 0], [each.said for each in ended]
    measured = [{place(row): row for row in each.report["rows"] if row["verdict"] != "untested"} for each in ended]
    assert all(measured)
    assert not set(measured[0]) & set(measured[1])
    expected = {place(row): row for row in left_alone.report["rows"] if row["verdict"] != "untested"}
    for some in measured:
        assert some == {cell: expected[cell] for cell in some}
    assert split == "rungs" or {**measured[0], **measured[1]} == expected
    assert check_store(tmp_path) == []


def place(row):
    """What a row is of."""
    return row["claim"], row["predicate"], row["rung"], row["block"]
