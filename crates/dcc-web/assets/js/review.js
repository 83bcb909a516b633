// Review: which files go into the commit, which were read, and lines that load when they are needed.
// A choice is bound to path and blob id; a file that moved must be chosen again.
import { find, findAll, make, makeState, hear, readStore, writeStore, announce } from "./core.js";
import { fetchPage } from "./morph.js";
import { collectors } from "./actions.js";
import { isOff, offReason } from "./live.js";

/** Rows of diff kept in the page; bodies far from view give theirs back. */
const ROWS_KEPT = 420;
let observer = null;
let loading = 0;
const waiting = [];
const near = new Set();

const workspace = () => find("[data-review]")?.dataset.review ?? "";
const chosenKey = () => `dcc-chosen:${workspace()}`;
const readKey = () => `dcc-read:${workspace()}`;
const rows = () => findAll("#tree li[data-id]");
const rowOf = (id) => document.getElementById(`t-${id}`);

function showRow(row, chosen, read) {
  const { id, oid } = row.dataset;
  const picked = chosen[id];
  const moved = picked !== undefined && picked !== oid;
  const seen = read[id];
  const again = seen !== undefined && seen !== oid;
  for (const box of findAll(`[data-box="${id}"]`)) {
    box.checked = picked !== undefined;
    box.defaultChecked = box.checked;
    box.classList.toggle("moved", moved);
  }
  for (const dot of findAll(`[data-seen="${id}"]`)) {
    dot.checked = seen === oid;
    dot.defaultChecked = dot.checked;
    dot.classList.toggle("again", again);
  }
  const word = find(".moved-word", row);
  word.hidden = !moved && !again;
  if (!word.hidden) word.replaceChildren(makeState("needs", moved ? "changed since selected" : "changed since viewed"));
  return { picked: picked !== undefined, moved, seen: seen === oid };
}

/** Draws choice and reading state; drops choices of files that are gone. */
export function showReview() {
  if (!find("[data-review]")) { observer?.disconnect(); observer = null; return; }
  const chosen = readStore(sessionStorage, chosenKey(), {});
  const read = readStore(localStorage, readKey(), {});
  const all = rows();
  const present = new Set(all.map((row) => row.dataset.id));
  for (const id of Object.keys(chosen)) if (!present.has(id)) delete chosen[id];
  let add = 0, del = 0, count = 0, seen = 0, moved = 0;
  const list = [];
  for (const row of all) {
    const state = showRow(row, chosen, read);
    if (state.seen) seen += 1;
    if (!state.picked) continue;
    count += 1;
    if (state.moved) moved += 1;
    add += Number(row.dataset.add);
    del += Number(row.dataset.del);
    list.push(make("li", {}, make("span", { class: "gut m mut" }, find(".kind", row).textContent), make("span", { class: "m cut", title: row.dataset.name }, row.dataset.name), make("span", { class: "m push mut", title: chosen[row.dataset.id] }, state.moved ? "moved" : chosen[row.dataset.id].slice(0, 7))));
  }
  writeStore(sessionStorage, chosenKey(), chosen);
  setText("#seen-count", seen);
  setText("#sel-count", count);
  find("#sel-pm")?.replaceChildren(...[add ? make("span", { class: "plus" }, `+${add}`) : "", add && del ? " " : "", del ? make("span", { class: "minus" }, `−${del}`) : ""].filter(Boolean));
  if (list.length) find("#sel-list")?.replaceChildren(...list);
  else find("#sel-list")?.replaceChildren(make("li", { class: "lab" }, make("span", {}, "Nothing selected. Tick files with the square box, or ", make("kbd", {}, "x"), ".")));
  showCommit(count, moved);
  applyFilter();
  watchBodies();
}

const setText = (selector, value) => { const node = find(selector); if (node) node.textContent = String(value); };

function showCommit(count, moved) {
  setText("#commit-label", `Commit ${count} ${count === 1 ? "path" : "paths"}`);
  const go = find("#commit-go");
  if (!go || (go.getAttribute("aria-disabled") === "true" && !go.hasAttribute("data-own-off"))) return;
  const why = isOff() ? offReason() : moved ? `${moved} selected ${moved === 1 ? "file" : "files"} changed since selected: tick again after reading.` : count === 0 ? "Select at least one file first." : "";
  go.toggleAttribute("data-own-off", !!why);
  if (why) { go.setAttribute("aria-disabled", "true"); go.setAttribute("data-why", why); go.title = why; }
  else { go.removeAttribute("aria-disabled"); go.removeAttribute("data-why"); go.removeAttribute("title"); }
}

function onTick(event) {
  const { box, seen } = event.target.dataset ?? {};
  const id = box ?? seen;
  const row = id && rowOf(id);
  if (!row) return;
  const area = box ? sessionStorage : localStorage;
  const key = box ? chosenKey() : readKey();
  const all = readStore(area, key, {});
  const stale = all[id] !== undefined && all[id] !== row.dataset.oid;
  if (event.target.checked || stale) all[id] = row.dataset.oid; else delete all[id];
  writeStore(area, key, all);
  showReview();
  if (seen && event.target.checked) fold(id, true);
}

function fold(id, shut) {
  const body = document.getElementById(`body-${id}`);
  body?.toggleAttribute("data-folded", shut);
  find(`[data-fold="body-${id}"]`)?.setAttribute("aria-expanded", String(!shut));
}

function applyFilter() {
  const words = find("#file-q")?.value.trim().toLowerCase() ?? "";
  const unread = find("#unviewed")?.getAttribute("aria-pressed") === "true";
  for (const row of rows()) {
    const off = (words && !row.dataset.name.toLowerCase().includes(words)) || (unread && find(".seen", row).checked);
    row.hidden = !!off;
    const article = document.getElementById(`df-${row.dataset.id}`);
    if (article) article.hidden = !!off;
  }
}

/** Loads bodies that come near the view, three at a time. */
function watchBodies() {
  const pane = find("#pane-diff");
  if (!pane) return;
  if (observer && observer.root !== pane) { observer.disconnect(); observer = null; near.clear(); waiting.length = 0; }
  observer ??= new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) { near.add(target); if (!target.hasAttribute("data-loaded")) { waiting.push(target); pump(); } } else near.delete(target);
    }
  }, { root: pane, rootMargin: "500px 0px" });
  for (const body of findAll("[data-lazy]", pane)) {
    observer.observe(body);
    if (near.has(body) && !body.hasAttribute("data-loaded") && !waiting.includes(body)) waiting.push(body);
  }
  pump();
}

async function pump() {
  if (loading >= 3) return;
  const body = waiting.shift();
  if (!body) return;
  if (!body.isConnected || body.hasAttribute("data-loaded") || !near.has(body)) return pump();
  loading += 1;
  body.setAttribute("data-loaded", "");
  try {
    const { page } = await fetchPage(body.dataset.lazy);
    const fresh = find("[data-oid]", page);
    if (!fresh) throw new Error("no lines");
    body.replaceChildren(...Array.from(fresh.childNodes, (node) => document.adoptNode(node)));
    body.dataset.oid = fresh.dataset.oid;
    body.style.minHeight = "";
  } catch {
    body.removeAttribute("data-loaded");
    body.replaceChildren(make("p", { class: "pad lab" }, "The lines could not be loaded. ", make("button", { class: "btn sm", type: "button", "data-reload-body": body.id }, "Try again")));
  }
  loading -= 1;
  giveBack();
  pump();
}

/** Far bodies give their rows back and keep their height. */
function giveBack() {
  const loaded = findAll("[data-lazy][data-loaded]");
  let total = loaded.reduce((sum, body) => sum + body.querySelectorAll("tr").length, 0);
  for (const body of loaded) {
    if (total <= ROWS_KEPT) return;
    if (near.has(body) || body.contains(document.activeElement)) continue;
    total -= body.querySelectorAll("tr").length;
    body.style.minHeight = `${body.offsetHeight}px`;
    body.replaceChildren();
    body.removeAttribute("data-loaded");
  }
}

function fileMoved({ node, oid }) {
  if (node.dataset.newOid === oid) return;
  node.dataset.newOid = oid;
  node.querySelector(".file-moved")?.remove();
  node.prepend(make("div", { class: "note warn file-moved" }, makeState("needs", "changed"), " The file changed while you read it.", make("button", { class: "btn sm push", type: "button", "data-reload-body": node.id }, "Show new")));
}

/** Goes to the next or previous hunk in the diff pane. */
export function stepHunk(step) {
  const pane = find("#pane-diff");
  const hunks = findAll("[data-hunk]", pane);
  const edge = pane.getBoundingClientRect().top + 40;
  const next = step > 0 ? hunks.find((hunk) => hunk.getBoundingClientRect().top > edge + 4) : hunks.findLast((hunk) => hunk.getBoundingClientRect().top < edge - 4);
  if (next) pane.scrollTop += next.getBoundingClientRect().top - edge;
}

export function tickCurrent(kind) {
  const row = find("#tree li.on-row") ?? rows()[0];
  const control = row && find(kind === "x" ? ".box" : ".seen", row);
  if (!control) return;
  control.click();
  announce(`${row.dataset.name} ${kind === "x" ? (control.checked ? "selected" : "not selected") : control.checked ? "viewed" : "not viewed"}`);
}

export function nextUnread() {
  const list = rows();
  const at = list.findIndex((row) => row.classList.contains("on-row"));
  const next = [...list.slice(at + 1), ...list.slice(0, at + 1)].find((row) => !find(".seen", row).checked);
  find("a", next ?? document.createElement("i"))?.focus();
}

export function startReview() {
  document.addEventListener("change", onTick);
  document.addEventListener("input", (event) => { if (event.target.id === "file-q") applyFilter(); });
  document.addEventListener("focusin", (event) => {
    const row = event.target.closest?.("#tree li[data-id]");
    if (row && event.target.matches("a")) document.getElementById(`df-${row.dataset.id}`)?.scrollIntoView({ block: "start" });
  });
  document.addEventListener("click", (event) => {
    const unread = event.target.closest?.("#unviewed");
    if (unread) { unread.setAttribute("aria-pressed", String(unread.getAttribute("aria-pressed") !== "true")); applyFilter(); }
    const again = event.target.closest?.("[data-reload-body]");
    if (again) { const body = document.getElementById(again.dataset.reloadBody); body.removeAttribute("data-loaded"); delete body.dataset.newOid; if (!body.dataset.lazy) { location.reload(); return; } near.add(body); waiting.push(body); pump(); }
  });
  hear("dcc:file-moved", fileMoved);
  hear("dcc:shown", showReview);
  collectors.push((form, params) => {
    if (!form.hasAttribute?.("data-commit")) return;
    const chosen = readStore(sessionStorage, chosenKey(), {});
    params.paths = [];
    params.expected = {};
    for (const row of rows()) {
      if (chosen[row.dataset.id] === undefined) continue;
      const path = JSON.parse(row.dataset.path);
      params.paths.push(path);
      if (typeof path === "string") params.expected[path] = chosen[row.dataset.id];
    }
  });
  hear("dcc:done", ({ op, source }) => {
    if (op !== "version.commit") return;
    writeStore(sessionStorage, chosenKey(), {});
    const message = source.elements?.message;
    if (message) message.value = message.defaultValue;
    showReview();
  });
  showReview();
}
