"""Markdown says what the rows say, stays Markdown whatever names are in it, and keeps to GitHub's limits."""

from __future__ import annotations

import html
import json
import re
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from claims import CLAIMS, Verdict
from reports.__main__ import main
from reports.gfm import Section, code, fenced, fit, folded, plain, table
from reports.ledger import figure_text
from reports.markdown_sections import word
from reports.model_card import card
from reports.pull_request import Change, summary
from reports.verdict_symbols import SYMBOLS
from tests.made_reports import contents, document, row, rows

H, F = Verdict.HOLDS, Verdict.FALSIFIED
LIMIT = 65_536
HOSTILE = st.text(min_size=1, max_size=20) | st.text("`|\\<>@#&*_[]()!~$-+. \n\r\t\u202ea1", min_size=1, max_size=20)
HOSTILE |= st.sampled_from(
    ["<script>alert(1)</script>", "a|b", "\\|", "``", "a\n\n# b", "@someone", "o/r#12", "GH-1", "https://x.yz", "[a](b)"]
)
OURS = re.compile(r"</?(code|details|summary)>")


def parsed(text):
    """The document as tokens, inline ones in their place, as a parser with GitHub's tables reads it."""
    flat = []
    for token in MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text):
        flat += [token, *(token.children or [])]
    return flat


def tables(text):
    """Every table as rows of cells, each as a reader sees it."""
    found, cell = [], None
    for token in parsed(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type in ("td_open", "th_open"):
            cell = []
        elif token.type in ("td_close", "th_close"):
            found[-1][-1].append("".join(cell).replace("\u200b", ""))
            cell = None
        elif cell is not None and token.type in ("text", "code_inline", "text_special"):
            cell.append(token.content)
    return found


def seen(text):
    """What a reader sees of one line."""
    return "".join(t.content for t in parsed(text) if t.type in ("text", "code_inline", "text_special")).replace("\u200b", "")


def test_the_matrix_is_that_of_the_claims():
    """A row for every model, text and rung; a column for every claim that is judged; each verdict by word and symbol."""
    made = document(*rows(H, 4), *rows(F, 4, "paper"), *rows(F, 3, corpus="other"))
    (head, *body) = tables(summary([made], LIMIT))[0]
    assert head == ["model", "text", "rung", *(f"{c.key}: {c.title}" for c in CLAIMS if c.key != "appendix")]
    assert [line[:3] for line in body] == [["m", text, rung] for text in ("c", "other") for rung in ("paper", "strict")]
    expected = {(c.corpus, c.rung, c.claim): c for c in made.claims}
    for line in body:
        for key, cell in zip((1, 2, 3, 4, 5), line[3:], strict=True):
            verdict = expected[line[1], line[2], key].verdict
            assert cell.split(":")[0] == word(verdict)
            assert cell.startswith(SYMBOLS[verdict])
    assert body[0][6] == "✗ FALSIFIED: depth_trend, depth_gain"
    assert len(set(SYMBOLS.values())) == len(Verdict)


def test_every_falsified_cell_has_its_figure_interval_and_bound():
    """Core cells first."""
    made = document(one := row("depth_gain", F, value=-1.0), other := row("monotonic", F), row("depth_trend", H))
    (head, *body) = next(t for t in tables(summary([made], LIMIT)) if t[0][0] == "claim")
    assert head == ["claim", "predicate (* core)", "model", "text", "rung", "figure [interval]", "falsified at"]
    assert body == [
        ["4", "depth_gain *: R² of the last block minus R² of the first", "m", "c", "strict", figure_text(one), "≤ 0"],
        ["4", "monotonic: agreement of R² with the order of depth", "m", "c", "strict", figure_text(other), "≤ 0.4"],
    ]


def test_what_could_not_be_measured_is_counted_by_reason():
    """What was merely not selected is no failure."""
    made = document(*rows(Verdict.ERROR, 4, reason="out of memory"), row("r2", Verdict.UNTESTED, reason="not selected"), row("r2_lost", H))
    (body,) = [t[1:] for t in tables(summary([made], LIMIT)) if t[0][-1] == "cells"]
    assert body == [["m", "c", "! ERROR", "out of memory", "2"]]


def test_ladders_caveats_and_provenance_are_there():
    """What moves a verdict, what makes a figure doubtful, and by what it was measured."""
    moved = [row("depth_gain", H, "paper"), row("depth_gain", F, caveats=("few windows",))]
    made = document(*moved, row("r2", H, "paper"), row("r2", F))
    text = summary([made], LIMIT)
    assert "`r2` HOLDS on paper;" in text  # Of every block the last one's.
    assert "`depth_gain` HOLDS on paper;" in text
    assert "few windows (`depth_gain` on strict)" in text
    (body,) = [t[1] for t in tables(text) if "bounds" in t[0]]
    assert body[2].startswith("aaaaaaaa, a model, as saved")
    assert body[3:] == ["tttttttt, an edition, two files", "bbbbbbbb, as locked", "suite 0.1.0 cccccccc, torch 2.13.0, transformers 5.23.0"]


def test_advice_that_is_given_stands_open_and_the_rest_is_folded():
    """With a word for a model that gets none."""
    text = summary([document(*rows(H, 4), row("depth_gain", F, corpus="other"))], LIMIT)
    given, _, rest = text.partition("Advice that is not given, and why (9)")
    assert "- **Protect early blocks, compress late ones** (`m` on `c`)." in given
    assert "None is given for `m` on `other`." in given
    assert "No advice on direct quantisation" in rest
    assert "No advice on" not in given


def test_changes_against_a_baseline_are_told_where_there_is_one():
    """A flip with both verdicts; none is said; without a baseline nothing is."""
    made = document(*rows(H, 4))
    changed = summary([made], LIMIT, [Change("depth_gain · m", "HOLDS 0.5", "FALSIFIED −1", "weights")])
    assert ["depth_gain · m", "HOLDS 0.5", "FALSIFIED −1", "weights"] in tables(changed)[1]
    assert "Every verdict is the one that was kept." in summary([made], LIMIT, [])
    assert "baseline" not in summary([made], LIMIT)


def test_several_reports_are_told_apart():
    """Each by its file where the same model and text is in both."""
    one, two = document(*rows(H, 4)), document(*rows(F, 4))
    assert [line[0] for line in tables(summary([one, two], LIMIT))[0]] == ["report", *["made.json"] * 4]


def test_a_quick_run_and_changed_bounds_are_said_first():
    """Before the verdicts, as on the page; and what is not so of the bounds is not said of them."""
    made = document(*rows(Verdict.MEASURED, 4, quick=True), quick=True, bounds={"sha256": "b", "locked": False, "amendments": []})
    for text in (summary([made], LIMIT), card([made])):
        first = text.partition("| model |")[0]
        assert "NOT the locked ones" in first
        assert "figures carry no verdicts" in first
    fixed = "fixed before any model was measured"
    assert "bounds that are NOT as they were locked" in card([made])
    amended = document(*rows(H, 4), bounds={"sha256": "b", "locked": True, "amendments": ["one @moved"]})
    assert "amended: one @\u200bmoved" in summary([amended], LIMIT).partition("| model |")[0]
    assert [fixed in card(given) for given in ([made], [amended], [amended, document(*rows(H, 4))])] == [False] * 3
    assert fixed in card([document(*rows(H, 4))])
    assert "locked ones" not in summary([document(*rows(H, 4))], LIMIT)
    assert "different bounds" in card([amended, document(*rows(H, 4))]).partition("| report |")[0]


def test_a_card_says_what_how_and_whose():
    """Verdicts, guidance, a command that measures the same again, without the places of this run; and the paper."""
    text = card([document(*rows(H, 4), row("wall_svd", F))])
    assert "### Verdicts" in text
    assert "Protect early blocks" in text
    assert "2604.20682" in text
    block = next(t.content for t in parsed(text) if t.type == "fence" and t.info == "sh")
    first, _, second = block.splitlines()
    assert shlex.split(first) == ["pytest", "claims", "-m", "m and (claim3 or claim4)", "--model", "some/folder"]
    assert shlex.split(second)[3:] == ["m and claim3 and strict", "-k", "wall_svd-m-", "--model", "some/folder"]
    assert "Nothing was measured." in card([document(row("r2", Verdict.UNTESTED))])


@settings(max_examples=150, deadline=None)
@given(HOSTILE)
def test_foreign_text_is_shown_and_does_nothing(name):
    """In a cell and in a line: the text that went in, one cell, no element but ours, and nothing that GitHub would link."""
    from fixtures.naming import printable

    for written in (plain(name), code(name)):
        ((head, line),) = tables(table("t", "#", ["a", "b"], [[f"x{written}", "z"]]).head + f"| x{written} | z |\n")
        assert head == ["a", "b"]
        assert len(line) == 2
        shown = printable(name) if name.strip(" ") or written == plain(name) else '""'
        assert line[0].split() == f"x{shown}".split()
        tokens = parsed(f"- x{written}")
        assert {t.type for t in tokens} <= {
            *("bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close", "paragraph_open", "paragraph_close"),
            *("inline", "text", "text_special", "code_inline", "html_inline"),
        }
        assert all(OURS.fullmatch(t.content) for t in tokens if t.type == "html_inline")
    rendered = html.unescape(plain(name))
    assert not re.search(r"@\w|#\d|[Gg][Hh]-\d|://|[Ww]{3}\.", rendered)


@settings(max_examples=12, deadline=None)
@given(HOSTILE, HOSTILE, HOSTILE)
def test_tables_keep_their_columns_whatever_the_names(model, corpus, reason):
    """Names of models and texts, reasons and caveats from a file that anyone may have written."""
    made = document(
        row("depth_gain", F, model=model, corpus=corpus, caveats=(reason,)),
        row("depth_trend", Verdict.ERROR, model=model, corpus=corpus, reason=reason),
        environment={"command": ["pytest", "claims", "--model", model], "packages": {"torch": reason}},
    )
    for text in (summary([made], LIMIT), card([made])):
        found = tables(text)
        assert len(found) == (4 if text.startswith("## Transformer") else 2)
        assert all(len({len(line) for line in one}) == 1 for one in found)
        assert {t.content for t in parsed(text) if t.type == "html_inline"} <= {"<code>", "</code>", "</summary>", "<summary>"}
        blocks = [t.content.strip() for t in parsed(text) if t.type == "html_block"]
        assert all(block.startswith("<details><summary>") or block == "</details>" for block in blocks)
        assert not [
            t for t in parsed(text) if t.type in ("image", "em", "s_open") or (t.type == "link_open" and "arxiv" not in t.attrs["href"])
        ]


def test_a_fence_outlasts_what_it_holds():
    """A run of backticks in a command does not end it."""
    (block,) = [t for t in parsed(fenced("a\n````\nb")) if t.type == "fence"]
    assert block.content == "a\n````\nb\n"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4000), st.lists(st.integers(0, 40), min_size=1, max_size=5))
def test_a_page_keeps_to_its_limit(limit, sizes):
    """Whole where it fits; else whole lines go, and what went is said."""
    sections = [table(f"table {i}", "### t", ["a", "b"], [["é" * 9, str(k)] for k in range(n)]) for i, n in enumerate(sizes)]
    sections.append(folded("the rest", "more", ["x" * 50] * 3))
    text = fit(sections, limit)
    assert len(text.encode()) <= limit
    whole = fit(sections, 1 << 30)
    assert "Cut" not in whole
    if len(whole.encode()) <= limit:
        assert text == whole
    elif text:
        assert f"to fit the limit of {limit:,} bytes" in text
        assert text.count("<details>") == text.count("</details>")
        kept = sum(len(one) - 1 for one in tables(text))
        gone = sum(int(n) for n in re.findall(r"(\d+) of \d+ lines of table", text))
        gone += sum(sizes[int(i)] for i in re.findall(r"(?:: |; )table (\d)", text))
        assert kept + gone == sum(sizes)


def test_a_long_report_fits_a_comment():
    """Thousands of falsified cells: the table is cut, the verdicts stay."""
    made = document(*(row("depth_gain", F, model=f"model-{k}") for k in range(16)))
    text = summary([made], 4_000)
    assert len(text.encode()) <= 4_000
    assert "✗ FALSIFIED" in text
    assert re.search(r"Left out: .*lines of the verdicts", text)


def test_a_section_without_lines_is_kept_whole_or_named():
    """Its head is all it has."""
    assert "Left out: a" in fit([Section("a", "x" * 500)], 300)


def test_the_command_writes_to_a_file_or_to_standard_output(tmp_path, capsysbinary):
    """For a pull request unless a card is asked for."""
    file = tmp_path / "report.json"
    file.write_text(json.dumps(contents(*rows(H, 4))))
    assert main(["markdown", str(file)]) == 0
    assert capsysbinary.readouterr().out.decode().startswith("## Transformer Assay")
    assert main(["markdown", str(file), "--for", "card", "--output", str(tmp_path / "card.md")]) == 0
    assert (tmp_path / "card.md").read_text().startswith("## Structural claims tested")


@pytest.mark.parametrize("where", ["nowhere/x.md", "."])
def test_a_place_that_cannot_be_written_is_refused(tmp_path, capsys, where):
    """In one line, with the exit code of bad input."""
    file = tmp_path / "report.json"
    file.write_text(json.dumps(contents(*rows(H, 4))))
    assert main(["markdown", str(file), "--output", str(tmp_path / where)]) == 4
    assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
