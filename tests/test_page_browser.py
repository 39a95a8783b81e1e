"""The page of reports in headless Chromium: every cell opens, filters and links work, by keyboard too, and nothing goes wrong."""

from __future__ import annotations

import shutil

import pytest

from claims import Verdict
from reports.html import page
from tests.made_pages import HOSTILE, document
from tests.made_reports import document as small_document
from tests.made_reports import row
from tests.opened_pages import FAULTS, focused, follow, heading, opened, overflow, settle

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -c constraints.txt playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: none of chromium, chromium-browser, google-chrome is installed")


@pytest.fixture(scope="module")
def browser():
    """One browser for all tests here."""
    with playwright.sync_playwright() as running:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = running.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The pages, written once: of one model, of two on two texts, of hostile names."""
    folder = tmp_path_factory.mktemp("pages")
    made = {
        "one": [document("m", blocks=12)],
        "two": [document("alpha", "beta", corpora=("prose", "code"), blocks=4, evidence={})],
        "hostile": [document(*HOSTILE, blocks=2, evidence={})],
    }
    for name, documents in made.items():
        (folder / f"{name}.html").write_text(page(documents), encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in made}


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_every_cell_opens_and_nothing_is_nameless_or_faint(browser, files, colours):
    """Names, unique ids, headings that do not skip, titles of plots, references that lead somewhere, contrast of 4.5 in both colours."""
    with opened(browser, files["one"], color_scheme=colours) as shown:
        assert shown.evaluate(FAULTS) == []
        for cell in shown.locator("a.cell").all():
            follow(shown, cell)
            assert cell.get_attribute("aria-expanded") == "true"
            assert heading(shown).lower().startswith(cell.inner_text().split(",")[0].lower())
            assert focused(shown).strip().split("\n")[0] != ""
            shown.evaluate("for (const e of document.querySelectorAll('details')) e.open = true")
            assert shown.evaluate(FAULTS) == []
            assert overflow(shown) <= 0
        assert shown.locator("a.cell[aria-expanded=true]").count() == 1


def test_open_all_shows_everything_of_a_model_and_each_part_closes(browser, files):
    """Seven parts; a closed one stays away until all are opened again."""
    with opened(browser, files["two"]) as shown:
        assert shown.locator("article").count() == 0
        follow(shown, shown.locator("a.all").nth(3))
        assert shown.locator("article").count() == 7
        assert "beta on code" in heading(shown)
        shown.get_by_role("button", name="Close claim 2").click()
        assert shown.locator("article").count() == 6
        shown.go_back()
        settle(shown)
        assert shown.locator("article").count() == 0
        shown.go_forward()
        settle(shown)
        assert shown.locator("article").count() == 7


def test_a_link_opens_its_cell_and_finds_its_row(browser, files):
    """And one that leads nowhere says so, whichever part of it is wrong."""
    with opened(browser, files["two"] + "#beta/prose/claim4/depth_trend/strict") as shown:
        assert heading(shown) == "Claim 4: linearity increases with depth beta on prose"
        row = shown.locator("tr.sought")
        assert row.get_attribute("data-rung") == "strict"
        assert shown.locator("[data-predicate=depth_trend]").evaluate("e => Math.abs(e.getBoundingClientRect().top) < innerHeight / 2")
        assert shown.evaluate("document.activeElement.matches('tr.sought')")
        for wrong, said in (
            ("gamma/prose/claim4", "gamma/prose/claim4"),
            ("beta/prose/claim9", "beta/prose/claim9"),
            ("beta/prose/claim4/r3", "r3"),
            ("beta/prose/claim4/depth_trend/lenient", "lenient"),
            ("%E0%A4%A", "%E0%A4%A"),
        ):
            shown.evaluate("fragment => { location.hash = fragment }", wrong)
            shown.locator("#lost", has_text=said).wait_for()
        shown.evaluate("location.hash = 'alpha/code/claim1'")
        settle(shown)
        assert shown.locator("#lost").is_hidden()
        assert "alpha on code" in heading(shown)


def test_back_and_forward_follow_what_was_open(browser, files):
    """Each cell that was opened is an entry of the history."""
    with opened(browser, files["two"]) as shown:
        cells = shown.locator("a.cell")
        follow(shown, cells.nth(0))
        first = heading(shown)
        follow(shown, cells.nth(5))
        assert heading(shown) != first
        shown.go_back()
        settle(shown)
        assert heading(shown) == first
        shown.go_back()
        settle(shown)
        assert shown.locator("article").count() == 0


def test_the_keyboard_does_all_of_it(browser, files):
    """Tab reaches the skip link first; Enter and Space open; Escape and the same cell close, and the focus returns to it."""
    with opened(browser, files["two"]) as shown:
        shown.keyboard.press("Tab")
        assert focused(shown) == "Skip to the verdicts"
        shown.keyboard.press("Enter")
        assert shown.locator("#lost").is_hidden()
        for key, end in (("Enter", "Escape"), ("Space", "Escape"), ("Enter", "Enter")):
            cell = shown.locator("a.cell").nth(6)
            cell.focus()
            shown.keyboard.press(key)
            settle(shown)
            assert focused(shown) == shown.locator("article h2").text_content()
            if end == "Enter":
                cell.focus()
            shown.keyboard.press(end)
            settle(shown)
            assert shown.locator("article").count() == 0
            assert cell.evaluate("e => e === document.activeElement")
            assert cell.get_attribute("aria-expanded") == "false"
        reached = set()
        for _ in range(60):
            shown.keyboard.press("Tab")
            reached.add(shown.evaluate("(({ id, value, attributes: a }) => a.href?.value || id || value)(document.activeElement)"))
        wanted = shown.locator("a.cell, a.all").evaluate_all("all => all.map((a) => a.getAttribute('href'))")
        assert {*wanted, "words", "theme", "falsified"} - reached == set()


def test_the_filter_leaves_what_matches_and_counts_it(browser, files):
    """By model, text, claim and predicate, and by verdict; what does not match cannot be reached."""
    with opened(browser, files["two"]) as shown:
        told = shown.locator("#shown")
        assert told.inner_text() == "24 of 24 cells; 4 of 4 models on texts"
        for words, count, models in (("beta", 12, 2), ("beta CODE", 6, 1), ("depth_trend", 4, 4), ("alpha claim3", 2, 2)):
            shown.fill("#words", words)
            assert told.inner_text() == f"{count} of 24 cells; {models} of 4 models on texts"
            assert shown.locator("a.cell:visible").count() == count
            assert shown.locator("th[data-s]:visible").count() == models
        shown.fill("#words", "nowhere")
        assert told.inner_text().startswith("Nothing matches")
        assert shown.locator("a.cell:visible").count() == 0
        shown.fill("#words", "")
        shown.locator("input[name=verdict]:not([value=measured])").evaluate_all("boxes => boxes.forEach((box) => box.click())")
        kept = shown.locator("td:visible:has(a.cell:visible)")
        assert 4 <= kept.count() < 24
        assert all("measured" in td.get_attribute("data-verdicts").split() for td in kept.all())


def test_the_filter_finds_a_claim_by_a_predicate_that_is_not_core(browser, tmp_path):
    """FALSIFIED alone leaves a claim that no core predicate falsifies, and the appendix, which has none."""
    made = small_document(row("cross_terms", Verdict.FALSIFIED), row("nf4_gain", Verdict.FALSIFIED))
    (tmp_path / "page.html").write_text(page([made]), encoding="utf-8")
    with opened(browser, (tmp_path / "page.html").as_uri()) as shown:
        assert "predicates" in shown.locator("#filter legend").inner_text()
        shown.locator("input[name=verdict]:not([value=falsified])").evaluate_all("boxes => boxes.forEach((box) => box.click())")
        assert [td.get_attribute("data-c") for td in shown.locator("td:visible:has(a.cell:visible)").all()] == ["claim3", "appendix"]


def test_hostile_names_are_text(browser, files):
    """They run nothing, and each opens by its link."""
    with opened(browser, files["hostile"]) as shown:
        for position, name in enumerate(HOSTILE):
            follow(shown, shown.locator("a.all").nth(position))
            visible = " ".join(name.replace("\u202e", "\\u202e").split())
            assert visible in heading(shown)
            assert shown.locator("#lost").is_hidden()
            assert shown.evaluate("document.scripts.length + document.images.length") == 1 + 7 * len(HOSTILE)
            assert overflow(shown) <= 0


def test_a_plot_that_is_cut_says_so_and_scrolls_by_keyboard(browser, files):
    """In a narrow window; in a wide one it is whole and says nothing."""
    for width, cut in ((360, True), (700, False), (1280, False)):
        with opened(browser, files["one"] + "#m/c/claim4", viewport={"width": width, "height": 700}) as shown:
            plot = shown.locator(".drawn[role=region][aria-label]").first
            assert plot.evaluate("e => e.scrollWidth > e.clientWidth + 1") == cut
            assert shown.locator(".sideways").first.is_visible() == cut
            if cut:
                plot.focus()
                shown.keyboard.press("ArrowRight")
                plot.evaluate("e => new Promise((done) => e.scrollLeft ? done() : e.addEventListener('scroll', done, { once: true }))")
                assert plot.evaluate("e => e.scrollLeft") > 0


@pytest.mark.parametrize("name", ["one", "two", "hostile"])
def test_a_narrow_window_needs_no_sideways_scrolling(browser, files, name):
    """360 wide: tables and plots scroll, or shrink, in their own place."""
    with opened(browser, files[name], viewport={"width": 360, "height": 700}) as shown:
        assert overflow(shown) <= 0
        follow(shown, shown.locator("a.all").first)
        assert overflow(shown) <= 0
        shown.evaluate("for (const e of document.querySelectorAll('details')) e.open = true")
        assert overflow(shown) <= 0


def test_colours_can_be_chosen_and_are_remembered(browser, files):
    """Over those of the system."""
    with opened(browser, files["one"], color_scheme="light") as shown:
        ground = "getComputedStyle(document.body).backgroundColor"
        light = shown.evaluate(ground)
        shown.click("#theme")
        assert shown.evaluate(ground) == light
        shown.click("#theme")
        assert shown.locator("#theme").inner_text() == "Colours: dark"
        assert shown.evaluate(ground) != light
        shown.reload()
        assert shown.evaluate(ground) != light


def test_a_datum_says_its_value_and_a_command_is_copied(browser, files):
    """Under the pointer; the clipboard has the command as it stands."""
    with opened(browser, files["one"] + "#m/c/claim2/r2", permissions=["clipboard-read", "clipboard-write"]) as shown:
        datum = shown.locator("[data-predicate=r2] [data-told]").first
        datum.scroll_into_view_if_needed()
        datum.dispatch_event("pointerover")
        assert shown.locator("#tip").inner_text() == datum.get_attribute("data-told")
        again = shown.locator("[data-predicate=r2] details.again")
        again.locator("summary").click()
        again.locator("button").first.click()
        shown.locator("#told", has_text="Copied").wait_for(state="attached")
        assert shown.evaluate("navigator.clipboard.readText()") == again.locator("code").first.text_content()


def test_it_prints(browser, files):
    """As PDF; on paper the matrix and what is open are there, the controls are not, and colours are light."""
    with opened(browser, files["one"] + "#m/c/claim4", color_scheme="dark") as shown:
        assert shown.pdf(format="A4")[:5] == b"%PDF-"
        shown.emulate_media(media="print")
        assert shown.locator("table.matrix").is_visible()
        assert shown.locator("article").is_visible()
        for gone in ("#filter", "#theme", "button.close", ".skip"):
            assert not shown.locator(gone).first.is_visible()
        assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert shown.locator(".on-paper code").is_visible()
        assert not shown.locator(".again code").first.is_visible()
        shown.evaluate("for (const e of document.querySelectorAll('details')) e.open = true")
        assert not shown.locator(".on-paper code").is_visible()
        assert shown.locator(".again code").first.is_visible()
        assert shown.locator("figure details table").first.is_visible()


def test_without_script_the_links_of_the_matrix_lead_to_tables(browser, files):
    """And the controls that would do nothing are not shown."""
    with opened(browser, files["two"], java_script_enabled=False) as shown:
        assert shown.locator("table.matrix").is_visible()
        assert not shown.locator("#filter").is_visible()
        shown.locator("a.cell").last.click()
        target = shown.locator("[id='beta/code/appendix']")
        assert target.is_visible()
        assert target.evaluate("e => e.matches(':target') && e.getBoundingClientRect().top < innerHeight")
        assert "need JavaScript" in shown.locator("#plain-heading + p").text_content()


def test_what_is_not_open_is_not_in_the_document(browser, tmp_path):
    """A page of many models has, as it opens, as many elements with all evidence as with none: it opens as fast."""
    counts = []
    for number, options in enumerate(({}, {"evidence": {}})):
        file = tmp_path / f"{number}.html"
        file.write_text(page([document("a", "b", blocks=12, **options)]), encoding="utf-8")
        with opened(browser, file.as_uri()) as shown:
            counts.append(shown.evaluate("document.getElementsByTagName('*').length"))
    assert counts[0] == counts[1] < 800
