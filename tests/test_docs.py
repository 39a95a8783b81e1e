"""README and docs say what is so: their examples run, and what they name exists."""

from __future__ import annotations

import re
import tomllib
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from claims import CLAIMS, Verdict
from claims.claim import JUDGED
from claims.declared import all_predicates
from fixtures import MODELS
from fixtures.extensions import ENTRY_POINT, register_from_file
from harness.protocol import RUNGS, Protocol
from harness.statistics import Figure
from reports.__main__ import COMMANDS
from reports.document import read
from reports.ledger import ladder, number
from reports.options import OPTIONS

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "docs" / "smollm2.json"
PAGES = {
    file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8")
    for file in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
PREDICATES = {predicate.name: predicate for _, predicate in all_predicates()}
PYTESTS = {"-m", "-k", "-n", "--deselect", "--dist", "--ignore", "--junitxml", "--lf"}
PIPS = {"--no-deps", "--require-hashes", "--index-url", "--version"}


def fenced(page, language):
    """The fenced blocks of a page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page], re.S)


def prose(page):
    """A page without its fenced blocks."""
    return re.sub(r"```.*?```", "", PAGES[page], flags=re.S)


def spans(page):
    """What stands between backticks on a page, outside of fenced blocks."""
    return re.findall(r"`([^`\n]+)`", prose(page))


def commands(page):
    """Command lines of a page: lines of its shell blocks and spans that begin like one, without comments."""
    lines = [line.split("  #")[0].strip() for block in fenced(page, "sh") for line in block.splitlines()]
    return [line for line in [*lines, *spans(page)] if re.match(r"(pytest|python3?|make|pip) ", line)]


def options_of(line):
    """The long options of a command line."""
    return {word.partition("=")[0] for word in re.findall(r"(?<![\w-])--[a-z][\w-]*", line)}


@pytest.fixture
def registry():
    """Models that a test registers are gone afterwards."""
    before = dict(MODELS)
    yield
    MODELS.clear()
    MODELS.update(before)


@pytest.mark.parametrize("page", PAGES)
def test_every_python_block_compiles(page):
    """No example is broken Python."""
    for block in fenced(page, "python"):
        compile(block, page, "exec")


def test_the_example_of_a_model_registers_one(tmp_path, registry, monkeypatch):
    """The file of the docs is taken by --models-from as it stands, and is the model that the command beside it names."""
    (example,) = [block for block in fenced("docs/adding.md", "python") if "register(" in block]
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "our_models.py").write_text(example)
    (model,) = register_from_file(str(tmp_path / "our_models.py"))
    assert any(line.endswith(f"--models-from our_models.py -m {model.name}") for line in commands("docs/adding.md"))


def test_the_example_of_an_entry_point_is_in_the_group_that_is_read():
    """Its group is the suite's, and its value has the form of an object in a module."""
    (example,) = fenced("docs/adding.md", "toml")
    (entry,) = tomllib.loads(example)["project"]["entry-points"][ENTRY_POINT].values()
    assert re.fullmatch(r"[\w.]+:\w+", entry)


def test_the_example_of_a_corpus_is_one():
    """Its text is read by the corpus that it declares."""
    (example,) = [block for block in fenced("docs/adding.md", "python") if "Corpus(" in block]
    names = {}
    exec(example, names)
    assert names["POEMS"].read().calibration == "What maps are fitted to."


def test_the_example_of_a_predicate_measures_and_judges():
    """Its test hands a figure with every replicate to the judge, and its declaration has a bound on each judged rung."""
    (example,) = [block for block in fenced("docs/adding.md", "python") if "Predicate(" in block]
    names = {}
    exec(example, names)
    handed = []
    r2 = Figure(np.array([0.5, 0.8, 0.6]), np.array([[0.5, 0.8, 0.4], [0.5, 0.7, 0.7]]))
    names["test_the_last_block_is_the_most_linear"]("paper", SimpleNamespace(linearity=lambda rung: SimpleNamespace(r2=r2)), handed.append)
    (figure,) = handed
    assert figure.value == pytest.approx(0.75)
    assert figure.fit.tolist() == pytest.approx([0.5, 1.0])
    assert set(names["CLAIM"].named("last_is_best").bounds) == set(JUDGED)


def options_in(module):
    """The long options that a module declares; none of one that is not there."""
    file = ROOT / f"{module.replace('.', '/')}.py"
    return set(re.findall(r'"(--[a-z-]+)"', file.read_text(encoding="utf-8"))) if file.exists() else set()


OF_COMMANDS = {
    **{f"python -m reports {name}": options_in(module) for name, (module, _) in COMMANDS.items()},
    "python -m harness.store": options_in("harness.store_command"),
    "python -m harness.replaced_model": options_in("harness.replaced_model_command"),
    "pytest": {*OPTIONS, *PYTESTS},
}


@pytest.mark.parametrize("page", PAGES)
def test_every_option_exists(page):
    """Options of a command are those of that command; options named alone are those of some command of the suite."""
    for line in commands(page):
        for command, known in OF_COMMANDS.items():
            if line.startswith(f"{command} "):
                assert options_of(line) <= {*known, "--help"}, line
    known = set().union(*OF_COMMANDS.values(), PIPS, {"--help"})
    for span in spans(page):
        assert options_of(span) <= known, span


@pytest.mark.parametrize("page", PAGES)
def test_every_module_path_and_make_target_exists(page):
    """Modules, files of the repository and targets of make that a page names are there."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for line in commands(page):
        if line.startswith("python -m "):
            assert find_spec(line.split()[2]) is not None, line
        if line.startswith("make "):
            assert line.split()[1] in targets, line
    for span in spans(page):
        if re.fullmatch(r"(?:fixtures|harness|claims|reports|tests|docs|benchmarks|\.ci)/[\w./-]*", span):
            assert (ROOT / span).exists(), span
        if re.fullmatch(r"(?:fixtures|harness|claims|reports)\.\w+", span) and span != ENTRY_POINT:
            assert find_spec(span) is not None, span


@pytest.mark.parametrize("page", PAGES)
def test_every_link_and_anchor_leads_somewhere(page):
    """Relative links name files that are there, and anchors headings of those."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", file.read_text(encoding="utf-8"), flags=re.S), re.M)
            assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}, link


@pytest.mark.parametrize("page", PAGES)
def test_every_marker_exists(page):
    """Words of -m expressions are models, families, claims, rungs or core."""
    known = {
        *MODELS,
        *(f"{m.family}_family" for m in MODELS.values()),
        *(c.marker for c in CLAIMS),
        *RUNGS,
        "core",
        "and",
        "or",
        "not",
        "llama-3.1-8b",
    }
    for line in commands(page):
        for found in re.findall(r"""-m (?:'([^']*)'|"([^"]*)"|([\w.-]+))""", re.sub(r"python3? -m", "python", line)):
            assert {word.strip("()'\"") for word in "".join(found).split()} <= known, line


@pytest.mark.parametrize("page", PAGES)
def test_every_predicate_named_exists(page):
    """A span in snake case is a predicate, or one of few other names."""
    others = {"h_0", "h_b", "n_blocks", "model_type", "save_pretrained", "llama_family"}
    for span in spans(page):
        if re.fullmatch(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+", span):
            assert span in PREDICATES or span in others, span


def test_every_predicate_stands_in_the_table_with_its_bounds():
    """The table of bounds has a line for each predicate, and it says what the code declares."""
    page = PAGES["docs/predicates.md"]
    before, _, table = page.partition("## Bounds")
    for name, predicate in PREDICATES.items():
        assert f"`{name}`" in before or any(span.startswith("_") and name.endswith(span) for span in spans("docs/predicates.md")), name
        cells = [
            "–" if rung not in predicate.rungs else _bound(predicate, rung) + (" *" if rung in predicate.core else "") for rung in JUDGED
        ]
        assert f"| `{name}` | {' | '.join(cells)} |\n" in table
    assert table.count("\n| `") == len(PREDICATES)


def _bound(predicate, rung):
    return predicate.bounds[rung].short().replace("|", "·") if rung in predicate.bounds else "no bound"


def test_what_claims_say_is_what_they_declare():
    """The first table of the predicates has each claim's statement and falsifier."""
    for claim in CLAIMS:
        assert f"| {claim.key} | {claim.statement} | {claim.falsifier} |\n" in PAGES["docs/predicates.md"]


def test_verdicts_and_letters_are_the_codes():
    """The table of verdicts has every verdict with its letter."""
    for verdict in Verdict:
        assert f"| {verdict.word} | `{verdict.letter}` |" in PAGES["docs/reading-a-verdict.md"]


def test_sizes_of_the_ladder_are_the_protocols():
    """Numbers in the table of rungs are those of the protocol."""
    p, page = Protocol(), PAGES["docs/ladder.md"]
    for said in (
        f"{p.calibration_windows} windows of {p.window} tokens",
        f"above {p.typical_factor:g} times",
        f"by {p.folds}-fold cross-validation, {p.strict_tokens_per_width} calibration tokens a dimension, "
        f"{p.strict_evaluation_windows} evaluation windows ({p.evaluation_windows} for interventions)",
        f"hold {p.energy:.0%} of ‖Δ‖²",
        f"more than {p.half_sample_change:g} when",
        f"fewer than {p.fewest_tokens_per_width} tokens a dimension",
    ):
        assert said in re.sub(r"\s+", " ", page), said


def test_reports_names_every_command():
    """Every command of python -m reports stands in its page."""
    assert {line.split()[3] for line in commands("docs/reports.md") if line.startswith("python -m reports")} == set(COMMANDS)


QUOTED = re.compile(r"([−\d][\d.,e−]*)\s\(`(\w+)`(?:,\sblock\s(\d+))?,\s`([\w-]+)`\)")


@pytest.mark.parametrize("page", ["docs/ladder.md"])
def test_quoted_figures_are_the_kept_reports(page):
    """A figure that a page quotes, with predicate, block and rung, is the one that the kept report has."""
    rows = {(row.cell.predicate, row.cell.block, row.cell.rung): row.value for row in read(KEPT).rows}
    quoted = QUOTED.findall(re.sub(r"\s+", " ", PAGES[page]))
    assert len(quoted) > 10
    for figure, predicate, block, rung in quoted:
        assert figure == number(rows[predicate, int(block) if block else None, rung]), (predicate, block, rung)


def test_what_is_said_beside_quoted_figures_is_in_the_kept_report():
    """The cap of the ladder's first example, its sentence on r2_lost, its verdicts and the level of the annotated line."""
    document = read(KEPT)
    rows = {(row.cell.predicate, row.cell.block, row.cell.rung): row for row in document.rows}
    page = " ".join(PAGES["docs/ladder.md"].split())
    k, cap = re.search(r"map has k = (\d+) of 576, so that no R² above ([\d.]+) was", page).groups()
    assert rows["r2", 29, "paper"].reason == f"V_k: k = {k}, which caps R² at {cap}"
    (quoted,) = re.findall(r"^> r2_lost: (.*); …$", PAGES["docs/ladder.md"], re.M)
    lost = [row for row in document.rows if row.cell.predicate == "r2_lost"]
    assert ladder(PREDICATES["r2_lost"], lost, 30).startswith(quoted)
    for name, before, after in re.findall(r"`(\w+)`, `strict`\)[^:]*: (\w+) becomes (\w+)", page):
        assert [rows[name, None, rung].verdict.word for rung in JUDGED] == [before, after], name
    assert f"here at {rows['r2_lost', None, 'paper'].level:.2%}" in PAGES["docs/reading-a-verdict.md"]


@pytest.mark.parametrize("page", PAGES)
def test_quoted_lines_are_the_kept_reports(page, capsys):
    """A line in a text block is one that ``python -m reports show`` prints of the kept report, but for spaces."""
    lines = {" ".join(line.split()) for block in fenced(page, "text") for line in block.splitlines()}
    if page == "docs/reading-a-verdict.md":
        from reports.__main__ import main

        assert main(["show", str(KEPT), "--colour", "never"]) == 0
        printed = {" ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
        assert lines
        assert lines <= printed
    else:
        assert not lines


def test_the_readme_is_read_in_five_minutes():
    """Its own part, without the results, has at most 120 lines."""
    kept = re.sub(r"<!-- results.*<!-- end of results -->", "", PAGES["README.md"], flags=re.S)
    assert kept.count("\n") <= 120
