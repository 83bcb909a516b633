// The event stream: one for all tabs of this browser. The tab that holds the lock reads it and tells
// the others. An event leads to one refresh of the present page, and so does a file that changed in a
// worktree which the page shows; nothing is asked without one of them.
import { CHANGING, find, findAll, make, makeState, metaValue, announce, announceNow, emit, root } from "./core.js";
import { pauseMs, refresh } from "./morph.js";

const STREAM = "/api/v1/events/stream";
let seenSeq = Number(metaValue("dcc-seq")) || 0;
let offlineSince = 0;
let connected = false;
let stale = false;
let gather = 0;
let source = null;
let retryIn = 500;
let lastNeeds = null;
const channel = "BroadcastChannel" in window ? new BroadcastChannel("dcc-events") : null;

const FAVICON = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 20 20' fill='none' stroke='%237A838E' stroke-width='2'%3E%3Cpath d='M3 6.5V3h9.5v4M17 13.5V17H7.5v-4'/%3EDOT%3C/svg%3E";
const FAVICON_DOT = "%3Cpath d='M10 5l5 5-5 5-5-5z' fill='%23E0A020' stroke='none'/%3E";

/** Why nothing can be changed here at all; empty when it can. */
export const readOnlyReason = () => find("#read-only-note")?.dataset.off ?? "";
export const isOffline = () => offlineSince > 0;
/** True while nothing may be asked for that changes something. */
export const isOff = () => isOffline() || readOnlyReason() !== "";
export const offReason = () => (isOffline() ? offlineReason() : readOnlyReason());
export const offlineReason = () => `Stale since ${new Date(offlineSince).toTimeString().slice(0, 5)}: changing is off until the stream is back.`;

function scheduleRefresh() {
  if (document.hidden) { stale = true; return; }
  if (!gather) gather = setTimeout(() => { gather = 0; refresh(); }, pauseMs());
}

/** Pages that show what git says of a worktree; others name workspaces too and have nothing to read again. */
const SHOWS_FILES = /^\/(board|workspaces|ws|wp|session)(\/|$)/;
const showsWorkspace = (id) => SHOWS_FILES.test(location.pathname) && (location.pathname.startsWith(`/ws/${id}`) || find(`#main a[href^="/ws/${CSS.escape(id)}"]`) !== null);

/** What came over the stream, in this tab or through the leading one. */
function take(message) {
  if (message.kind === "state") { setConnected(message.up); return; }
  if (message.kind === "hello") {
    setConnected(true);
    if (metaValue("dcc-instance") && message.instance_id && message.instance_id !== metaValue("dcc-instance")) { location.reload(); return; }
    if (message.seq > seenSeq) { seenSeq = message.seq; scheduleRefresh(); }
    return;
  }
  if (message.kind === "gap") { scheduleRefresh(); return; }
  if (message.kind === "screen") { emit("dcc:screen", message); return; }
  if (message.kind === "touch") { if (message.workspace_id && showsWorkspace(message.workspace_id)) scheduleRefresh(); return; }
  if (message.seq <= seenSeq) return;
  seenSeq = message.seq;
  emit("dcc:event", message);
  scheduleRefresh();
}

function pass(message) {
  take(message);
  channel?.postMessage(message);
}

function openStream() {
  source = new EventSource(`${STREAM}?after=${seenSeq}`);
  const read = (kind) => (event) => {
    retryIn = 500;
    let data = {};
    try { data = JSON.parse(event.data || "{}"); } catch { /* a comment line */ }
    pass({ ...data, kind });
  };
  source.addEventListener("hello", read("hello"));
  source.addEventListener("event", read("event"));
  source.addEventListener("gap", read("gap"));
  source.addEventListener("touch", read("touch"));
  source.addEventListener("screen", read("screen"));
  source.addEventListener("open", () => pass({ kind: "state", up: true }));
  source.addEventListener("error", () => {
    pass({ kind: "state", up: false });
    if (source.readyState !== EventSource.CLOSED) return;
    source.close();
    setTimeout(openStream, retryIn);
    retryIn = Math.min(retryIn * 2, 15000);
  });
}

/** Reads the stream here when no other tab does; the lock passes on when this tab ends. */
function lead() {
  if (!("locks" in navigator) || !channel) { openStream(); return; }
  channel.addEventListener("message", (event) => {
    if (event.data.kind === "who") { if (source) channel.postMessage({ kind: "state", up: connected }); return; }
    take(event.data);
  });
  channel.postMessage({ kind: "who" });
  navigator.locks.request("dcc-events", () => new Promise(() => openStream()));
}

function setConnected(up) {
  if (up) {
    const was = offlineSince;
    connected = true;
    offlineSince = 0;
    if (was) { announceNow(""); announce("Live again."); scheduleRefresh(); }
  } else if (!offlineSince) {
    connected = false;
    offlineSince = Date.now();
    announceNow(offlineReason());
  }
  showConnection();
}

/** Draws the state of the stream; run again after each change of the page. */
export function showConnection() {
  const place = find("#live");
  const state = offlineSince ? makeState("stale", `stale since ${new Date(offlineSince).toTimeString().slice(0, 5)}`) : connected ? makeState("active", "live") : makeState("stale", "connecting");
  if (place && place.textContent !== state.textContent) place.replaceChildren(state);
  root.toggleAttribute("data-offline", offlineSince > 0);
  const banner = find("#stale-note");
  const notes = find("#local-notes");
  if (offlineSince && !banner && notes) {
    notes.prepend(make("div", { id: "stale-note", class: "note bad hatch", "data-local": true }, makeState("failed", "offline"), make("span", {}, make("b", {}, `${offlineReason().split(":").slice(0, 2).join(":")}.`), " What you see is the last good state. Changing is off until the stream is back."), make("button", { class: "btn sm push", type: "button", "data-try-now": true }, "Try now")));
  } else if (!offlineSince) banner?.remove();
  for (const button of findAll(`:is(#main, #peek) ${CHANGING}`)) {
    if (button.matches("form")) continue;
    if (isOff() && button.getAttribute("aria-disabled") !== "true") {
      button.setAttribute("aria-disabled", "true");
      button.setAttribute("data-offline-off", "");
      button.title = offReason();
    } else if (!isOff() && button.hasAttribute("data-offline-off")) {
      button.removeAttribute("aria-disabled");
      button.removeAttribute("data-offline-off");
      button.removeAttribute("title");
    }
  }
}

/** Favicon dot and one sentence when the number of things that need a person changes. */
export function showNeeds() {
  const strip = find("#attn");
  const count = Number(strip?.dataset.needs ?? 0);
  const icon = find("#favicon");
  const address = FAVICON.replace("DOT", count > 0 ? FAVICON_DOT : "");
  if (icon && icon.getAttribute("href") !== address) icon.setAttribute("href", address);
  if (lastNeeds !== null && count > lastNeeds) announce(`${strip.dataset.words} wait for you.`);
  lastNeeds = count;
}

export function startLive() {
  if (!metaValue("dcc-token")) return;
  lead();
  document.addEventListener("visibilitychange", () => { if (!document.hidden && stale) { stale = false; scheduleRefresh(); } });
  document.addEventListener("click", (event) => { if (event.target.closest?.("[data-try-now]")) { refresh(); if (source?.readyState === EventSource.CLOSED) openStream(); } });
}
