// Keys: go to, move, act, palette, key sheet. Single letters are off while a person types.
import { find, findAll, make, makeIcon, ask, copyText, announce, inTextField, visible, hear } from "./core.js";
import { navigate } from "./morph.js";
import { setPanel } from "./actions.js";
import { moveCurrent } from "./board.js";
import { stepHunk, tickCurrent, nextUnread } from "./review.js";

const GO = { b: "/board", i: "/inbox", s: "/sessions", w: "/workspaces", j: "/jobs", t: "/timeline", h: "/health" };
const GO_NAMES = { b: "Board", i: "Inbox", s: "Sessions", w: "Workspaces", j: "Jobs", t: "Timeline", h: "Health" };
let going = 0;
let currentId = "";
let finding = null;
let findTimer = 0;

const listRows = () => findAll("#main [data-row]").filter(visible);
const currentRow = () => find("#main .on-row[data-row]") ?? document.activeElement?.closest?.("#main [data-row]");

function markRow(row) {
  for (const other of findAll("#main .on-row[data-row]")) if (other !== row && other.getAttribute("aria-current") !== "true") other.classList.remove("on-row");
  row.classList.add("on-row");
  currentId = row.id;
}

function step(by, from = currentRow()) {
  const all = listRows();
  if (!all.length) return;
  const at = all.indexOf(from);
  const next = all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : at + by))];
  markRow(next);
  const target = next.querySelector("h3 a, th a, a") ?? next;
  if (target === next && !next.hasAttribute("tabindex")) next.setAttribute("tabindex", "-1");
  target.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

/** The cards of the inbox open as the selection moves. */
function stepInbox(by) {
  const before = currentRow();
  step(by, before);
  const row = currentRow();
  const link = row?.matches(".q") && row !== before && find("a[href*='a=']", row);
  if (link && matchMedia("(min-width: 901px)").matches) link.click();
}

function nextNeeding(by) {
  const hrefs = (find("#attn")?.dataset.hrefs ?? "").split(" ").filter(Boolean);
  if (!hrefs.length) { announce("Nothing waits for you."); return; }
  const at = hrefs.findIndex((href) => location.pathname.endsWith(href) || location.href.includes(href));
  navigate(hrefs[(at + by + hrefs.length) % hrefs.length]);
}

function escape() {
  const dialog = find("dialog[open]");
  if (dialog) { dialog.close(); return; }
  const menu = find("details.menu[open]");
  if (menu) { menu.open = false; find("summary", menu)?.focus(); return; }
  const panel = findAll("#main [data-panel]:not([hidden])").at(-1);
  if (panel) { setPanel(panel.id, false); return; }
  if (inTextField(document.activeElement)) { document.activeElement.blur(); return; }
  const crumb = findAll(".crumbs a").at(-1);
  if (crumb && location.pathname !== crumb.pathname) crumb.click();
}

/** A control of this screen that carries the key. */
function act(key) {
  const inCard = document.activeElement?.closest?.("[data-approval]");
  const all = [...(inCard ? findAll(`[data-key="${CSS.escape(key)}"]`, inCard) : []), ...findAll(`#main [data-key="${CSS.escape(key)}"]`)];
  const row = currentRow();
  const control = all.find((one) => row?.contains(one) && visible(one)) ?? all.find(visible);
  if (!control) return false;
  if (control.matches("input:not([type=checkbox]), textarea, select")) { control.focus(); control.select?.(); } else control.click();
  return true;
}

function screenKey(key) {
  const screen = find("#main")?.dataset.screen;
  if (screen === "review") {
    if (key === "J") return stepHunk(1), true;
    if (key === "K") return stepHunk(-1), true;
    if (key === "x" || key === "v") return tickCurrent(key), true;
    if (key === "u") return nextUnread(), true;
  }
  if (screen === "board" && key === "m") return moveCurrent(), true;
  if (key === "A") {
    const other = findAll("#main [data-decide=approve]").filter(visible).find((button) => button.dataset.scope !== "once");
    if (other) { other.focus(); announce("Wider scopes: choose with Tab, decide with Enter."); return true; }
  }
  if (screen === "session" && key === "G") { const feed = find("#feed"); feed.scrollTop = feed.scrollHeight; return true; }
  if (screen === "session" && (key === "[" || key === "]")) {
    const own = findAll("#feed [data-own]");
    const top = find("#feed").getBoundingClientRect().top;
    const next = key === "]" ? own.find((turn) => turn.getBoundingClientRect().top > top + 8) : own.findLast((turn) => turn.getBoundingClientRect().top < top - 8);
    next?.scrollIntoView({ block: "start" });
    return true;
  }
  return false;
}

function onKey(event) {
  if (event.defaultPrevented || event.isComposing) return;
  if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); openPalette(); return; }
  if (event.key === "Escape") { if (!find("dialog[open]")) { escape(); } return; }
  if (event.ctrlKey || event.metaKey || event.altKey || inTextField(event.target) || find("dialog[open]")) return;
  const key = event.key;
  if (going && Date.now() - going < 1200 && GO[key]) { going = 0; event.preventDefault(); navigate(GO[key]); return; }
  going = 0;
  const move = find("#main")?.dataset.screen === "inbox" ? stepInbox : step;
  if (key === "g") { going = Date.now(); return; }
  if (key === " " && event.target.closest("summary, button, a")) return;
  const known = { j: () => move(1), k: () => move(-1), n: () => nextNeeding(1), N: () => nextNeeding(-1), "?": openKeys, "/": openPalette, y: () => { const id = (currentRow() ?? find("#main [data-copy]"))?.dataset.copy; if (id) copyText(id); } };
  if (key === "/" && act("/")) { event.preventDefault(); return; }
  if (known[key]) { event.preventDefault(); known[key](); return; }
  if (key === "." ) {
    const menu = find("details.menu", currentRow() ?? document.createElement("i")) ?? find("#main details.menu");
    if (menu) { event.preventDefault(); menu.open = true; find(".item", menu)?.focus(); }
    return;
  }
  if (key.length === 1 && (screenKey(key) || act(key))) event.preventDefault();
}

function sheet(id, label) {
  find(`#${id}`)?.remove();
  const dialog = make("dialog", { class: "sheet", id, "aria-label": label });
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.body.append(dialog);
  return dialog;
}

const labelOf = (control) => (control.getAttribute("aria-label") || control.getAttribute("placeholder") || find(`label[for="${control.id}"]`)?.textContent || control.textContent).replace(/\s+/g, " ").trim().replace(new RegExp(`\\s${control.dataset.key?.replace(/[^\w]/g, "\\$&")}$`), "");

const SCREEN_KEYS = { review: [["x", "select for the commit"], ["v", "viewed"], ["J K", "next, previous hunk"], ["u", "next unviewed"]], board: [["m", "move the card"]], inbox: [["A", "wider scopes"]], session: [["G", "to the end"], ["[ ]", "my messages"]] };

/** The keys of this screen. */
export function openKeys() {
  const dialog = sheet("keys", "Keys");
  const here = findAll("#main [data-key]").filter(visible).map((control) => [control.dataset.key, labelOf(control)]);
  const unique = [...new Map([...here, ...(SCREEN_KEYS[find("#main")?.dataset.screen] ?? [])].map(([key, words]) => [key, words])).entries()];
  const table = (pairs) => make("dl", { class: "kv keys" }, ...pairs.flatMap(([key, words]) => [make("dt", {}, ...key.split(" ").map((one) => make("kbd", {}, one))), make("dd", { class: "cut" }, words)]));
  dialog.append(make("div", { class: "row" }, make("h2", {}, "Keys of this screen"), make("button", { class: "btn sm push", type: "button", "data-dialog-close": true }, "Close")), table(unique), make("h2", {}, "Everywhere"), table([["j k", "move"], ["Enter", "open"], ["Esc", "back one level"], ["n N", "next, previous that needs you"], ["y", "copy the id"], [".", "actions of the row"], ["/", "search or palette"], ["Ctrl+K", "palette"], ...Object.entries(GO_NAMES).map(([key, name]) => [`g ${key}`, name])]));
  dialog.showModal();
}

function commands() {
  const go = Object.entries(GO_NAMES).map(([key, name]) => ({ title: `Go to ${name}`, detail: `g ${key}`, run: () => navigate(GO[key]) }));
  const here = findAll("#main [data-key]").filter((control) => visible(control) && control.tagName !== "INPUT").map((control) => ({ title: labelOf(control), detail: control.dataset.key, run: () => act(control.dataset.key) }));
  return [...here, ...go, { title: "Switch theme", detail: "", run: () => find("[data-theme-switch]").click() }, { title: "Keys of this screen", detail: "?", run: openKeys }];
}

/** Commands and objects by name. */
export function openPalette() {
  if (find("#palette[open]")) return;
  const dialog = sheet("palette", "Search or run a command");
  const all = commands();
  const field = make("input", { class: "field", type: "search", role: "combobox", "aria-expanded": "true", "aria-controls": "palette-list", "aria-autocomplete": "list", placeholder: "Command, packet, session, job", autocomplete: "off", spellcheck: "false" });
  const list = make("ul", { id: "palette-list", role: "listbox", "aria-label": "Results", class: "rows" });
  dialog.append(field, list);
  let items = [];
  let at = 0;
  const draw = () => {
    list.replaceChildren(...items.slice(0, 40).map((item, index) => {
      const line = make("li", { role: "option", id: `pal-${index}`, "aria-selected": String(index === at), class: index === at ? "on-row" : "" }, item.kind ? make("span", { class: "lab" }, item.kind) : makeIcon("right"), make("span", { class: "cut" }, item.title), make("span", { class: "lab push cut" }, item.detail ?? ""));
      line.addEventListener("click", () => choose(item));
      return line;
    }));
    if (!items.length) list.replaceChildren(make("li", { class: "lab" }, "Nothing by that name. Enter searches everything."));
    field.setAttribute("aria-activedescendant", items.length ? `pal-${at}` : "");
  };
  const choose = (item) => { dialog.close(); if (item?.run) item.run(); else navigate(item?.href ?? `/search?q=${encodeURIComponent(field.value)}`); };
  const update = () => {
    const words = field.value.trim().toLowerCase();
    items = all.filter((item) => words.split(/\s+/).every((word) => item.title.toLowerCase().includes(word)));
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

export function startKeys() {
  document.addEventListener("keydown", onKey);
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("[data-palette]")) { event.preventDefault(); openPalette(); }
    if (event.target.closest?.("[data-keys]")) openKeys();
    const show = event.target.closest?.("[data-show]");
    if (show) {
      find("#feed")?.setAttribute("data-show", show.dataset.show);
      for (const button of findAll("[data-show]", show.parentElement)) button.setAttribute("aria-pressed", String(button === show));
    }
  }, true);
  document.addEventListener("focusin", (event) => { const row = event.target.closest?.("#main [data-row]"); if (row) markRow(row); });
  hear("dcc:shown", ({ navigated }) => {
    if (navigated) { currentId = ""; return; }
    const row = currentId ? document.getElementById(currentId) : null;
    if (row?.hasAttribute("data-row")) row.classList.add("on-row");
  });
  hear("dcc:row", ({ row }) => markRow(row));
}
