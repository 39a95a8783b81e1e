"""The table of published figures reads the same on the terminal, as JSON, on the page and in Markdown, whatever names are in it."""

from __future__ import annotations

import json

import pytest

from claims import CLAIMS
from claims.inconsistencies import HEADING, inconsistencies_of
from claims.published import figures_of
from fixtures import MODELS
from reports.__main__ import main
from reports.console import render
from reports.document import from_contents
from reports.gfm import plain
from reports.html import page
from reports.ledger import claim_of
from reports.model_card import card
from reports.page_claims import replication_of
from reports.page_subjects import subjects_of as page_subjects
from reports.pull_request import summary
from reports.replication import Replicated, replicated, tally
from reports.replication_shown import COLUMNS, cells, counted
from tests import made_pages
from tests.parsed_pages import parts_of
from tests.small_reports import row
from tests.test_markdown import tables

TEXT = "c"
HOSTILE = "<img src=x onerror=alert(1)>"


def contents(name="gpt2", corpus=TEXT, edition="an edition"):
    """A made-up report of a model of the paper: a figure for every row, and some evidence."""
    made = made_pages.contents((name,), (corpus,), blocks=MODELS[name].n_blocks)
    source = MODELS[name].source
    made["models"][name] |= {"source": f"{source.repo} at {source.revision}", "width": MODELS[name].width}
    made["corpora"][corpus]["edition"] = edition
    return made


@pytest.fixture
def file(tmp_path):
    """A report of GPT-2, in a file."""
    file = tmp_path / "report.json"
    file.write_text(json.dumps(contents()))
    return file


def lines_of(name="gpt2", corpus=TEXT, **more):
    """The figures of a made-up report beside the paper's."""
    return replicated(from_contents("made.json", contents(name, corpus, **more)), name, corpus)


def test_cells_say_figure_tolerance_and_outcome():
    """Of a figure with an interval, one within, a range, a bound, one that is not measured."""
    found = {line.figure.ident: cells(line) for line in lines_of("mistral")}
    value = {line.figure.ident: line.measured for line in lines_of("mistral")}
    what, where, paper, measured, difference, tolerance, within, remarks = found["r2-mistral-31"]
    assert (what, where, paper, tolerance, remarks) == ("R² of B31", "§4.2, Table 2, row 31", "0.93", "±0.05", "")
    assert measured.startswith(f"{value['r2-mistral-31']:.3f}"[:4])
    assert measured.endswith("]")
    assert within == ("yes" if abs(value["r2-mistral-31"] - 0.93) <= 0.05 else "no")
    assert difference.startswith("+" if value["r2-mistral-31"] > 0.93 else "−")
    assert found["wall-pca"][2] == "20–21"
    assert found["wall-pca"][4].endswith("%")
    assert found["supervision"][2] == "> 0"
    assert found["supervision"][5] == "a bound"
    assert found["agreement"][4].endswith(" points")
    assert found["mistral-width"][2:7] == ("4,096", "4,096", "0", "exact", "yes")
    assert found["blocks-saved-15"][2:] == ("0.53", "–", "–", "–", "–", "not measured: a count of blocks, and no measurement")
    assert {line[2] for ident, line in found.items() if ident == "block-parameters"} == {"218,000,000"}


@pytest.mark.parametrize(("measured", "difference"), [(42, "+100%"), (10, "−50%"), (20.5, "0"), (21.21, "+1.00%")])
def test_a_difference_from_a_range_is_of_its_nearer_end(measured, difference):
    """20–21: twice 21 is 100% above it, half of 20 is 50% below it, and inside there is none."""
    (figure,) = [figure for figure in figures_of("gpt2") if figure.ident == "wall-pca"]
    assert cells(Replicated(figure, measured))[4] == difference


def test_errors_keep_their_digits():
    """Small published numbers are written as they are."""
    found = {line.figure.ident: cells(line)[2] for line in lines_of()}
    assert [found[f"mse-{name}"] for name in ("direct", "dct", "svd", "rotated")] == ["0.000679", "0.001935", "0.001359", "0.016882"]


def test_the_command_prints_every_figure_and_inconsistency(file, capsys):
    """Under its claim, with the tally, the text, and the reasons for tolerances; whatever the outcome it ends well."""
    assert main(["replication", str(file)]) == 0
    printed = capsys.readouterr().out
    lines = lines_of()
    told = [" ".join(line.split()) for line in printed.splitlines()]
    for line in lines:
        assert " ".join(" ".join(cells(line)).split()) in told
    for one in inconsistencies_of("gpt2"):
        assert told.count(one.told) == 1
    assert told.count(f"{HEADING}:") == len({one.claim for one in inconsistencies_of("gpt2")})
    assert printed.startswith(f"gpt2 on {TEXT} (an edition), rung paper; the paper's text is WikiText-2\n{counted(lines)}")
    assert [line for line in told if line.startswith(("claim ", "appendix: "))] == [f"{claim.label}: {claim.title}" for claim in CLAIMS]
    assert "gain: ±30%, a ratio minus 1" in printed


def test_the_json_has_the_same(file, capsys):
    """With numbers in place of words."""
    assert main(["replication", str(file), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    lines = lines_of()
    assert (found["model"], found["corpus"], found["within"], found["of"]) == ("gpt2", TEXT, *tally(lines))
    assert [one["id"] for one in found["figures"]] == [figure.ident for figure in figures_of("gpt2")]
    assert [one["measured"] for one in found["figures"]] == [line.measured for line in lines]
    assert [one["within"] for one in found["figures"]] == [line.within for line in lines]
    assert sum(one["within"] is True and one["counts"] for one in found["figures"]) == found["within"]
    assert [(one["kind"], one["says"], one["against"]) for one in found["inconsistencies"]] == [
        (one.kind, one.says, one.against) for one in inconsistencies_of("gpt2")
    ]


@pytest.mark.parametrize("source", [f"/home/me/{HOSTILE}\x1b[2J", None])
def test_a_report_of_no_model_of_the_paper_is_refused(tmp_path, capsys, source):
    """In one line that names what it has, safe for a terminal, and what was expected; the exit code is that of bad input."""
    made = contents()
    made["models"]["gpt2"].pop("source")
    made["models"]["gpt2"] |= {"source": source} if source else {}
    file = tmp_path / "other.json"
    file.write_text(json.dumps(made))
    assert main(["replication", str(file)]) == 4
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert "\x1b" not in told.err
    for said in ("gpt2 from ", "mistral (mistralai/Mistral-7B-v0.1)", "gpt2 (openai-community/gpt2)", "pytest claims -m gpt2"):
        assert said in told.err
    assert "nowhere stated" in told.err or source


def squeezed(text):
    """A text without blanks: cells of a page have none between them."""
    return "".join(text.split())


def replication_line(made, file="my report.json"):
    """The lines about replication that a terminal shows of a report."""
    document = from_contents("made.json", made)
    text = render(document.ledger(), dict(document.contents), 120, colour=False, file=file)
    return [line for line in text.splitlines() if line.startswith("replication: ")]


def test_a_run_ends_in_one_line_with_the_command():
    """Of each model of the paper, with the file that was written, quoted; of other models none."""
    within, of = tally(lines_of())
    assert of
    where = f"(gpt2 on {TEXT}; the paper's text is WikiText-2)"
    expected = f"replication: {within} of {of} figures within tolerance {where}; python -m reports replication 'my report.json'"
    assert replication_line(contents()) == [expected]
    other = contents()
    other["models"]["gpt2"]["source"] = "/home/me/gpt2"
    assert replication_line(other) == []


@pytest.mark.parametrize("name", ["tinyllama", "llama-3.2-3b"])
def test_a_model_without_any_counterpart_has_no_table(tmp_path, capsys, name):
    """The paper has figures of it, none of which this suite measures: it is not listed, on no surface, and not asked for."""
    assert figures_of(name)
    made = contents(name)
    file = tmp_path / "report.json"
    file.write_text(json.dumps(made))
    assert main(["replication", str(file)]) == 4
    assert f"{name} (" not in capsys.readouterr().err
    document = from_contents("made.json", made)
    assert "The paper's figures" not in page([document]) + summary([document], 1_000_000)
    assert replication_line(made) == []


def test_tolerances_are_headed_where_there_are_any(file, monkeypatch, capsys):
    """Where nothing has a counterpart there is none, nor a heading."""
    nothing = [Replicated(figure, why="not measured") for figure in figures_of("gpt2")]
    assert main(["replication", str(file)]) == 0
    assert "Tolerances by kind of figure:" in capsys.readouterr().out
    monkeypatch.setattr("reports.replication_command.replicated", lambda *asked: nothing)
    assert main(["replication", str(file)]) == 0
    assert "Tolerances" not in capsys.readouterr().out


def test_a_run_without_counterparts_has_no_line():
    """Nothing was compared."""
    made = contents()
    made["rows"] = [row(rung="strict", model="gpt2", corpus=TEXT, block=3).as_json()]
    made["evidence"] = {}
    assert replication_line(made) == []


def test_the_run_names_the_file_that_it_wrote(claims, monkeypatch):
    """What --report gave, and not a name of its own."""
    monkeypatch.setattr("reports.console.lines_of_run", lambda document, file: [f"read {file}, {len(document.rows)} rows"])
    result = claims("-m", "paper", "--quick", "--report", "mine.json", "--verdicts=report")
    result.stdout.fnmatch_lines(["read */mine.json, * rows"])


def test_the_page_has_the_figures_under_their_claims():
    """A table in each claim that the paper has figures of, with every cell; what does not add up below; nothing for others."""
    document = from_contents("made.json", contents())
    _, details = parts_of(page([document]))
    for claim in CLAIMS:
        text = squeezed(details[f"s0-{claim.marker}"].text)
        mine = [line for line in lines_of() if line.figure.claim == claim.key]
        within, of = tally(mine)
        assert squeezed(f"{within} of {of} figures with a counterpart") in text
        assert "".join(COLUMNS) in text
        for line in mine:
            assert squeezed("".join(cells(line))) in text
        for one in inconsistencies_of("gpt2"):
            assert (squeezed(one.told) in text) is (one.claim == claim.key)
        assert details[f"s0-{claim.marker}"].wrong == []
    (subject,) = page_subjects([from_contents("made.json", made_pages.contents())])
    assert replication_of(subject) == {}
    assert "The paper's figures" not in page([from_contents("made.json", made_pages.contents())])
    folder = contents()
    folder["models"]["gpt2"]["source"] = "/home/me/gpt2"
    assert "The paper's figures" not in page([from_contents("made.json", folder)])


@pytest.mark.parametrize("write", [card, lambda documents: summary(documents, 1_000_000)])
def test_markdown_has_a_folded_table(write):
    """Of every figure, as a parser of Markdown reads it; and it stays within what is folded."""
    text = write([from_contents("made.json", contents())])
    lines = lines_of()
    (table,) = [table for table in tables(text) if table[0] == list(COLUMNS)]
    assert [[cell.strip() for cell in line] for line in table[1:]] == [list(cells(line)) for line in lines]
    folded = text.partition("<summary>The paper's figures of gpt2 on c: ")[2]
    assert folded.startswith(counted(lines))
    assert folded.index("| figure |") < folded.index("</details>")
    below = folded.partition(f"<summary>{HEADING} (gpt2 on c)</summary>")[2].partition("</details>")[0]
    assert [line for line in below.splitlines() if line.strip()] == [
        f"- {claim_of(one.claim).label}. {plain(one.told)}" for one in inconsistencies_of("gpt2")
    ]
    assert HEADING not in write([from_contents("made.json", made_pages.contents())])
    assert "The paper's figures" not in write([from_contents("made.json", made_pages.contents())])


def test_names_of_a_file_stay_text():
    """A corpus and an edition that are markup are shown as they are, and open nothing."""
    document = from_contents("made.json", contents(corpus=HOSTILE, edition=f"{HOSTILE}|*a*"))
    text = summary([document], 1_000_000)
    start = text.index("<details><summary>The paper's figures")
    assert "<img" not in text[start : text.index("</details>", start)]
    whole, details = parts_of(page([document]))
    assert whole.wrong == []
    assert all(part.wrong == [] for part in details.values())
    assert "img" not in {tag for part in (whole, *details.values()) for tag, _ in part.tags}
