"use strict";
// What the page shows follows from its address: nothing, "#model/text" (all of it), "#model/text/claim4", or that and "/predicate/rung".
// So links, the Back button and bookmarks need nothing of their own.
(() => {
  const byId = (id) => document.getElementById(id);
  const details = byId("details"), lost = byId("lost"), tip = byId("tip"), told = byId("told");
  const openers = [...document.querySelectorAll("[data-open]")];
  const decoded = (part) => { try { return decodeURIComponent(part); } catch { return part; } };
  const partsOf = (fragment) => fragment.replace(/^#/, "").split("/").map(decoded);
  const keyOf = (parts) => JSON.stringify(parts);
  const byAddress = new Map(openers.map((a) => [keyOf(partsOf(a.getAttribute("href"))), a]));
  const sole = openers.filter((a) => a.classList.contains("all")).length === 1;
  let shown = "", opener = null;

  const subjectOf = (a) => a.dataset.open.split("-")[0];
  const everythingOf = (a) => {
    const rest = openers.filter((other) => other.classList.contains("cell") && subjectOf(other) === subjectOf(a));
    return [a, ...rest].map((other) => other.dataset.open);
  };

  function insert(ids) {
    if (ids.join() === shown) return;
    shown = ids.join();
    details.replaceChildren(...ids.map((id) => {
      const template = document.createElement("template");
      // The text was made by a template that escapes all that is foreign, and the page's policy runs no script but this one.
      template.innerHTML = JSON.parse(byId(`${id}-text`).textContent);
      // They name the data where this script does not run; here they would stand beside its own labels.
      for (const title of template.content.querySelectorAll("[data-told] > title")) title.remove();
      return template.content;
    }));
    details.setAttribute("class", ids.length ? "open" : "");
  }

  function say(text) {
    lost.textContent = text;
    lost.hidden = !text;
  }

  function bring(target, focused) {
    for (const old of details.querySelectorAll(".sought")) old.classList.remove("sought");
    if (!target) return;
    if (focused.matches("tr")) focused.classList.add("sought");
    focused.focus({ preventScroll: true });
    target.scrollIntoView({ block: "start" });
  }

  function show() {
    const parts = partsOf(location.hash), before = opener;
    if (keyOf(parts) === '["matrix"]') return;  // The skip link moves the focus and closes nothing.
    const nothing = keyOf(parts) === '[""]';
    const a = byAddress.get(keyOf(parts.slice(0, 3))) || (parts.length === 2 ? byAddress.get(keyOf(parts)) : undefined);
    say(a || nothing ? "" : `Nothing on this page is called “${parts.join("/")}”. The matrix shows what there is.`);
    opener = a || null;
    const all = a && a.classList.contains("all");
    insert(a ? (all ? everythingOf(a) : [a.dataset.open]) : sole ? [document.querySelector("a.all").dataset.open] : []);
    for (const other of openers) {
      const open = other === a;
      other.setAttribute("aria-expanded", String(open));
      if (open) other.setAttribute("aria-controls", all ? "details" : other.dataset.open);
      else other.removeAttribute("aria-controls");
    }
    if (!a) {
      bring(null);
      if (before && nothing) back(before);
      return;
    }
    const article = byId(a.dataset.open);
    const [name, rung] = parts.slice(3);
    const predicate = name === undefined ? null : [...article.querySelectorAll("[data-predicate]")].find((s) => s.dataset.predicate === name);
    const row = predicate && rung !== undefined ? [...predicate.querySelectorAll("[data-rung]")].find((r) => r.dataset.rung === rung) : null;
    if (name !== undefined && !predicate) say(`${parts.slice(0, 3).join("/")} has no predicate called “${name}”.`);
    else if (rung !== undefined && !row) say(`${name} has no rung called “${rung}” here.`);
    if (!lost.hidden) bring(lost, lost);
    else bring(predicate || article, row || (predicate || article).querySelector("[tabindex='-1']"));
  }

  function back(to) {
    (to.offsetParent ? to : byId("words")).focus();
  }

  function close() {
    if (!opener && lost.hidden) return;
    try { history.pushState(null, "", location.href.split("#")[0]); } catch { location.hash = ""; }
    show();
  }

  window.addEventListener("hashchange", show);

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-open]");
    if (link && link === opener && keyOf(partsOf(location.hash)) === keyOf(partsOf(link.getAttribute("href")))) {
      event.preventDefault();
      close();
    }
    const button = event.target.closest("button");
    if (button && button.matches(".close")) {
      const article = button.closest("article");
      const next = article.nextElementSibling || article.previousElementSibling;
      if (!next && opener) return close();
      article.remove();
      shown = "partly";  // So that opening the same again brings back what was closed.
      (next ? next.querySelector("h2") : words).focus();
    }
    if (button && button.matches(".copy")) copy(button);
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === " " && event.target.matches("a[data-open]")) {
      event.preventDefault();
      event.target.click();
    }
    if (event.key === "Escape") {
      if (!tip.hidden) tip.hidden = true;
      else if (!event.target.matches("input")) close();
    }
  });

  async function copy(button) {
    const code = button.parentElement.querySelector("code");
    let done = false;
    try {
      await navigator.clipboard.writeText(code.textContent);
      done = true;
    } catch {
      // Where a page has no clipboard, the text is at least selected.
      getSelection().selectAllChildren(code);
      try { done = document.execCommand("copy"); } catch { done = false; }
    }
    told.textContent = done ? "Copied" : "Selected; copy it with the keyboard";
    button.textContent = done ? "Copied" : "Selected";
    setTimeout(() => { button.textContent = "Copy"; told.textContent = ""; }, 2000);
  }

  // The filter: a cell stays when each word is in the names of its model, text or claim (with its predicates), and a verdict is wanted.
  const form = byId("filter"), words = byId("words"), matrix = document.querySelector("table.matrix");
  const heads = (name) => new Map([...matrix.querySelectorAll(`th[data-${name}]`)].map((th) => [th.dataset[name], th]));
  const subjects = heads("s"), claims = heads("c"), cells = [...matrix.querySelectorAll("td")];
  const says = new Map([...subjects.values(), ...claims.values()].map((th) => [th, th.dataset.names.toLowerCase()]));
  const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

  function filter() {
    const terms = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const unwanted = new Set([...form.querySelectorAll("input[name=verdict]:not(:checked)")].map((box) => box.value));
    const seen = new Set();
    let count = 0, of = 0;
    for (const td of cells) {
      const s = subjects.get(td.dataset.s), c = claims.get(td.dataset.c), link = td.querySelector("a");
      const verdicts = (td.dataset.verdicts || "").split(" ").filter(Boolean);
      const fits = terms.every((term) => says.get(s).includes(term) || says.get(c).includes(term));
      const stays = link !== null && fits && (!verdicts.length || verdicts.some((verdict) => !unwanted.has(verdict)));
      td.classList.toggle("out", !stays && (link !== null || terms.length > 0 || unwanted.size > 0));
      of += link !== null;
      count += stays;
      if (stays) seen.add(s).add(c);
    }
    const all = !terms.length && !unwanted.size;
    for (const th of [...subjects.values(), ...claims.values()]) {
      th.hidden = !all && !seen.has(th);
      if (th.scope === "row") th.parentElement.hidden = th.hidden;
    }
    for (const td of cells) td.hidden = subjects.get(td.dataset.s).hidden || claims.get(td.dataset.c).hidden;
    const models = [...subjects.values()].filter((th) => seen.has(th)).length;
    byId("shown").textContent = count ? `${count} of ${plural(of, "cell")}` + (sole ? "" : `; ${models} of ${subjects.size} models on texts`)
      : "Nothing matches. Shorten the words or tick more verdicts.";
  }

  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());

  // Values of plots, where the pointer is; readers without one have the table below each plot.
  document.addEventListener("pointerover", (event) => {
    const datum = event.target.closest("[data-told]");
    tip.hidden = !datum;
    if (!datum) return;
    tip.textContent = datum.dataset.told;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 12, innerWidth - box.width - 8))}px`;
    tip.style.top = `${event.clientY + 16 + box.height < innerHeight ? event.clientY + 16 : event.clientY - box.height - 12}px`;
  });
  document.addEventListener("scroll", () => { tip.hidden = true; }, { capture: true, passive: true });

  const theme = byId("theme"), choices = ["system", "light", "dark"], stored = "transformer-assay-colours";
  const recall = () => { try { return localStorage.getItem(stored); } catch { return null; } };  // Files may have no storage.
  function colour(choice) {
    document.documentElement.dataset.theme = choice;
    theme.textContent = `Colours: ${choice}`;
    try { localStorage.setItem(stored, choice); } catch { /* It lasts as long as the page. */ }
  }
  theme.addEventListener("click", () => colour(choices[(choices.indexOf(document.documentElement.dataset.theme) + 1) % 3]));
  colour(choices.includes(recall()) ? recall() : "system");

  for (const element of document.querySelectorAll(".needs-script")) element.hidden = false;
  filter();
  show();
})();
