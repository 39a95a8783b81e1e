"""What a terminal, Markdown, the page and the README show of a sweep is what was measured, whatever its settings are called."""

from __future__ import annotations

import json
import re

import pytest

from claims import Verdict
from reports.__main__ import main
from reports.console import render
from reports.document import from_contents
from reports.html import page
from reports.kept import as_text, slimmed
from reports.model_card import card
from reports.pull_request import summary
from reports.readme import BEGIN, END
from reports.result_table import stability, table
from tests.made_pages import HOSTILE
from tests.made_report import report
from tests.made_reports import contents, document, row, rows
from tests.parsed_pages import parts_of
from tests.test_markdown import LIMIT, parsed, seen, tables

H, F, Q, E = Verdict.HOLDS, Verdict.FALSIFIED, Verdict.INCONCLUSIVE, Verdict.ERROR
RUN = (*rows(H, 2), *rows(H, 4), *rows(F, 4, "paper"))
SWEPT = {
    "seed=1": [*rows(H, 2), row("depth_trend", H)],
    "windows=×2": [*rows(H, 2), row("depth_gain", Q, value=0.1)],
    "corpus=code": [*rows(H, 2), row("depth_gain", F, value=-0.7)],
    "dtype=float16": [row("depth_gain", E, reason="not finite"), row("r2", H)],
}
TOLD = (
    "claim 4 · strict: HOLDS stands in 1 of 3 settings; reversed to FALSIFIED with corpus=code (by depth_gain); "
    "INCONCLUSIVE with windows=×2 (undecided depth_gain); not measured with dtype=float16",
    "depth_gain · strict: HOLDS stands in 0 of 2 settings; reversed to FALSIFIED with corpus=code (−0.700 [−1.20, −0.200]); "
    "INCONCLUSIVE with windows=×2 (0.100 [−0.400, 0.600]); not measured with dtype=float16",
    "dtype=float16 does not count for depth_gain on strict: not finite",
)
NAMES = (*HOSTILE, "a|b", "@someone", "`", "x\x1b[2J\ny")


def shown(made, width=110):
    """What a terminal shows of a report."""
    return render(made.ledger(), dict(made.contents), width, colour=False)


def running(text):
    """Lines as running text."""
    return " ".join(text.split())


@pytest.fixture(scope="module")
def swept():
    """A report with a sweep."""
    return document(*RUN, swept=SWEPT)


@pytest.mark.parametrize("width", [80, 100, 160])
def test_a_terminal_has_a_column_and_says_what_flips(swept, width):
    """On the line of each cell its share, where a setting can change it; below, every flip once; nothing cut, on lines that fit."""
    lines = shown(swept, width).splitlines()
    head = next(line for line in lines if line.startswith("  predicate"))
    assert head.split()[-2:] == ["margin", "stable"]
    cells, name = {}, ""
    for line in lines:
        if found := re.match(r"  (\w+|\s{5})(?:, block \d+)?[ *]+(paper|strict) +(HOLDS|FALSIFIED) ", line):
            name = found[1].strip() or name
            cells[name, found[2]] = line[len(head.removesuffix("stable")) :].strip()
    assert cells == {
        **dict.fromkeys([("r2_lost", "strict"), ("single_replacement", "strict"), ("multi_replacement", "strict")], "3/3"),
        ("r2", "strict"): "4/4",
        ("depth_trend", "paper"): "",
        ("depth_trend", "strict"): "1/1",
        ("depth_gain", "paper"): "",
        ("depth_gain", "strict"): "0/2",
    }
    text = running("\n".join(lines))
    for told in (*TOLD, "Stable: settings of the sweep in which the verdict is the same", "windows=×2: what windows=×2 changes"):
        assert text.count(told) == 1, told
    assert "strict HOLDS · 1/3" in text
    assert "strict HOLDS · 4/4" in text
    assert max(map(len, lines)) <= 140
    assert not [line for line in lines if "…" in line.replace(" … ", "")]


def test_without_a_sweep_nothing_is_said_of_one():
    """In none of the forms."""
    made = document(*RUN)
    whole, details = parts_of(page([made]))
    texts = [
        shown(made),
        summary([made], LIMIT),
        card([made]),
        table(made, "m", "c"),
        whole.text,
        *(part.text for part in details.values()),
    ]
    for text in texts:
        assert not re.search(r"\bstable\b|stands? in \d|sweep|Under other settings", text, re.IGNORECASE)
    assert stability(made) is None


def test_show_prints_what_the_run_printed(swept, tmp_path, capsys):
    """From the file."""
    file = tmp_path / "r.json"
    file.write_text(json.dumps(swept.contents))
    assert main(["show", str(file)]) == 0
    assert all(told in running(capsys.readouterr().out) for told in TOLD[:1])


def test_markdown_has_a_share_a_column_and_folds_the_flips(swept):
    """In the matrix, in the table of falsified cells, and as a list."""
    swept = document(*RUN, swept={**SWEPT, "seed=2": [row("depth_gain", F, "paper"), row("depth_trend", Q, "paper")]})
    text = summary([swept], LIMIT)
    (head, *body) = tables(text)[0]
    assert dict(zip(head, body[1], strict=True))["4: linearity increases with depth"] == "✓ HOLDS; stable in 1 of 3 settings"
    (head, *body) = next(t for t in tables(text) if t[0][0] == "claim")
    assert head[-1] == "stable"
    assert {line[1].split(" ")[0]: line[-1] for line in body} == {"depth_trend": "0/1", "depth_gain": "1/1"}
    for made in (text, card([swept])):
        folds = made.partition("<details><summary>Which setting flips which verdict, or says nothing of it (4)</summary>")[2]
        lines = [seen(line) for line in folds.partition("</details>")[0].splitlines() if line.startswith("- ")]
        assert [line.partition(": ")[2] for line in lines[:3] if "paper" not in line] == list(TOLD[:2])
        assert lines[3].endswith(TOLD[2])
        assert "Stable: settings of the sweep" in lines[4]


def test_one_report_of_two_has_a_sweep(swept):
    """The other's cells in the column are dashes."""
    text = summary([document(*RUN), swept], LIMIT)
    body = next(t for t in tables(text) if t[0][0] == "claim")[1:]
    assert {line[-1] for line in body} == {"–"}
    assert "in made.json: claim 4" in seen(next(line for line in text.splitlines() if "reversed" in line))


def test_the_page_has_a_table_of_settings_by_predicates(swept):
    """Verdicts of the run, then of every setting: a flip by its word, with the figure; what stands, what cannot change, and the share."""
    whole, details = parts_of(page([swept]))
    assert whole.wrong == []
    text = running(whole.text)
    assert "strict ✓ HOLDS all 2 core predicates hold stands in 1 of 3 settings" in text
    four = details["s0-claim4"]
    assert four.wrong == []
    part = running(four.text.partition("Under other settings")[2].partition("What the settings change")[0]).replace(" ", "")
    for line in (
        "On strict setting claim 4 depth_trend depth_gain this run ✓ HOLDS ✓ HOLDS ✓ HOLDS",
        "seed=1 ✓ stands: HOLDS ✓ stands: HOLDS cannot change it",
        "windows=×2 ? INCONCLUSIVE undecided depth_gain cannot change it ? INCONCLUSIVE 0.100 [−0.400, 0.600]",
        "corpus=code ✗ FALSIFIED reversed by depth_gain cannot change it ✗ FALSIFIED reversed −0.700 [−1.20, −0.200]",
        "dtype=float16 not measured cannot change it not measured",
        "stands in, of the settings that count 1 of 3 1 of 1 0 of 2",
    ):
        assert line.replace(" ", "") in part
    assert "dtype=float16 counts for nothing here: not finite" in running(four.text)
    assert "Under other settings" not in details["s0-claim1"].text


def test_a_wide_matrix_says_the_share():
    """Where models are rows there is room for no sentence."""
    run = [one for k in range(5) for one in rows(H, 4, model=f"m{k}")]
    whole, _ = parts_of(page([document(*run, swept={"seed=1": [row("depth_gain", F, model="m3")]})]))
    assert running(whole.text).count("0/1 stands in 0 of 1 setting") + running(whole.text).count("0/1stands in 0 of 1 setting") == 1
    assert [a["title"] for tag, a in whole.tags if tag == "span" and "stands in" in a.get("title", "")] == ["stands in 0 of 1 setting"]


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_of_any_name_is_text(name):
    """Its name, what it changes, and the reason why a cell could not be measured, in each of the forms."""
    given = contents(*rows(F, 4), swept={name: [row("depth_gain", E, reason=name), row("depth_trend", H)], f"{name}2": rows(Q, 4)})
    given["sweep"]["settings"][0] |= {"about": name, "axis": name}
    made = from_contents("made.json", given)
    text = shown(made)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", text)
    assert "depth_trend · strict: FALSIFIED stands in 0 of 2 settings; reversed to HOLDS with" in running(text)
    whole, details = parts_of(page([made]))
    assert sum(tag == "script" for tag, _ in whole.tags) == 1 + len(details)
    for part in (whole, *details.values()):
        assert part.wrong == []
        assert not [tag for tag, attributes in part.tags if tag == "img" or any(a.startswith("on") or a == "style" for a in attributes)]
    assert not any(tag == "script" for part in details.values() for tag, _ in part.tags)
    assert "Under other settings" in details["s0-claim4"].text
    for markdown in (summary([made], LIMIT), card([made])):
        assert all(len({len(line) for line in one}) == 1 for one in tables(markdown))
        assert {t.content for t in parsed(markdown) if t.type == "html_inline"} <= {"<code>", "</code>", "</summary>", "<summary>"}
        assert "@someone" not in markdown
    cells = table(made, "m", "c")
    assert {t.content for t in parsed(f"{cells}\n\n{stability(made)}") if t.type in ("html_inline", "html_block")} <= {"<br>"}
    assert all(line.count("|") - line.count("\\|") == 5 for line in cells.splitlines())


def kept_sweep():
    """A whole report with a sweep of one setting, in which one core figure is falsified."""
    given = report()
    one = next(r for r in given["rows"] if (r["predicate"], r["rung"]) == ("depth_gain", "strict"))
    flipped = {**one, "value": -1.0, "low": -1.5, "high": -0.5, "verdict": "falsified", "setting": "corpus=code"}
    about = "measured on /home/me/texts/code"
    given["sweep"] = {"settings": [{"name": "corpus=code", "axis": "corpora", "about": about}], "rows": [flipped]}
    return given


def test_the_readme_has_a_column_where_the_kept_report_has_a_sweep(tmp_path, monkeypatch):
    """The sweep is kept, a row a line and without folders; the check of what was written passes; without one it is as it was."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(f"{BEGIN}\n{END}\n")
    (tmp_path / "full.json").write_text(json.dumps(kept_sweep()))
    assert main(["readme", "full.json", "--keep", "docs/smollm2.json"]) == 0
    assert main(["readme", "docs/smollm2.json", "--check"]) == 0
    text, kept = (tmp_path / "README.md").read_text(), (tmp_path / "docs/smollm2.json").read_text()
    assert "| `paper` –<br>`strict` 0 of 1; FALSIFIED with `corpus=code` |\n" in text
    assert "| claim | `paper` | `strict` | stands in |\n|---|---|---|---|\n" in text
    assert "Stands in: settings of the sweep" in text
    assert "They are `corpus=code`." in text
    assert json.loads(kept)["sweep"]["rows"] == kept_sweep()["sweep"]["rows"]
    assert json.loads(kept)["sweep"]["settings"][0]["about"] == "measured on code"
    assert sum(line.startswith('{"model"') and '"setting": "corpus=code"' in line for line in kept.splitlines()) == 1
    assert "sweep" not in slimmed(report())
    assert json.loads(as_text(slimmed(report()))) == slimmed(report())


def test_comparisons_histories_and_baselines_are_of_the_run_itself(tmp_path, capsys):
    """A sweep beside it changes nothing that they say."""
    told = []
    for made, folder in ((kept_sweep(), "with"), (report(), "without")):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "r.json"
        file.write_text(json.dumps(made))
        (tmp_path / "other.json").write_text(json.dumps(report()))
        assert main(["compare", str(tmp_path / "other.json"), str(file)]) == 0
        assert main(["history", str(tmp_path / folder), "--cell", "depth_gain-*"]) == 0
        assert main(["baseline", str(file), "--to", str(tmp_path / folder / "baseline.json")]) == 0
        told.append(capsys.readouterr().out.replace(str(tmp_path / folder), "") + (tmp_path / folder / "baseline.json").read_text())
    assert told[0] == told[1]


def test_a_run_shows_the_column_and_a_run_that_ended_early_counts_nothing(claims):
    """Of cells with a verdict those that the session did not come to under a setting are named, and not taken for what it cannot change."""
    whole = claims("-m", "paper", "--sweep", "lambda", model="falling")
    text = running(str(whole.stdout))
    assert "margin stable" in text
    assert re.search(r"depth_gain \* paper FALSIFIED \S+ \[\S+ \S+ ≥ 0.3 \| ≤ 0 \S+ 2/2 ", text)
    assert "claim 4: linearity increases with depth paper FALSIFIED (depth_trend, depth_gain) · 2/2" in text
    early = claims("-m", "paper", "--sweep", "lambda", "-x", "--no-store", model="falling")
    rows = early.report["sweep"]["rows"]
    assert [(one["predicate"], one["setting"]) for one in rows] == [("r2", "lambda=×0.01"), ("r2", "lambda=×100")]
    assert {(one["verdict"], one["reason"]) for one in rows} == {("untested", "selected, but the session ended early")}
    ended = running(str(early.stdout))
    assert "FALSIFIED, and no setting counts; not measured with lambda=×0.01, lambda=×100" in ended
    assert "counts for nothing here: selected, but the session ended early" in ended
