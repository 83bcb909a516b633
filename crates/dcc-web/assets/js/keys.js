// Keys: go to, move, peek, act. Single letters are off while a person types, and altogether when he switched them off.
import { CHANGING, find, findAll, announce, inTextField, visible, hear, readStore, writeStore } from "./core.js";
import { navigate, fetchPage, isWalking } from "./morph.js";
import { sayBeside, setPanel } from "./actions.js";
import { GUARD_MS, sayNothingToDecide, sayOnCard } from "./approvals.js";
import { moveCurrent } from "./board.js";
import { stepHunk, tickCurrent, nextUnread } from "./review.js";
import { keyedControls, labelOf, lettersAreOff, openCopy, openKeys, openPalette, readLetters, remember, setLetters } from "./palette.js";
import { closePeek, followRow, isPeeking, pageOf, startPeek, togglePeek } from "./peek.js";

const GO = { b: "/board", i: "/inbox", s: "/sessions", w: "/workspaces", j: "/jobs", t: "/timeline", h: "/health" };
const GO_NAMES = { b: "Board", i: "Inbox", s: "Sessions", w: "Workspaces", j: "Jobs", t: "Timeline", h: "Health" };
const LISTS = "dcc-lists";
/** Where the neighbours of a page stand when it was not opened from a list. */
const LIST_OF = { wp: "/board", session: "/sessions?filter=all", ws: "/workspaces", job: "/jobs", approval: "/inbox", event: "/timeline" };
const SCREEN_KEYS = {
  board: [["j k", "next, previous packet"], ["Space", "peek"], ["m", "move the packet"], ["o", "its worktree"], ["s", "start a session on it"], ["v l", "list or lanes"]],
  review: [["j k", "next, previous file"], ["J K", "next, previous hunk"], ["x", "select for the commit"], ["v", "viewed"], ["u", "next unviewed"]],
  inbox: [["j k", "next, previous request"], ["A", "wider scopes"], ["b", "open or fold a batch"]],
  session: [["G", "to the end"], ["[ ]", "my messages"], ["E", "next error"]],
};
let prefix = "";
let prefixAt = 0;
let currentId = "";
/** When a letter was last pressed outside a text field, in the time of events. */
let letterAt = Number.NEGATIVE_INFINITY;

const screenName = () => find("#main")?.dataset.screen ?? "";
const listRows = () => findAll("#main [data-row]").filter(visible);
const currentRow = () => find("#main .on-row[data-row]") ?? document.activeElement?.closest?.("#main [data-row]");
/** The row of the inbox that a card belongs to. */
const rowOfCard = (card) => document.getElementById(`q-${card.dataset.approval}`);

/** One needle a page: the row a person is on. */
function markRow(row) {
  for (const other of findAll("#main .on-row[data-row]")) if (other !== row) other.classList.remove("on-row");
  row.classList.add("on-row");
  currentId = row.id;
  followRow(row);
}

function step(by, from = currentRow()) {
  const all = listRows();
  if (!all.length) return;
  const at = all.indexOf(from);
  const next = all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : at + by))];
  markRow(next);
  const target = next.querySelector("h3 a, th a, a, summary") ?? next;
  if (target === next && !next.hasAttribute("tabindex")) next.setAttribute("tabindex", "-1");
  target.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

/** List and card of the inbox stand side by side. */
const isWide = () => matchMedia("(min-width: 901px)").matches;
const tabOf = (href) => new URL(href, location.href).searchParams.get("tab");

/** The cards of the inbox open as the selection moves; rows of another of its lists open with Enter. */
function stepInbox(by) {
  const before = currentRow();
  step(by, before);
  const row = currentRow();
  const link = row !== before && row && find("a[href*='a=']", row);
  if (link && isWide() && tabOf(link.href) === tabOf(location.href)) openCard(link.href);
}

/** A card of the inbox, with the focus on its row unless the card asks for it. */
async function openCard(href) {
  await navigate(href);
  if (document.activeElement?.id === "main") find("#main [aria-current=true] a")?.focus({ preventScroll: true });
  currentRow()?.scrollIntoView({ block: "nearest" });
}

/** The neighbour of a request in the list, as it stands when the decision is made: the list may be anew when the answer comes. */
let neighbour = "/inbox";
function noteNeighbour(id) {
  const waiting = findAll("#main [data-row] a[href^='/inbox?a=']").filter(visible);
  const at = waiting.findIndex((link) => link.closest("[data-row]").id === `q-${id}`);
  neighbour = (at < 0 ? undefined : waiting[at + 1] ?? waiting[at - 1])?.getAttribute("href") ?? "/inbox";
}

/** After a decision the next request stands there with its card; a wider one may have let it go as well, then the oldest. */
function goOn(scope) {
  if (!isWalking() && screenName() === "inbox" && isWide() && find("#main .c-inbox")) openCard(scope === "once" ? neighbour : "/inbox");
}

function nextNeeding(by) {
  const hrefs = (find("#attn")?.dataset.hrefs ?? "").split(" ").filter(Boolean);
  if (!hrefs.length) { announce("Nothing waits for you."); return; }
  const at = hrefs.findIndex((href) => location.pathname.endsWith(href) || location.href.includes(href));
  navigate(hrefs[at < 0 ? (by > 0 ? 0 : hrefs.length - 1) : (at + by + hrefs.length) % hrefs.length]);
}

/** The neighbour in the list that this page was opened from, with its filters as they were. */
async function sibling(by) {
  const kind = location.pathname.split("/")[1];
  const list = readStore(sessionStorage, LISTS, {})[kind] ?? LIST_OF[kind];
  if (!list) return;
  let page;
  try { page = (await fetchPage(list)).page; } catch { announce("The list could not be read."); return; }
  const hrefs = [...new Set(findAll("#main [data-row]", page).map(pageOf).filter((href) => href.startsWith(`/${kind}/`)).map((href) => href.split("#")[0]))];
  const at = hrefs.indexOf(location.pathname);
  const next = hrefs[at + by];
  if (at < 0) announce("This is not in the list it came from.");
  else if (!next) announce(by > 0 ? "The last of its list." : "The first of its list.");
  else { announce(`${at + by + 1} of ${hrefs.length}`); navigate(next); }
}

/** A list is remembered for the neighbours of the pages that are opened from it. */
function rememberList() {
  const first = findAll("#main [data-row]").map(pageOf).find(Boolean);
  if (!/^\/(board|sessions|workspaces|jobs|timeline|inbox)$/.test(location.pathname) || !first) return;
  writeStore(sessionStorage, LISTS, { ...readStore(sessionStorage, LISTS, {}), [first.split("/")[1]]: location.pathname + location.search });
}

function escape() {
  const dialog = find("dialog[open]");
  if (dialog) { dialog.close(); return; }
  const menu = find("details.menu[open]");
  if (menu) { menu.open = false; find("summary", menu)?.focus(); return; }
  const panel = findAll("#main [data-panel]:not([hidden]), #peek [data-panel]:not([hidden])").at(-1);
  if (panel) { setPanel(panel.id, false); return; }
  if (inTextField(document.activeElement)) { document.activeElement.blur(); return; }
  if (isPeeking()) { closePeek(); return; }
  const crumb = findAll(".crumbs a").at(-1);
  if (crumb && location.pathname !== crumb.pathname) crumb.click();
}

/** A control of this screen that carries the key; in the card or row a person is on before any other. */
function act(key, sinceLetterMs = Number.POSITIVE_INFINITY) {
  const all = keyedControls().filter((control) => control.dataset.key === key);
  const near = [document.activeElement?.closest?.("[data-approval]"), currentRow(), find("#peek")].filter(Boolean);
  const control = near.map((place) => all.find((one) => place.contains(one))).find(Boolean) ?? all[0];
  if (!control) return sayNothingToDecide(key);
  if (mustNot(control, sinceLetterMs)) return true;
  if (control.matches("input:not([type=checkbox]), textarea, select")) { control.focus(); control.select?.(); } else control.click();
  return true;
}

/** A key that changes something does it alone, not as a letter of a word, and to the row that is marked; true when it was held back. */
function mustNot(control, sinceLetterMs) {
  if (!control.matches(CHANGING)) return false;
  const card = control.closest("[data-approval]");
  const row = screenName() === "inbox" && card && rowOfCard(card) ? currentRow() : null;
  const why = sinceLetterMs < GUARD_MS
    ? "Letters were typed just before this key: nothing was done. Press it once more by itself."
    : row && row !== rowOfCard(card) ? "The marked row is another one: nothing was decided. Enter opens it." : "";
  if (!why) return false;
  if (card) sayOnCard(card, why); else sayBeside(control, why);
  return true;
}

function boardKey(key) {
  const row = currentRow();
  if (key === "m") return moveCurrent(), true;
  if (key === "v") return startPrefix("v"), true;
  if (!row) return false;
  const worktree = find("a[href^='/ws/']", row);
  if (key === "o" && worktree) return navigate(worktree.href), true;
  if (key === "s") return navigate(`${pageOf(row)}#start-session`), true;
  return false;
}

/** The next failed call or turn of the feed, round and round; a run that hides it is opened. */
function nextError(feed) {
  const all = findAll("li[data-failed], .turn[data-failed]", feed);
  if (!all.length) { announce("No error in this feed."); return; }
  const here = all.indexOf(document.activeElement);
  const next = all[(here + 1) % all.length];
  for (let box = next.closest("details:not([open])"); box; box = box.parentElement.closest("details:not([open])")) box.open = true;
  if (!next.hasAttribute("tabindex")) next.setAttribute("tabindex", "-1");
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "center" });
  announce(`Error ${all.indexOf(next) + 1} of ${all.length}`);
}

function sessionKey(key) {
  const feed = find("#feed");
  if (key === "G") return (feed.scrollTop = feed.scrollHeight), true;
  if (key === "E") return nextError(feed), true;
  if (key !== "[" && key !== "]") return false;
  const own = findAll("#feed [data-own]");
  const top = feed.getBoundingClientRect().top;
  const next = key === "]" ? own.find((turn) => turn.getBoundingClientRect().top > top + 8) : own.findLast((turn) => turn.getBoundingClientRect().top < top - 8);
  next?.scrollIntoView({ block: "start" });
  return true;
}

function screenKey(key) {
  const screen = screenName();
  if (screen === "review") {
    if (key === "J") return stepHunk(1), true;
    if (key === "K") return stepHunk(-1), true;
    if (key === "x" || key === "v") return tickCurrent(key), true;
    if (key === "u") return nextUnread(), true;
  }
  if (screen === "board" && boardKey(key)) return true;
  if (screen === "session" && sessionKey(key)) return true;
  if (screen === "inbox" && key === "b") {
    const batch = currentRow()?.closest("details.batch") ?? find("#main details.batch");
    if (batch) { batch.open = !batch.open; find("summary", batch).focus(); return true; }
  }
  if (key === "A") {
    const other = findAll("#main [data-decide=approve], #peek [data-decide=approve]").filter(visible).find((button) => button.dataset.scope !== "once");
    if (other) { other.focus(); announce("Wider scopes: choose with Tab, decide with Enter."); return true; }
  }
  if (key === "[" || key === "]") { sibling(key === "]" ? 1 : -1); return true; }
  return false;
}

function startPrefix(key) {
  prefix = key;
  prefixAt = Date.now();
}

/** The second key of `g`, `v` and `y`; true when it was one. */
function afterPrefix(key) {
  const first = Date.now() - prefixAt < 1200 ? prefix : "";
  prefix = "";
  if (first === "g" && GO[key]) { navigate(GO[key]); return true; }
  if (first === "v" && key === "l") { find("#main .seg[aria-label=Layout] a:not([aria-current])")?.click(); return true; }
  return false;
}

/** What `y` offers of the row a person is on, else of the page. */
function copy() {
  const row = currentRow();
  const holder = row?.dataset.copy ? row : find("#main .head[data-copy]");
  const href = row ? pageOf(row) : location.pathname + location.search;
  const choices = [];
  if (holder?.dataset.copy) choices.push({ key: "i", name: "id", text: holder.dataset.copy });
  choices.push({ key: "l", name: "link", text: new URL(href || location.href, location.href).href });
  const title = (row ? find("h3, .nm, a", row) : find("#main h1"))?.textContent.replace(/\s+/g, " ").trim();
  if (title) choices.push({ key: "t", name: "title", text: title });
  openCopy(choices);
}

function openMenu() {
  const menu = find("details.menu", currentRow() ?? document.createElement("i")) ?? find("#main details.menu");
  if (!menu) return false;
  menu.open = true;
  find(".item", menu)?.focus();
  return true;
}

const everywhere = () => [["j k", "next, previous row"], ["Enter", "open"], ["Space", "peek"], ["Esc", "back one level"], ["[ ]", "previous, next of its list"], ["n N", "next, previous that needs you"], ["y", "copy: then i id, l link, t title"], [".", "actions of the row"], ["/", "search"], ["Ctrl+K", "palette"], ["?", "this sheet"], ...Object.entries(GO_NAMES).map(([key, name]) => [`g ${key}`, name])];

function showKeys() {
  const here = keyedControls().map((control) => [control.dataset.key, labelOf(control)]);
  openKeys([...new Map([...(SCREEN_KEYS[screenName()] ?? []), ...here]).entries()], everywhere());
}

function commands() {
  const seen = new Set();
  const here = keyedControls().filter((control) => control.tagName !== "INPUT" && control.getAttribute("aria-disabled") !== "true" && !seen.has(labelOf(control)) && seen.add(labelOf(control))).map((control) => ({ kind: "here", title: labelOf(control), key: control.dataset.key, run: () => (control.isConnected ? control.click() : act(control.dataset.key)) }));
  const panels = findAll("#main [data-toggle]:not([data-key])").filter((control) => control.getAttribute("aria-disabled") !== "true" && !seen.has(labelOf(control)) && seen.add(labelOf(control))).map((control) => ({ kind: "here", title: labelOf(control), run: () => setPanel(control.dataset.toggle, true) }));
  const go = Object.entries(GO_NAMES).map(([key, name]) => ({ kind: "go", title: name, key: `g ${key}`, run: () => navigate(GO[key]) }));
  const row = currentRow();
  const peek = row && pageOf(row) ? [{ kind: "here", title: "Peek at this row", key: "Space", run: () => togglePeek(row) }] : [];
  return [
    ...here, ...peek, ...panels.slice(0, 12), ...go,
    { kind: "go", title: "Next that needs you", key: "n", run: () => nextNeeding(1) },
    { kind: "set", title: "Switch theme", run: () => find("[data-theme-switch]").click() },
    { kind: "set", title: lettersAreOff() ? "Single-letter keys on" : "Single-letter keys off", run: () => setLetters(!lettersAreOff()) },
    { kind: "set", title: "Keys of this screen", key: "?", run: showKeys },
  ];
}

/** Space on a row looks into it; on a control it does what it always does. */
function onSpace(event) {
  if (screenName() === "inbox" || event.target.closest("summary, button, input, [role=button]")) return;
  const row = event.target.closest("#main [data-row]") ?? (event.target === document.body || event.target.id === "main" ? currentRow() : null);
  if (!row || !pageOf(row)) return;
  event.preventDefault();
  togglePeek(row);
}

/** Where a page is a program's terminal, letters are the program's or nobody's. */
const isAtProgram = (target) => find("#main [data-takes-keys]") !== null && (target === document.body || target.id === "main" || target.closest("[data-takes-keys]") !== null);

function onKey(event) {
  if (event.defaultPrevented || event.isComposing) return;
  if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); openPalette(commands()); return; }
  if (event.key === "Escape") { if (!find("dialog[open]")) escape(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey || inTextField(event.target) || find("dialog[open]")) return;
  const key = event.key;
  if (key.length !== 1) return;
  const sinceLetterMs = event.timeStamp - letterAt;
  letterAt = event.timeStamp;
  if (key === " ") { onSpace(event); return; }
  if (lettersAreOff() || isAtProgram(event.target)) return;
  if (afterPrefix(key)) { event.preventDefault(); return; }
  if (key === "g") { startPrefix("g"); return; }
  if (key === "/" && act("/")) { event.preventDefault(); return; }
  const move = screenName() === "inbox" ? stepInbox : step;
  const known = { j: () => move(1), k: () => move(-1), n: () => nextNeeding(1), N: () => nextNeeding(-1), "?": showKeys, "/": () => openPalette(commands()), y: copy };
  if (known[key]) { event.preventDefault(); known[key](); return; }
  if ((key === "." && openMenu()) || screenKey(key) || act(key, sinceLetterMs)) event.preventDefault();
}

export function startKeys() {
  readLetters();
  document.addEventListener("keydown", onKey);
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("[data-palette]")) { event.preventDefault(); openPalette(commands()); }
    if (event.target.closest?.("[data-keys]")) showKeys();
    const show = event.target.closest?.("[data-show]");
    if (show) {
      find("#feed")?.setAttribute("data-show", show.dataset.show);
      for (const button of findAll("[data-show]", show.parentElement)) button.setAttribute("aria-pressed", String(button === show));
    }
  }, true);
  document.addEventListener("focusin", (event) => {
    const card = event.target.closest?.("#main .pane-card [data-approval]");
    const row = event.target.closest?.("#main [data-row]") ?? (card && rowOfCard(card));
    if (row) markRow(row);
  });
  hear("dcc:shown", ({ navigated }) => {
    rememberList();
    if (navigated) { currentId = ""; remember(); return; }
    const row = currentId ? document.getElementById(currentId) : null;
    if (row?.hasAttribute("data-row")) markRow(row);
  });
  hear("dcc:deciding", ({ approval_id: id }) => noteNeighbour(id));
  hear("dcc:decided", ({ scope }) => goOn(scope));
  hear("dcc:row", ({ row }) => markRow(row));
  rememberList();
  remember();
  startPeek();
}
