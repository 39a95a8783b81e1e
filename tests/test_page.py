"""What the page of reports contains, without a browser: every row, nothing unescaped, nothing from elsewhere, of a size to send."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from claims import Verdict
from reports import __main__ as command_line
from reports.document import from_contents
from reports.html import island, page
from reports.ledger import number
from reports.verdict_symbols import SYMBOLS
from tests.made_pages import EVIDENCE, HOSTILE, as_wide_as_real, contents, document
from tests.made_reports import document as small_document
from tests.made_reports import row as made_row
from tests.made_reports import rows as made_rows
from tests.parsed_pages import parts_of


@pytest.fixture(scope="module")
def one():
    """The page of one model."""
    return parts_of(page([document("m", blocks=12)]))


def test_every_tag_is_closed_and_no_attribute_stands_twice(one):
    """In the page and in everything that it opens."""
    whole, details = one
    assert whole.wrong == []
    assert {name: part.wrong for name, part in details.items() if part.wrong} == {}
    assert set(details) == {"s0-about", *(f"s0-claim{n}" for n in range(1, 6)), "s0-appendix"}


def test_every_row_is_on_the_page(one):
    """On the line of its own rung verdict, figure, interval, bound and margin; reasons, caveats and other blocks' figures in its claim."""
    _, details = one
    text = {name: " ".join(part.text.split()) for name, part in details.items()}
    rows = document("m", blocks=12).rows
    assert any(row.verdict is Verdict.UNTESTED for row in rows)
    for row in rows:
        here = text[f"s0-{row.cell.claim if row.cell.claim == 'appendix' else f'claim{row.cell.claim}'}"]
        part = details[f"s0-{row.cell.claim if row.cell.claim == 'appendix' else f'claim{row.cell.claim}'}"]
        rung, verdict, *line = (" ".join(told.split()) for told in part.lines[row.cell.predicate, row.cell.rung])
        if row.cell.block in (None, 11):
            assert rung == row.cell.rung
            assert verdict.partition(" would be ")[0] == f"{SYMBOLS[row.verdict]} {row.verdict.word}"
        if row.value is None:
            assert row.reason in here
            continue
        if row.cell.block in (None, 11):
            assert line[0] == f"{number(row.value)} {row.unit}".strip()
            assert line[1] == f"{number(row.low)} … {number(row.high)} 95%"
            assert line[2:] in ([], [row.bound.describe() if row.bound else "", number(row.margin) if row.bound else ""])
            assert len(line) == 4 or row.bound is None
            assert [said for said in (row.reason, *row.caveats) if said not in here] == []
        else:
            assert f"{number(row.value)} [{number(row.low)}, {number(row.high)}]" in here


def test_everything_a_verdict_rests_on_is_there(one):
    """Statement, falsifier, ladder, plots with their tables, sections of the terminal, commands; weights, text, protocol and timings."""
    _, details = one
    four, three, about = details["s0-claim4"], details["s0-claim3"], details["s0-about"]
    for said in ("The deeper a block", "R² that does not rise", "Control ladder:", "What the figures rest on", "claim4 and strict"):
        assert said in four.text
    assert "Every layer stored" in three.text
    for said in ("a" * 64, "t" * 64, "b" * 64, "as locked", "as saved", "an edition", "variance.share", "pytest claims --corpus", "1.5 s"):
        assert said in about.text
    for part in details.values():
        drawn = [tag for tag, _ in part.tags if tag in ("svg", "figure")]
        assert drawn.count("svg") == drawn.count("figure")
        assert sum(tag == "table" for tag, _ in part.tags) >= drawn.count("figure")
    assert sum(tag == "svg" for part in details.values() for tag, _ in part.tags) > 40


def test_a_section_or_plot_of_several_predicates_stands_once(one):
    """The others say under which it is."""
    three = one[1]["s0-claim3"]
    headings = re.findall(r"Every layer stored[^\n]*", three.text)
    assert sum(": under wall_dct" not in heading for heading in headings) == 1
    assert sum(": under wall_dct" in heading for heading in headings) == 7
    assert three.text.count("The same as a table: Error of every method over direct quantisation") == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_and_nothing_else(name):
    """Of a model, a text, a predicate, a rung, a unit, a caveat, a reason, a file and the model's description."""
    report = contents((name,), (name,), blocks=2, evidence={})
    report["models"][name]["about"] = name
    report["environment"]["command"] = ["pytest", name]
    for row in report["rows"][:3]:
        row |= {"predicate": f"{name}{row['rung']}", "unit": name, "caveats": [name], "reason": name}
    report["rows"].append({**report["rows"][-1], "rung": name, "claim": 77, "predicate": name, "verdict": "measured", "value": 1.0})
    whole, details = parts_of(page([from_contents(name, report)]))
    shown = name.replace("\u202e", "\\u202e")
    assert whole.wrong == []
    assert sum(tag == "script" for tag, _ in whole.tags) == 1 + len(details)
    for part in (whole, *details.values()):
        assert part.wrong == []
        assert not [tag for tag, attributes in part.tags if tag == "img" or any(a.startswith("on") or a == "style" for a in attributes)]
    assert not any(tag == "script" for part in details.values() for tag, _ in part.tags)
    assert shown in whole.text
    assert shown in details["s0-claim1"].text
    assert shown in details["s0-about"].text
    assert shown in details["s0-claim77"].text
    assert "\u202e" not in whole.text + "".join(part.text for part in details.values())
    assert "49" not in whole.text


@pytest.mark.parametrize("name", HOSTILE[:3])
def test_evidence_is_text_and_nothing_else(name):
    """Every string in it, and a name beside the names of every mapping, is markup, and none comes through; some of it is shown."""

    def hostile(value):
        if isinstance(value, dict):
            made = {key: hostile(part) for key, part in value.items()}
            return {**made, name: next(iter(made.values()))} if made else made
        return [hostile(part) for part in value] if isinstance(value, list) else name if isinstance(value, str) else value

    def only_strings(value):
        if isinstance(value, dict):
            return {key: only_strings(part) for key, part in value.items()}
        return [only_strings(part) for part in value] if isinstance(value, list) else name if isinstance(value, str) else value

    for made in (only_strings(EVIDENCE), {key: hostile(value) for key, value in EVIDENCE.items()}):
        whole, details = parts_of(page([document(blocks=12, evidence=made)]))
        assert sum(tag == "script" for tag, _ in whole.tags) == 1 + len(details)
        for part in (whole, *details.values()):
            assert part.wrong == []
            assert not [tag for tag, _ in part.tags if tag == "img" or (tag == "script" and part is not whole)]
            assert not [tag for tag, attributes in part.tags if any(a.startswith("on") or a == "style" for a in attributes)]
        assert any(name in part.text for part in details.values())


@pytest.mark.parametrize("text", ["</script>", "<!--<script>", "a</b", "\u2028\\\"'&lt;"])
def test_nothing_closes_an_island_and_it_reads_back(text):
    """Whatever a template should let through."""
    assert not {"</", "<!"} & {island(text)[i : i + 2] for i in range(len(island(text)))}
    assert json.loads(island(text)) == text


def test_bounds_are_those_of_the_file():
    """The table of a predicate, what unjudged rungs would be, and the ladder go by the bounds that the file was judged by."""
    report = contents(blocks=8, evidence={})
    for row in report["rows"]:
        if row["predicate"] == "depth_trend" and row["bound"]:
            row["bound"] |= {"holds": -7.5, "falsified": -8.5}
            row["verdict"] = "holds"
    part = parts_of(page([from_contents("f", report)]))[1]["s0-claim4"].text.partition("depth_gain")[2]
    text = " ".join(part.partition("Rank correlation of R² with depth")[2].partition("depth_trend: figure and interval")[0].split())
    assert text.count("holds at ≥ -7.5") == 2
    assert text.count("would be ✓ HOLDS") == 2
    assert "no control moves it: HOLDS from paper to strict" in text


def test_nothing_comes_from_elsewhere(one):
    """Links lead to the paper or into the page; the policy allows this script and this style and nothing else."""
    whole, details = one
    for part in (whole, *details.values()):
        for tag, attributes in part.tags:
            assert not ({"src", "srcset", "action", "data", "poster", "background", "style"} & set(attributes)), (tag, attributes)
            for address in (attributes.get("href"), attributes.get("xlink:href")):
                assert address is None or address.startswith("#") or address == "https://arxiv.org/abs/2604.20682"
    policy = next(a["content"] for tag, a in whole.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(whole.scripts[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "url(" not in whole.scripts["style"]
    assert "@import" not in whole.scripts["style"]


def test_a_page_of_one_large_model_can_be_sent():
    """32 blocks, everything measured, evidence as wide as a real model's: at most 2 MB."""
    assert 500_000 < len(page([document("m", evidence=as_wide_as_real())]).encode()) <= 2_000_000


@pytest.mark.parametrize("models", [1, 5])
def test_a_claim_without_core_predicates_has_counts_and_no_verdict(models):
    """Where nothing ran it is UNTESTED, and never MEASURED; in a wide matrix, what decided a verdict is there for who asks."""
    found = [made_row("nf4_gain", Verdict.FALSIFIED, model=f"m{k}") for k in range(models)]
    found += [one for k in range(models) for one in made_rows(Verdict.FALSIFIED, 4, model=f"m{k}")]
    whole, details = parts_of(page([small_document(*found)]))
    assert whole.text.count("appendix, m0 on c: paper – UNTESTED") == 1
    assert whole.text.count("strict 1 falsified, 7 untested") == models
    assert "MEASURED" not in whole.text.partition("How to read this")[0]
    assert "MEASURED" not in details["s0-appendix"].text
    assert whole.text.partition("How to read this")[0].count("FALSIFIED by depth_trend, depth_gain") == models
    titles = [attributes["title"] for tag, attributes in whole.tags if tag == "span" and "title" in attributes]
    assert titles.count("by depth_trend, depth_gain") == (models if models > 4 else 0)


def test_with_many_models_the_models_are_rows():
    """Up to four are columns."""
    for count, turned in ((4, False), (5, True)):
        whole, details = parts_of(page([document(*(f"m{i}" for i in range(count)), blocks=2, evidence={})]))
        heads = [attributes for tag, attributes in whole.tags if tag == "th" and "data-s" in attributes]
        assert [head["scope"] for head in heads] == ["row" if turned else "col"] * count
        assert len(details) == 7 * count


def test_one_model_in_two_reports_has_two_addresses():
    """And each says its file."""
    documents = [document("m", blocks=2, evidence={}, name=name) for name in ("before.json", "after.json")]
    whole, _ = parts_of(page(documents))
    links = {attributes["href"] for tag, attributes in whole.tags if tag == "a" and "data-open" in attributes}
    assert {"#m/c/claim1", "#m/c~2/claim1"} <= links
    assert len(links) == 14
    assert "before.json" in whole.text
    assert "after.json" in whole.text


def test_what_makes_verdicts_void_is_said_first():
    """Bounds that are not locked, amendments, quarter sizes, reports of different bounds."""
    quick = contents(blocks=2, evidence={})
    for row in quick["rows"]:
        row["quick"] = True
    quick["bounds"] |= {"sha256": "f" * 64, "amendments": ["one was moved"]}
    whole, _ = parts_of(page([document(locked=False, blocks=2, evidence={}), from_contents("quick.json", quick)]))
    top = whole.text.partition("Claims × models")[0]
    for said in ("NOT the locked ones", "quarter sizes", "one was moved", "different bounds"):
        assert said in top
    assert "against bounds that are NOT as they were locked" in top
    locked = parts_of(page([document(blocks=2, evidence={})]))[0].text
    assert "NOT" not in locked.partition("Claims × models")[0]
    assert "fixed before any model was measured" in locked


def test_without_script_the_verdicts_are_there(one):
    """A table for each model, to which the links of the matrix lead, and a word on what is missing."""
    whole, _ = one
    idents = {attributes["id"] for _, attributes in whole.tags if "id" in attributes}
    assert {"m/c", "m/c/claim1", "m/c/appendix"} <= idents
    assert "need JavaScript" in whole.text


@pytest.mark.parametrize(
    "broken", [None, 7, "text", [1], {"methods": 3}, {"sources": {"a": 1}, "blocks": "x", "k": [None], "by_block": []}]
)
def test_evidence_of_another_form_costs_no_verdict(broken):
    """A file of another version: sections that cannot be shown say so, and the rows are there."""
    evidence = {name: {"anything": broken} for name in EVIDENCE} | {"transfer/paper": {"sources": broken}}
    _, details = parts_of(page([document(blocks=4, evidence=evidence)]))
    assert all(part.wrong == [] for part in details.values())
    assert "depth_trend" in details["s0-claim4"].text


def test_the_command_writes_the_page_whole_or_not_at_all(tmp_path, capsys):
    """It says what it wrote; a report that cannot be read, or a page that would replace it, is refused in a line, with exit code 4."""
    report, out = tmp_path / "r.json", tmp_path / "page.html"
    report.write_text(json.dumps(contents(blocks=2, evidence={})))
    assert command_line.main(["html", str(report), "--output", str(out)]) == 0
    assert out.read_text().startswith("<!doctype html>")
    assert "page.html: " in capsys.readouterr().out
    before = report.read_text()
    (tmp_path / "bad.json").write_text("{}")
    for given in (
        [str(report), "--output", str(report)],
        [str(tmp_path / "bad.json")],
        [str(report), "--output", str(tmp_path / "no" / "x.html")],
    ):
        assert command_line.main(["html", *given]) == 4
        assert capsys.readouterr().err.count("\n") == 1
    assert report.read_text() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bad.json", "page.html", "r.json"]
