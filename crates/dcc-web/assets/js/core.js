// What every other module uses: finding and making elements, asking the server, speaking, showing times.

export const root = document.documentElement;
export const find = (selector, from = document) => from.querySelector(selector);
export const findAll = (selector, from = document) => Array.from(from.querySelectorAll(selector));
export const metaValue = (name) => find(`meta[name="${name}"]`)?.content ?? "";

let madeLocal = 0;

/** The id of something that the script made and a refresh leaves alone. */
export const localId = () => `local-${(madeLocal += 1)}`;

/** Makes an element; attributes that are null or false are left out, text is never parsed as HTML. */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  // A name of its own keeps a refresh from taking it for something else of its kind.
  if ("data-local" in attributes) node.id = localId();
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

export function makeIcon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "i");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Shape and word of a state. */
export function makeState(kind, word) {
  return make("span", { class: `st st-${kind}` }, makeIcon(`s-${kind}`), make("span", { class: "cut" }, word));
}

let spokenAt = 0;
let waitingWords = "";
let speakTimer = 0;

/** Speaks politely, at most once in three seconds; what is newer replaces what waits. */
export function announce(words) {
  waitingWords = words;
  clearTimeout(speakTimer);
  const wait = Math.max(0, 3000 - (Date.now() - spokenAt));
  speakTimer = setTimeout(() => {
    spokenAt = Date.now();
    const place = find("#say");
    if (place) place.textContent = waitingWords;
  }, wait);
}

/** Speaks at once: lost connection and failed commands only. */
export function announceNow(words) {
  const place = find("#say-now");
  if (place) place.textContent = words;
}

export const emit = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));
export const hear = (name, act) => document.addEventListener(name, (event) => act(event.detail ?? {}));

/** One JSON request. Never throws: a lost connection is a status of 0. */
export async function ask(method, path, body) {
  const headers = { accept: "application/json" };
  if (method !== "GET") {
    headers["content-type"] = "application/json";
    headers["x-dcc-token"] = metaValue("dcc-token");
  }
  try {
    const answer = await fetch(path, { method, headers, credentials: "same-origin", body: body === undefined ? undefined : JSON.stringify(body) });
    const text = await answer.text();
    let data = {};
    try { data = text ? JSON.parse(text) : {}; } catch { data = { detail: text.slice(0, 200) }; }
    return { ok: answer.ok, status: answer.status, data };
  } catch (error) {
    return { ok: false, status: 0, data: { code: "offline", detail: "The server did not answer.", hint: "Nothing is known about this request; asking again uses the same key and has no second effect." } };
  }
}

/** Code, sentence and next step of a problem answer or of a failed job. */
export function problemParts(data) {
  const inner = data?.error ?? data?.failure ?? data ?? {};
  return { code: inner.code ?? "", message: inner.message ?? inner.detail ?? inner.title ?? "It failed without a sentence.", hint: inner.hint ?? data?.hint ?? "" };
}

export function problemNote(data) {
  const { code, message, hint } = problemParts(data);
  const [first, ...more] = String(message).split("\n");
  return make("div", { class: "said-bad", role: "alert" }, makeState("failed", "refused"), " ", first, more.length ? make("pre", { class: "code" }, more.join("\n")) : null, hint ? make("span", { class: "lab" }, ` ${hint}`) : null, code ? make("span", { class: "m mut" }, ` ${code}`) : null);
}

export const shortId = (id) => (!id || id.length <= 14 ? id ?? "" : id.length === 40 || id.length === 64 ? id.slice(0, 7) : id.slice(-8));

/** Ages in the words of the server: 12 s, 4 m, 2 h 14 m, 3 d. */
export function ageWords(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} m`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${String(Math.floor(s / 60) % 60).padStart(2, "0")} m`;
  return `${Math.floor(s / 86400)} d`;
}

/** The same in a sentence: 12 s ago, 1 min ago, 2 h ago, 3 days ago. */
function agoWords(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ago`;
  return s < 172800 ? "1 day ago" : `${Math.floor(s / 86400)} days ago`;
}

const pad2 = (n) => String(n).padStart(2, "0");

/** Clocks in the reader's own zone; the server writes UTC. */
export function showTimes(from = document) {
  const now = Date.now();
  for (const time of findAll("time[data-ago]", from)) {
    const words = ("agoWords" in time.dataset ? agoWords : ageWords)(now - Number(time.dataset.ago));
    if (time.textContent !== words) time.textContent = words;
  }
  for (const time of findAll("time[data-clock], text[data-clock]", from)) {
    const at = new Date(time.getAttribute("datetime"));
    if (Number.isNaN(at.getTime())) continue;
    const clock = `${pad2(at.getHours())}:${pad2(at.getMinutes())}`;
    const today = at.toDateString() === new Date(now).toDateString();
    const day = today ? "" : `${at.toLocaleDateString(undefined, { day: "numeric", month: "short" })} `;
    const words = { m: `${day}${clock}`, s: `${clock}:${pad2(at.getSeconds())}`, ms: `${clock}:${pad2(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, "0")}` }[time.dataset.clock];
    if (words && time.textContent !== words) {
      time.textContent = words;
      time.title = at.toLocaleString();
    }
  }
}

/** Controls that change something when they act: off without the stream, and never by a letter of a word. */
export const CHANGING = ":is([data-op], form[data-op] [type=submit], [data-decide], [data-cancel-job])";
export const inTextField = (node) => !!node?.closest?.("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]");
export const visible = (node) => !!node && node.getClientRects().length > 0;

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    announce(`Copied ${text.slice(0, 60)}`);
    return true;
  } catch {
    announce("The browser refused to copy.");
    return false;
  }
}

export function readStore(area, key, otherwise) {
  try { return JSON.parse(area.getItem(key)) ?? otherwise; } catch { return otherwise; }
}

export function writeStore(area, key, value) {
  try { area.setItem(key, JSON.stringify(value)); } catch { /* private mode: kept for this page only */ }
}
