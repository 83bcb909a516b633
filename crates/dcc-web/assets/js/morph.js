// Showing a page without a reload: navigation swaps the frame's parts, a live refresh morphs them in
// place. Focus, scroll, typed text, open details and what other modules own survive a refresh.
import { find, findAll, emit, root, inTextField } from "./core.js";
import { rememberPlaces, keepPlaces, mustWait } from "./places.js";

const FRAME = ["rail", "top", "main", "end"];
let walking = null;
let refreshing = false;
let refreshAgain = false;
/** Counts wishes to refresh: one that came while a page was fetched is made good after it is shown. */
let asked = 0;
let typedAt = 0;
/** What the last refresh took, from the question to the page. */
let tookMs = 0;

/** How long events are gathered before the next refresh: as long as one takes, so that a busy page or machine is not drawn without a pause. */
export const pauseMs = () => Math.min(Math.max(tookMs, 30), 250);

/** A page of ours; `part` is main for its live parts, peek for its short form. */
export async function fetchPage(url, signal, part = "main") {
  const answer = await fetch(url, { headers: { "x-dcc-fragment": part, accept: "text/html" }, credentials: "same-origin", signal });
  if (!(answer.headers.get("content-type") ?? "").includes("text/html")) throw new Error("not a page");
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return { page, url: answer.url || url };
}

const isDirty = (node) => {
  if (node instanceof HTMLTextAreaElement) return node.value !== node.defaultValue;
  if (node instanceof HTMLInputElement) return node.type === "checkbox" || node.type === "radio" ? node.checked !== node.defaultChecked : node.value !== node.defaultValue;
  if (node instanceof HTMLSelectElement) return Array.from(node.options).some((option) => option.selected !== option.defaultSelected);
  return false;
};

const callbacks = {
  beforeNodeMorphed(before, after) {
    if (!(before instanceof Element)) return true;
    if (before.hasAttribute("data-local") || before.hasAttribute("data-keep")) return false;
    if (isDirty(before)) return false;
    if (before.hasAttribute("data-loaded")) {
      if (before.dataset.oid !== after.dataset?.oid) emit("dcc:file-moved", { node: before, oid: after.dataset?.oid ?? "" });
      return false;
    }
    return true;
  },
  beforeNodeRemoved(node) {
    return !(node instanceof Element && node.id.startsWith("local-"));
  },
  beforeAttributeUpdated(name, node) {
    if (name === "open" && node instanceof HTMLDetailsElement) return false;
    if (name === "hidden" && node.hasAttribute("data-panel")) return false;
    if (name === "class" && node.hasAttribute("data-lane")) return false;
    if (name === "aria-expanded" || name === "data-show" || name === "data-folded" || name === "data-guard" || name === "data-busy") return false;
    return true;
  },
};

/** What the script owns has a name in both pages, by its place: a refresh then never takes it for something else of its kind. */
function nameLocals(place) {
  const counts = new Map();
  for (const node of findAll("[data-local]:not([id])", place)) {
    const asks = node.closest("[data-op]")?.dataset.op ?? "";
    const name = `own-${node.parentElement.closest("[id]")?.id ?? ""}-${asks}-${node.classList[0] ?? ""}`;
    const number = (counts.get(name) ?? 0) + 1;
    counts.set(name, number);
    node.id = number > 1 ? `${name}-${number}` : name;
  }
}

function morphFrame(page) {
  rememberPlaces();
  nameLocals(document);
  nameLocals(page);
  const watch = { ...callbacks, beforeNodeAdded: (node) => !mustWait(node, page) };
  for (const id of FRAME) {
    const before = document.getElementById(id);
    const after = page.getElementById(id);
    // Only a field keeps its content while it is active: a focused container, such as the page after a step, is brought up to date.
    if (before && after) Idiomorph.morph(before, after, { morphStyle: "outerHTML", ignoreActiveValue: inTextField(document.activeElement), callbacks: watch });
  }
  keepPlaces();
  if (page.title) document.title = page.title;
  emit("dcc:shown", { navigated: false });
}

/** Brings the present page up to date. Calls that come meanwhile are one call. */
export async function refresh() {
  asked += 1;
  if (refreshing) { refreshAgain = true; return; }
  const wait = typedAt + 700 - Date.now();
  if (root.dataset.dragging !== undefined || (wait > 0 && inTextField(document.activeElement))) {
    setTimeout(refresh, Math.max(wait, 150));
    return;
  }
  refreshing = true;
  const began = performance.now();
  try {
    const here = location.href;
    const { page } = await fetchPage(here);
    if (!page.getElementById("main")) { location.reload(); return; }
    if (here === location.href && root.dataset.dragging === undefined) morphFrame(page);
  } catch (error) {
    // No answer is the stream's to notice; anything else is our own fault and must be seen.
    if (!(error instanceof TypeError && /fetch/i.test(error.message))) console.error(error);
  } finally {
    refreshing = false;
    tookMs = performance.now() - began;
    if (refreshAgain) { refreshAgain = false; setTimeout(refresh, pauseMs()); }
  }
}

const scrollKey = () => {
  const scrolls = {};
  for (const node of findAll("#main, #main [id].scroll, #main .scroll")) if (node.scrollTop > 0) scrolls[node.id || `.${node.className}`] = node.scrollTop;
  return scrolls;
};

function restoreScroll(scrolls) {
  for (const [key, top] of Object.entries(scrolls ?? {})) {
    const node = findAll("#main, #main .scroll").find((one) => (one.id || `.${one.className}`) === key);
    if (node) node.scrollTop = top;
  }
}

/** Goes to another page of ours. Falls back to the browser when the answer is not one of our pages. */
export async function navigate(url, how = "push") {
  walking?.abort();
  const mine = new AbortController();
  walking = mine;
  try { await walk(url, how, mine.signal); } finally { if (walking === mine) walking = null; }
}

/** A person is on the way to another page; nothing of ours overtakes him. */
export const isWalking = () => walking !== null;

async function walk(url, how, signal) {
  const askedBefore = asked;
  const target = new URL(url, location.href);
  if (how === "push") history.replaceState({ ...history.state, scrolls: scrollKey() }, "");
  let answer;
  try {
    answer = await fetchPage(target.href, signal);
  } catch (error) {
    if (error.name !== "AbortError") location.assign(target.href);
    return;
  }
  if (!answer.page.getElementById("main")) { location.assign(target.href); return; }
  const shown = new URL(answer.url);
  shown.hash = target.hash;
  if (how === "push") history.pushState({}, "", shown.href);
  for (const id of FRAME) {
    const after = answer.page.getElementById(id);
    if (after) document.getElementById(id)?.replaceWith(document.adoptNode(after));
  }
  document.title = answer.page.title;
  if (how === "back") restoreScroll(history.state?.scrolls);
  emit("dcc:shown", { navigated: true });
  settleFocus(shown.hash);
  if (asked !== askedBefore) refresh();
}

function settleFocus(hash) {
  const named = hash ? document.getElementById(decodeURIComponent(hash.slice(1))) : null;
  if (named?.hasAttribute("data-panel")) { emit("dcc:panel", { id: named.id }); return; }
  if (named) {
    named.scrollIntoView({ block: "center" });
    if (named.hidden !== undefined && named.hasAttribute("data-row")) emit("dcc:row", { row: named });
  }
  const focus = named ?? find("#main [autofocus]") ?? find("#main");
  if (focus && !focus.hasAttribute("tabindex") && !focus.matches("a, button, input, textarea, select")) focus.setAttribute("tabindex", "-1");
  focus?.focus({ preventScroll: true });
}

const ours = (link) => link.origin === location.origin && !/^\/(api|assets|login|logout)(\/|$)/.test(link.pathname);

export function startWalking() {
  history.scrollRestoration = "manual";
  document.addEventListener("input", () => { typedAt = Date.now(); }, true);
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (link.target || link.hasAttribute("download") || link.hasAttribute("data-plain") || typeof link.href !== "string") return;
    if (link.getAttribute("href").startsWith("#") || !ours(new URL(link.href))) return;
    event.preventDefault();
    navigate(link.href);
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "get" || form.hasAttribute("data-op") || event.defaultPrevented) return;
    event.preventDefault();
    const url = new URL(form.action, location.href);
    url.search = "";
    for (const [name, value] of new FormData(form)) if (value) url.searchParams.append(name, value);
    navigate(url.href);
  });
  addEventListener("popstate", () => navigate(location.href, "back"));
}
