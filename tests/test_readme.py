"""The README's results are what the kept report gives, and the kept report speaks for the code."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

import pytest

from claims import lock
from reports.__main__ import main
from reports.document import from_contents
from reports.kept import as_text, slimmed, why_stale
from reports.picture import picture
from reports.readme import BEGIN, END
from reports.result_table import provenance, table
from tests.made_report import report


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A folder with a README that has the markers, and a report; what was generated from it is there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(f"# Title\n\nBefore.\n\n{BEGIN}\nstale words\n{END}\n\nAfter.\n")
    (tmp_path / "full.json").write_text(json.dumps(report()))
    assert main(["readme", "full.json", "--keep", "docs/smollm2.json"]) == 0
    return tmp_path


def check(capsys):
    """The exit code of a check, and what it says."""
    capsys.readouterr()
    code = main(["readme", "docs/smollm2.json", "--check"])
    told = capsys.readouterr()
    return code, told.out + told.err


def change(file, make):
    """Change a kept report and write it in the same form."""
    kept = json.loads(file.read_text(encoding="utf-8"))
    make(kept)
    file.write_text(as_text(kept), encoding="utf-8")


def test_what_was_generated_passes_its_check_and_says_what_was_measured(page, capsys):
    """The check of what was just written ends with 0; the README has verdicts, provenance and links, and keeps what stood around."""
    assert check(capsys)[0] == 0
    text = (page / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# Title\n\nBefore.\n")
    assert text.endswith(f"{END}\n\nAfter.\n")
    assert "stale words" not in text
    assert text.count("**HOLDS**") == 2 * 5
    for said in ("`abababab`", "`cdcdcdcd`", lock.bounds_hash()[:8], "2026-05-04", "(docs/smollm2.svg)", "(docs/smollm2.json)"):
        assert said in text
    assert "`pytest claims --corpus path/to/c -m 'claim1 or claim2'`" in text


def test_generation_is_deterministic(page):
    """The same report gives the same bytes again, from the whole file and from the kept one."""
    files = [page / name for name in ("README.md", "docs/smollm2.svg", "docs/smollm2.json")]
    before = [file.read_bytes() for file in files]
    assert main(["readme", "full.json", "--keep", "docs/smollm2.json"]) == 0
    assert main(["readme", "docs/smollm2.json"]) == 0
    assert [file.read_bytes() for file in files] == before


def test_what_is_kept_has_no_evidence_and_no_folder_of_the_machine(page):
    """Words of the text, times and folders of the machine stay behind; rows, bounds and protocol are as they were."""
    text = (page / "docs/smollm2.json").read_text(encoding="utf-8")
    kept, full = json.loads(text), report()
    assert not {"evidence", "timings"} & set(kept)
    assert not re.search(r"secret|/home|/tmp|\.\./", text)
    assert kept["models"]["m"]["source"] == "m.gguf"
    assert all(kept[name] == full[name] for name in ("rows", "claims", "bounds", "protocol", "corpora"))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/home/me/x.json: no such file", "x.json: no such file"),
        ("in '/Users/Jane Doe/c.txt'", "in 'c.txt'"),
        ("half / a / whole", "half / a / whole"),
        (r"C:\Users\me\m.gguf", "m.gguf"),
        ("~/models/m", "m"),
        ("file=/srv/m", "file=m"),
        ("1/16 of tr/d, https://host/path, smollm2/block 3 · ≥ 0.8", "1/16 of tr/d, https://host/path, smollm2/block 3 · ≥ 0.8"),
        ("half / whole", "half / whole"),
        ("file:///home/alice/x", "x"),
        ("[/home/al/x] `/home/al/y` </home/al/z> a|/home/al/w", "[x] `y` <z> a|w"),
        ("see ~/x/y and ~bob/z", "see y and z"),
        ("from /a/b to /Users/Jane Doe/d", "from b to d"),
    ],
)
def test_folders_go_and_other_slashes_stay(given, kept):
    """An absolute path is left with its last part; fractions, addresses and places in a model are no paths."""
    assert slimmed({"rows": [given]})["rows"] == [kept]


def test_a_stale_figure_in_the_readme_is_found(page, capsys):
    """A figure edited by hand, one line, ends the check with 1 and names the file."""
    readme = page / "README.md"
    readme.write_text(readme.read_text(encoding="utf-8").replace("0.300 [", "0.301 [", 1), encoding="utf-8")
    code, told = check(capsys)
    assert (code, told.count("\n")) == (1, 1)
    assert "README.md" in told
    assert "reports readme" in told


@pytest.mark.parametrize("damage", ["<svg/>", None])
def test_a_stale_or_missing_picture_is_found(page, capsys, damage):
    """A picture that is another's, or is gone, ends the check with 1."""
    file = page / "docs/smollm2.svg"
    file.unlink() if damage is None else file.write_text(damage)
    code, told = check(capsys)
    assert code == 1
    assert "smollm2.svg" in told


def test_a_changed_kept_report_is_found(page, capsys):
    """A figure that changes in the kept report makes README and picture stale."""
    change(page / "docs/smollm2.json", lambda kept: next(r for r in kept["rows"] if r["core"] and r["value"]).update(value=0.77))
    assert check(capsys)[0] == 1


def another_bound(kept):
    """Bounds of another hash."""
    kept["bounds"]["sha256"] = "0" * 64


def another_version(kept):
    """A measurement of another version."""
    kept["environment"]["code"]["measurements"]["reconstruction by GPTQ"] += 1


def another_measurement(kept):
    """A measurement that the code has not."""
    kept["environment"]["code"]["measurements"]["a new one"] = 1


def no_versions(kept):
    """A report of a version that did not state them."""
    del kept["environment"]["code"]


def undeclared(kept):
    """A predicate that the code does not declare."""
    kept["rows"].append({**kept["rows"][-1], "predicate": "made_up"})


def lacking(kept):
    """A declared predicate without a row."""
    kept["rows"] = [row for row in kept["rows"] if row["predicate"] != "kv_cache"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (another_bound, "its bounds are 00000000"),
        (another_version, "'reconstruction by GPTQ': it holds version 2, the code has version 1"),
        (another_measurement, "'a new one': it holds version 1, the code has none"),
        (no_versions, "which versions"),
        (undeclared, "it holds 'made_up'"),
        (lacking, "it lacks 'kv_cache'"),
    ],
)
def test_a_kept_report_that_does_not_speak_for_the_code_is_found(page, capsys, make, said):
    """Other bounds, other versions of measurements and other predicates each end the check with 1 and a line that says which."""
    change(page / "docs/smollm2.json", make)
    code, told = check(capsys)
    assert (code, told.count("\n")) == (1, 1)
    assert said in told
    (page / "full.json").write_text((page / "docs/smollm2.json").read_text(encoding="utf-8"), encoding="utf-8")
    before = (page / "README.md").read_bytes()
    assert main(["readme", "full.json"]) == 4
    assert (page / "README.md").read_bytes() == before


def test_evidence_in_a_kept_report_is_found(page, capsys):
    """A whole report put in the place of the kept one ends the check with 1: it may hold words of the text."""
    (page / "docs/smollm2.json").write_text((page / "full.json").read_text())
    code, told = check(capsys)
    assert code == 1
    assert "evidence" in told


@pytest.mark.parametrize("text", ["no markers", f"{BEGIN} only", f"{END} {BEGIN}", f"{BEGIN} {END} {BEGIN} {END}", f"{BEGIN} {END} {END}"])
def test_missing_markers_are_refused(page, capsys, text):
    """Without both markers once each, in order, nothing is written and the line says what to put where."""
    (page / "README.md").write_text(text)
    before = (page / "docs/smollm2.svg").read_bytes()
    assert main(["readme", "full.json", "--keep", "docs/other.json"]) == 4
    assert END in capsys.readouterr().err
    assert (page / "README.md").read_text() == text
    assert not (page / "docs/other.json").exists()
    assert (page / "docs/smollm2.svg").read_bytes() == before


def test_bad_input_is_one_line(page, capsys):
    """A folder that is not there, a README that is not there, two options that exclude one another: exit code 4, one line."""
    for more in (["--picture", "nowhere/p.svg"], ["--readme", "none.md"], ["--check", "--keep", "k.json"]):
        capsys.readouterr()
        assert main(["readme", "full.json", *more]) == 4
        assert capsys.readouterr().err.count("\n") == 1
    (page / "two.json").write_text(json.dumps({**report(), "rows": report()["rows"] + report("n", "c")["rows"]}))
    assert main(["readme", "two.json"]) == 4
    assert "m on c, n on c" in capsys.readouterr().err


HOSTILE = "a|b`c`<script>alert(1)</script>]]>&\n![x](http://h)\x1b[31m"


def test_hostile_names_are_escaped():
    """Names of models and texts from a file stay text: in the table's cells, in the line of provenance and in the picture."""
    document = from_contents("f", report(HOSTILE, HOSTILE))

    for text in (table(document, HOSTILE, HOSTILE), provenance(document, HOSTILE, HOSTILE)):
        assert "<script>" not in text
        assert "\x1b" not in text
        assert "![x]" not in text
    assert all(line.count("|") - line.count("\\|") == 4 for line in table(document, HOSTILE, HOSTILE).splitlines())
    drawn = picture(document.of(HOSTILE, HOSTILE), HOSTILE)
    ET.fromstring(drawn)
    assert "<script>" not in drawn


def test_an_unknown_claim_and_predicate_are_shown_by_name():
    """What this version does not declare is still written: the key of the claim and the name of the predicate."""
    given = report()
    cell = {**next(r for r in given["rows"] if r["core"] and r["rung"] == "paper"), "claim": 9, "predicate": "new|one"}
    given["rows"].append(cell)
    given["claims"].append({"model": "m", "corpus": "c", "rung": "paper", "claim": 9, "verdict": "holds", "decided_by": ["new|one"]})
    document = from_contents("f", given)
    assert "| 9: not a claim of this version | **HOLDS**<br>`new¦one` " in table(document, "m", "c")
    assert "9 · new|one" in picture(document.of("m", "c"), "m")
    assert why_stale(document) is not None


def test_a_part_that_is_an_exception_and_a_doubt_are_told_beside_the_figure():
    """Where a verdict is not its interval's, the table says why: the layers that do not hold, or the doubt."""
    given = report()
    for row in given["rows"]:
        if row["predicate"] == "wall_svd" and row["rung"] == "paper":
            row.update(verdict="inconclusive", margin=-0.5, reason="6 of 210 wholly below 1 (block 27 0.447); 210 layers")
        if row["predicate"] == "depth_gain" and row["rung"] == "strict":
            row.update(verdict="inconclusive", margin=None, caveats=["fitted to 9 tokens"], reason="in doubt, so not judged")
    for claim in given["claims"]:
        if (claim["claim"], claim["rung"]) in ((3, "paper"), (4, "strict")):
            claim.update(verdict="inconclusive", decided_by=["wall_svd"] if claim["claim"] == 3 else ["depth_gain"])
    text = table(from_contents("f", given), "m", "c")
    assert "; 6 of 210 wholly below 1 |" in text
    assert "; in doubt: fitted to 9 tokens |" in text
