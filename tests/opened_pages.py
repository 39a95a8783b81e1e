"""A page in a browser: opened so that whatever goes wrong is noticed, followed, and searched for faults that a reader would meet."""

from __future__ import annotations

from contextlib import contextmanager

FAULTS = """() => {
  const faults = [], idents = [...document.querySelectorAll("[id]")].map((e) => e.id);
  const name = (e) => e.getAttribute("aria-label") || document.getElementById(e.getAttribute("aria-labelledby"))?.textContent
    || e.closest("label")?.textContent || e.textContent;
  faults.push(...idents.filter((id, i) => idents.indexOf(id) !== i).map((id) => "twice " + id));
  for (const e of document.querySelectorAll("button, a, input, summary, [role=region], article, section[aria-labelledby]"))
    if (!(name(e) || "").trim()) faults.push("no name " + e.outerHTML.slice(0, 80));
  for (const e of document.querySelectorAll("[aria-controls], [aria-labelledby], [aria-describedby]"))
    for (const by of ["aria-controls", "aria-labelledby", "aria-describedby"])
      for (const id of (e.getAttribute(by) || "").split(" ").filter(Boolean))
        if (!document.getElementById(id)) faults.push(by + " " + id);
  for (const e of document.querySelectorAll("svg")) if (!e.querySelector("title")?.textContent) faults.push("svg without a title");
  for (const e of document.querySelectorAll("table")) if (!e.querySelector("th[scope]")) faults.push("table without headers");
  let last = 0;
  for (const e of document.querySelectorAll("h1, h2, h3, h4, h5")) {
    const level = Number(e.tagName[1]);
    if (level > last + 1) faults.push("skips to " + e.tagName + " " + e.textContent);
    last = level;
  }
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = (text) => channels(text).slice(0, 3).reduce((sum, c, i) => sum + linear(c / 255) * [0.2126, 0.7152, 0.0722][i], 0);
  const opaque = (text) => (channels(text)[3] ?? 1) > 0;
  const ground = (e) => opaque(getComputedStyle(e).backgroundColor) ? getComputedStyle(e).backgroundColor : ground(e.parentElement);
  const texts = ".v, p, th, td, a, summary, dt, dd, li, button, .because, .quiet, .unit, .count, .rung, pre, caption";
  for (const e of document.querySelectorAll(texts)) {
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) faults.push("contrast " + e.className + " " + e.tagName + " " + (a + 0.05) / (b + 0.05));
  }
  return [...new Set(faults)];
}"""
"""Returns what is wrong with the document as it stands: ids, names, references, headings, titles, headers of tables, contrast."""


@contextmanager
def opened(browser, address, **options):
    """A page, offline; whatever it logs, throws or fails to load is a failure, and so is a dialog."""
    context = browser.new_context(offline=True, **{"viewport": {"width": 1280, "height": 900}, **options})
    context.set_default_timeout(10_000)
    wrong, shown = [], context.new_page()
    shown.on("console", lambda message: wrong.append(message.text))
    shown.on("pageerror", lambda error: wrong.append(str(error)))
    shown.on("requestfailed", lambda request: wrong.append(request.url))
    shown.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    shown.goto(address)
    try:
        yield shown
    finally:
        context.close()
    assert wrong == []


def follow(shown, element) -> None:
    """Click, and wait until the page has followed its address."""
    element.click()
    settle(shown)


def settle(shown) -> None:
    """Wait until what the address asks for is shown: its events come one after another, and this comes last."""
    shown.evaluate("() => new Promise((done) => setTimeout(() => requestAnimationFrame(() => setTimeout(done)), 20))")


def heading(shown) -> str:
    """The first heading of what is open, in one line."""
    return " ".join(shown.locator("#details h2").first.inner_text().split())


def focused(shown) -> str:
    """The text of what has the focus."""
    return shown.evaluate("document.activeElement.textContent")


def overflow(shown) -> int:
    """By how much the page is wider than the window."""
    return shown.evaluate("document.documentElement.scrollWidth - innerWidth")
