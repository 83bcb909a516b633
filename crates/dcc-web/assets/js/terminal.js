// The terminal of a session: its screen is read again when the stream says that it changed, its keys go to the program.
// The keys of one stay are one attachment; one that ended by itself is begun anew with the next key.
import { find, ask, hear, problemParts } from "./core.js";
import { fetchPage } from "./morph.js";

const KEY_BYTES = { Enter: "\r", Backspace: "\x7f", Tab: "\t", Escape: "\x1b", Insert: "\x1b[2~", Delete: "\x1b[3~", PageUp: "\x1b[5~", PageDown: "\x1b[6~", F1: "\x1bOP", F2: "\x1bOQ", F3: "\x1bOR", F4: "\x1bOS", F5: "\x1b[15~", F6: "\x1b[17~", F7: "\x1b[18~", F8: "\x1b[19~", F9: "\x1b[20~", F10: "\x1b[21~", F11: "\x1b[23~", F12: "\x1b[24~" };
const CURSOR_KEYS = { ArrowUp: "A", ArrowDown: "B", ArrowRight: "C", ArrowLeft: "D", Home: "H", End: "F" };
const AT_ONCE_MAX = 16 * 1024;

let keysWaiting = "";
let keysSending = false;
let stay = null;
let screenReading = false;
let screenAgain = false;

const shownScreen = () => find("#terminal-screen");
const keyField = () => find("#terminal-keys");
const sayAtKeys = (words) => { const place = find("#terminal-said"); if (place) place.textContent = words; };
const encodeKeys = (text) => btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(""));

/** Reads the screen again; while one answer is on its way, all further wishes are one. */
async function readScreen() {
  if (screenReading) { screenAgain = true; return; }
  screenReading = true;
  try {
    const view = find("#terminal-view");
    const atEnd = !view || view.scrollHeight - view.scrollTop - view.clientHeight < 40;
    const { page } = await fetchPage(location.href, undefined, "screen");
    const after = page.getElementById("terminal-screen");
    if (after && shownScreen()) Idiomorph.morph(shownScreen(), after, { morphStyle: "outerHTML" });
    if (view && atEnd) view.scrollTop = view.scrollHeight;
    if (after?.hasAttribute("data-ended")) sayAtKeys("The command ended.");
  } catch { /* no answer is the stream's to notice */ } finally {
    screenReading = false;
    if (screenAgain) { screenAgain = false; readScreen(); }
  }
}

async function beginStay(session) {
  const answer = await ask("POST", "/api/v1/jobs", { op: "session.attach", params: {}, bindings: { session_id: session } });
  if (!answer.ok || answer.data.state !== "running") { const { message, hint } = problemParts(answer.data); sayAtKeys(`Not typed: ${message} ${hint}`); return null; }
  return { session, job: answer.data.job_id };
}

/** Sends what was typed, in order, one request at a time. */
async function sendKeys() {
  if (keysSending) return;
  keysSending = true;
  let isNew = false;
  while (keysWaiting) {
    const session = keyField()?.dataset.session;
    if (!session) { keysWaiting = ""; break; }
    if (stay?.session !== session) { stay = await beginStay(session); isNew = true; }
    if (!stay) { keysWaiting = ""; break; }
    const now = keysWaiting.slice(0, AT_ONCE_MAX);
    const answer = await ask("POST", `/api/v1/sessions/${session}/terminal`, { attachment: stay.job, b64: encodeKeys(now) });
    if (answer.ok) { keysWaiting = keysWaiting.slice(now.length); sayAtKeys(""); isNew = false; continue; }
    stay = null;
    if (answer.status === 409 && !isNew) continue;
    keysWaiting = "";
    const { message, hint } = problemParts(answer.data);
    sayAtKeys(`Not typed: ${message} ${hint}`);
  }
  keysSending = false;
}

function typeKeys(text) {
  keysWaiting += text;
  sendKeys();
}

/** The bytes of a key that writes no text; empty for the others. */
function bytesOf(event) {
  const cursor = CURSOR_KEYS[event.key];
  if (cursor) {
    const held = 1 + (event.shiftKey ? 1 : 0) + (event.altKey ? 2 : 0) + (event.ctrlKey ? 4 : 0);
    if (held > 1) return `\x1b[1;${held}${cursor}`;
    return (shownScreen()?.hasAttribute("data-application-cursor") ? "\x1bO" : "\x1b[") + cursor;
  }
  if (event.key === "Tab" && event.shiftKey) return "\x1b[Z";
  if (KEY_BYTES[event.key]) return (event.altKey ? "\x1b" : "") + KEY_BYTES[event.key];
  if (event.ctrlKey && !event.altKey && !event.shiftKey && /^[a-z@[\\^_ ]$/.test(event.key)) return String.fromCharCode(event.key.toUpperCase().charCodeAt(0) & 0x1f);
  if (event.altKey && !event.ctrlKey && event.key.length === 1) return `\x1b${event.key}`;
  return "";
}

function onTerminalKey(event) {
  if (event.target !== keyField() || event.isComposing || event.metaKey) return;
  if (event.ctrlKey && event.key === "]") { event.preventDefault(); find("#terminal-view")?.focus(); return; }
  const copies = event.ctrlKey && event.key === "c" && String(getSelection()) !== "";
  if (copies || (event.ctrlKey && (event.shiftKey || event.key === "v"))) return;
  const bytes = bytesOf(event);
  if (!bytes) return;
  event.preventDefault();
  event.stopPropagation();
  typeKeys(bytes);
}

function onTerminalInput(event) {
  if (event.target !== keyField() || event.isComposing) return;
  const text = event.target.value;
  event.target.value = "";
  if (text) typeKeys(text.replace(/\r?\n/g, "\r"));
}

function onTerminalPaste(event) {
  if (event.target !== keyField()) return;
  event.preventDefault();
  // A mark of its own inside would end the paste early and make the rest keys.
  const text = event.clipboardData.getData("text/plain").replace(/\r?\n/g, "\r").replace(/\x1b\[20[01]~/g, "");
  typeKeys(shownScreen()?.hasAttribute("data-bracketed-paste") ? `\x1b[200~${text}\x1b[201~` : text);
}

function endStay() {
  if (!stay) return;
  const { session, job } = stay;
  stay = null;
  ask("POST", `/api/v1/sessions/${session}/terminal`, { attachment: job, leave: true });
}

export function startTerminal() {
  document.addEventListener("keydown", onTerminalKey, true);
  document.addEventListener("input", onTerminalInput);
  document.addEventListener("compositionend", onTerminalInput);
  document.addEventListener("paste", onTerminalPaste);
  document.addEventListener("click", (event) => {
    // The screen is where a person points; a click that chose no text is a wish to type there.
    const isScreen = event.target.closest?.("#terminal-view") && !event.target.closest("summary, a, button");
    if (isScreen && String(getSelection()) === "") keyField()?.focus({ preventScroll: true });
    const button = event.target.closest?.("[data-terminal-key]");
    if (!button) return;
    const name = button.dataset.terminalKey;
    typeKeys(bytesOf(name.startsWith("ctrl-") ? { key: name.slice(5), ctrlKey: true } : { key: name }));
  });
  hear("dcc:screen", ({ session_id: id }) => { if (shownScreen()?.dataset.session === id) readScreen(); });
  hear("dcc:shown", ({ navigated }) => {
    if (!navigated) return;
    const view = find("#terminal-view");
    if (view) view.scrollTop = view.scrollHeight;
    if (stay && keyField()?.dataset.session !== stay.session) endStay();
  });
}
