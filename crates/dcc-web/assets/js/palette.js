// Sheets over the page: the palette with commands and objects, the keys of this screen, what can be copied.
import { find, findAll, make, makeIcon, ask, announce, copyText, root, visible, readStore, writeStore } from "./core.js";
import { navigate } from "./morph.js";

const LETTERS = "dcc-letters";
const RECENT = "dcc-recent";
let finding = null;
let findTimer = 0;

/** Single-letter keys can be switched off; Ctrl K, Tab, Enter, Space and Esc stay (WCAG 2.1.4). */
export const lettersAreOff = () => root.dataset.letters === "off";

export function setLetters(off) {
  if (off) root.dataset.letters = "off"; else delete root.dataset.letters;
  writeStore(localStorage, LETTERS, off ? "off" : "on");
  announce(off ? "Single-letter keys are off." : "Single-letter keys are on.");
}

export function readLetters() {
  if (readStore(localStorage, LETTERS, "on") === "off") root.dataset.letters = "off";
}

export function sheet(id, label) {
  find(`#${id}`)?.remove();
  const dialog = make("dialog", { class: "sheet", id, "aria-label": label });
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.body.append(dialog);
  return dialog;
}

/** The words of a control without the key that is drawn on it. */
export function labelOf(control) {
  const named = control.getAttribute("aria-label") || control.getAttribute("placeholder") || find(`label[for="${control.id}"]`)?.textContent;
  if (named) return named.replace(/\s+/g, " ").trim();
  const copy = control.cloneNode(true);
  for (const extra of findAll("kbd, small", copy)) extra.remove();
  return copy.textContent.replace(/\s+/g, " ").trim();
}

const keyCaps = (keys) => make("span", { class: "caps" }, ...keys.split(" ").filter(Boolean).map((one) => make("kbd", {}, one)));
const sheetHead = (title) => make("div", { class: "row" }, make("h2", {}, title), make("button", { class: "btn sm push", type: "button", "data-dialog-close": true }, "Close ", make("kbd", {}, "Esc")));

/** The keys of this screen, those of every screen, and the switch for single letters. */
export function openKeys(here, everywhere) {
  const dialog = sheet("keys", "Keys");
  const table = (pairs) => make("dl", { class: "kv keys" }, ...pairs.flatMap(([keys, words]) => [make("dt", {}, keyCaps(keys)), make("dd", { class: "cut" }, words)]));
  const off = make("input", { type: "checkbox", id: "letters-on" });
  off.checked = !lettersAreOff();
  off.addEventListener("change", () => setLetters(!off.checked));
  dialog.append(
    sheetHead("Keys"),
    make("div", { class: "two-keys" }, make("section", {}, make("h3", {}, "This screen"), here.length ? table(here) : make("p", { class: "lab" }, "None of its own.")), make("section", {}, make("h3", {}, "Everywhere"), table(everywhere))),
    make("label", { class: "row letters" }, off, make("span", {}, "Single-letter keys"), make("span", { class: "lab" }, "Off: only Ctrl K, Tab, Enter, Space and Esc act. Kept in this browser.")),
  );
  dialog.showModal();
}

/** What can be copied of the row or page: a letter copies and closes. */
export function openCopy(choices) {
  const dialog = sheet("copy-sheet", "Copy");
  const list = make("div", { class: "rows", role: "group", "aria-label": "Copy" });
  const take = async (choice) => { dialog.close(); await copyText(choice.text); };
  for (const choice of choices) {
    const line = make("button", { class: "item row", type: "button" }, keyCaps(choice.key), make("span", {}, choice.name), make("span", { class: "m mut cut push" }, choice.text));
    line.addEventListener("click", () => take(choice));
    list.append(line);
  }
  dialog.append(sheetHead("Copy"), list);
  dialog.addEventListener("keydown", (event) => {
    const choice = choices.find((one) => one.key === event.key);
    if (choice && !event.ctrlKey && !event.metaKey && !event.altKey) { event.preventDefault(); take(choice); }
  });
  dialog.showModal();
  find(".item", list)?.focus();
}

/** Remembers a page for the palette, newest first. */
export function remember() {
  const href = location.pathname;
  if (!/^\/(wp|ws|session|job|approval|event)\//.test(href)) return;
  const title = document.title.replace(/^\(\d+\) /, "").split(" · ")[0];
  const name = find("#main .head h1")?.textContent.trim() ?? "";
  const rest = readStore(sessionStorage, RECENT, []).filter((one) => one.href !== href);
  writeStore(sessionStorage, RECENT, [{ href, title: name && name !== title ? `${title} ${name}` : title }, ...rest].slice(0, 6));
}

const recents = () => readStore(sessionStorage, RECENT, []).filter((one) => one.href !== location.pathname).map((one) => ({ kind: "recent", title: one.title, href: one.href }));

/** Commands and objects by name, each with its key. */
export function openPalette(commands) {
  if (find("#palette[open]")) return;
  const dialog = sheet("palette", "Search or run a command");
  const field = make("input", { class: "field", type: "search", role: "combobox", "aria-label": "Command or object", "aria-expanded": "true", "aria-controls": "palette-list", "aria-autocomplete": "list", placeholder: "Command, packet, session, job", autocomplete: "off", spellcheck: "false" });
  const list = make("ul", { id: "palette-list", role: "listbox", "aria-label": "Results", class: "rows" });
  dialog.append(field, list);
  let items = [];
  let at = 0;
  const choose = (item) => { dialog.close(); if (item?.run) item.run(); else navigate(item?.href ?? `/search?q=${encodeURIComponent(field.value)}`); };
  const draw = () => {
    list.replaceChildren(...items.slice(0, 40).map((item, index) => {
      const line = make("li", { role: "option", id: `pal-${index}`, "aria-selected": String(index === at), class: index === at ? "on-row" : "" }, make("span", { class: "lab kind" }, item.kind), make("span", { class: "cut" }, item.title), item.key ? make("span", { class: "push" }, keyCaps(item.key)) : make("span", { class: "m mut push cut" }, item.detail ?? ""));
      line.addEventListener("click", () => choose(item));
      return line;
    }));
    if (!items.length) list.replaceChildren(make("li", { class: "lab", role: "option", "aria-selected": "true", id: "pal-0" }, "Nothing by that name. Enter searches everything."));
    field.setAttribute("aria-activedescendant", `pal-${items.length ? at : 0}`);
  };
  const update = () => {
    const words = field.value.trim().toLowerCase();
    items = [...(words ? [] : recents()), ...commands].filter((item) => words.split(/\s+/).every((word) => `${item.title} ${item.kind}`.toLowerCase().includes(word)));
    at = 0;
    draw();
    finding?.abort();
    clearTimeout(findTimer);
    if (words) findTimer = setTimeout(() => findObjects(words, (hits) => { items = [...hits, ...items]; draw(); }), 60);
  };
  field.addEventListener("input", update);
  field.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); at = (at + (event.key === "ArrowDown" ? 1 : -1) + items.length) % Math.max(1, items.length); draw(); find(`#pal-${at}`)?.scrollIntoView({ block: "nearest" }); }
    if (event.key === "Enter") { event.preventDefault(); choose(items[at]); }
    // A search field empties itself on Esc; here Esc goes back one level.
    if (event.key === "Escape") { event.preventDefault(); event.stopPropagation(); dialog.close(); }
  });
  update();
  dialog.showModal();
  field.focus();
}

/** A hit of the interface as a line of the palette: what it is, its name, its short id, its page. */
function found({ kind, id, title }) {
  const [wp, mt] = id.split("/");
  const pages = { packet: `/wp/${id}`, micro_task: `/wp/${wp}#${mt}`, session: `/session/${id}`, approval: `/approval/${id}`, job: `/job/${id}`, workspace: `/ws/${id}`, grant: "/inbox?tab=grants", event: `/event/${id}` };
  return { kind: kind.replaceAll("_", " "), title: title || id, detail: id.length > 30 ? id.slice(-8) : id, href: pages[kind] };
}

async function findObjects(words, show) {
  finding = { stopped: false, abort() { this.stopped = true; } };
  const mine = finding;
  const answer = await ask("GET", `/api/v1/search?scope=objects&q=${encodeURIComponent(words)}`);
  if (mine.stopped || !answer.ok) return;
  const hits = answer.data.items ?? (answer.data.groups ?? []).flatMap((group) => group.items ?? []);
  show(hits.slice(0, 20).map(found));
}

/** Controls of the screen that carry a key and can be seen. */
export const keyedControls = () => findAll("#main [data-key], #peek [data-key]").filter(visible);
