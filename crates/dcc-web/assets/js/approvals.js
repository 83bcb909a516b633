// Deciding: a card is presented once per rendering; the decision echoes that rendering's nonce and
// digest. A click meant for the card before cannot decide the card after it.
import { find, findAll, make, makeState, ask, problemNote, problemParts, announceNow, announce, emit, hear, shortId } from "./core.js";
import { refresh } from "./morph.js";
import { isOff, offReason } from "./live.js";
import { setPanel } from "./actions.js";

export const GUARD_MS = 400;
/** A rendering is decided on within 120 s; one that was read for longer is rendered again, unchanged, before it is decided. */
const RENEW_MS = 100_000;
const shown = new Map();
const readyAt = new Map();

const cards = () => findAll("[data-approval][data-decidable]");
const saidOf = (card) => card.querySelector(".said") ?? card.appendChild(make("div", { class: "said", role: "status", "data-local": true }));

/** Records that this rendering was shown, once. */
async function present(card, again = false) {
  const id = card.dataset.approval;
  const digest = card.dataset.previewDigest;
  const before = shown.get(id);
  // The same card in another place: what is left of the guard holds there too, and can be seen.
  const left = (readyAt.get(id) ?? 0) - Date.now();
  if (before && before.rendered === digest && !again) { if (left > 0 && !card.hasAttribute("data-guard")) hold(card, left); return before.promise; }
  const moved = before && before.rendered !== digest;
  readyAt.set(id, Date.now() + GUARD_MS);
  hold(card);
  if (moved) {
    saidOf(card).replaceChildren(make("p", {}, makeState("needs", "changed"), " This card changed after you opened it. Read it again; the buttons come back at once."));
    card.querySelector("h2")?.focus({ preventScroll: true });
  }
  return askPresentation(id, digest);
}

function askPresentation(id, digest) {
  const entry = { rendered: digest, at: Date.now() };
  shown.set(id, entry);
  entry.promise = ask("POST", `/api/v1/approvals/${id}/presentation`, {}).then((answer) => {
    if (!answer.ok) { shown.delete(id); entry.failure = answer.data; return entry; }
    entry.nonce = answer.data.nonce;
    entry.preview_digest = answer.data.preview_digest;
    if (digest && answer.data.preview_digest && answer.data.preview_digest !== digest) { entry.rendered = answer.data.preview_digest; refresh(); }
    return entry;
  });
  return entry.promise;
}

/** Buttons off while the guard runs; then the typed text of R3 decides about Once. */
function hold(card, ms = GUARD_MS) {
  card.setAttribute("data-guard", "");
  setTimeout(() => { card.removeAttribute("data-guard"); settle(card); }, ms);
  settle(card);
}

function settle(card) {
  const field = card.querySelector("[data-confirm]");
  if (!field || isOff()) return;
  const good = field.value.trim() === field.dataset.confirm;
  for (const button of findAll("[data-decide=approve]", card)) {
    if (good) { button.removeAttribute("aria-disabled"); button.removeAttribute("data-why"); }
    else { button.setAttribute("aria-disabled", "true"); button.setAttribute("data-why", "Type the text above the buttons first."); }
  }
}

/** Cards that a person has just come to are guarded anew, whatever was shown of them elsewhere. */
export function presentAll({ navigated } = {}) {
  for (const card of cards()) {
    if (navigated && shown.has(card.dataset.approval)) { readyAt.set(card.dataset.approval, Date.now() + GUARD_MS); hold(card); }
    present(card);
    settle(card);
  }
}

async function decide(card, decision, scope, reason) {
  const word = card.querySelector("[data-confirm]")?.value.trim();
  const typedWord = word ? { typed: word } : {};
  const id = card.dataset.approval;
  const slot = saidOf(card);
  if (isOff()) { slot.replaceChildren(problemNote({ code: "off", message: offReason() })); return; }
  if ((readyAt.get(id) ?? 0) > Date.now()) { slot.replaceChildren(make("p", { class: "lab" }, "The card just changed: decide again.")); announce("The card just changed; decide again."); return; }
  if (card.dataset.busy) return;
  card.dataset.busy = "1";
  emit("dcc:deciding", { approval_id: id });
  slot.replaceChildren(make("p", { class: "lab" }, makeState("active", decision === "approve" ? `approving ${scope}` : "denying")));
  let entry = await present(card);
  // What loses work is read again as a whole; the server says so.
  if (entry.nonce && Date.now() - entry.at > RENEW_MS && card.dataset.tier !== "R3") {
    const digest = entry.preview_digest;
    entry = await askPresentation(id, digest);
    if (entry.nonce && entry.preview_digest !== digest) { delete card.dataset.busy; slot.replaceChildren(make("p", { class: "lab" }, "The card changed: read it again.")); return; }
  }
  if (!entry.nonce) { delete card.dataset.busy; slot.replaceChildren(problemNote(entry.failure ?? { message: "The card could not be presented." })); return; }
  const answer = await ask("POST", `/api/v1/approvals/${id}/decision`, { decision, scope, reason, nonce: entry.nonce, preview_digest: entry.preview_digest, ...typedWord });
  delete card.dataset.busy;
  if (!answer.ok) return refused(card, slot, answer.data);
  shown.delete(id);
  const { job, status } = answer.data;
  card.removeAttribute("data-decidable");
  slot.replaceChildren(outcomeLine(status ?? decision, scope, job));
  findAll(".scopes, .deny, .confirm, .scopes-no", card).forEach((part) => part.remove());
  announce(`${status ?? decision}. ${job?.state ?? ""}`);
  emit("dcc:decided", { approval_id: id, job, scope });
  refresh();
}

function outcomeLine(status, scope, job) {
  const line = make("p", {}, makeState(status === "denied" || status === "deny" ? "failed" : "done", status), " ", scope && status !== "denied" ? `${scope} ` : "");
  if (job?.job_id) {
    line.append(make("a", { class: "link m", href: `/job/${job.job_id}` }, `${job.op ?? "job"} ${shortId(job.job_id)}`), ` ${String(job.state ?? "").replaceAll("_", " ")} `);
    if (job.failure) line.append(make("span", { class: "st-failed" }, job.failure.message ?? ""), make("span", { class: "m mut" }, ` ${job.failure.code ?? ""}`));
    if (job.commit_oid) line.append(make("span", { class: "m" }, `commit ${shortId(job.commit_oid)}`));
  }
  return line;
}

/** A late or wrong echo is answered by showing the card anew; a lost race says who and what. */
function refused(card, slot, data) {
  const { code, message } = problemParts(data);
  slot.replaceChildren(problemNote(data));
  announceNow(`${message} ${code}`);
  shown.delete(card.dataset.approval);
  if (code.includes("SAME-TURN") || code.includes("EXPIRED")) { slot.append(make("p", { class: "lab" }, "The card is shown anew; decide again.")); present(card, true); }
  refresh();
}

function onDecide(event) {
  const button = event.target.closest?.("[data-decide]");
  if (!button || button.getAttribute("aria-disabled") === "true") return;
  const card = button.closest("[data-approval]");
  if (!card || button.dataset.decide === "deny-now") return;
  event.preventDefault();
  if (button.dataset.decide === "deny") {
    const panel = card.querySelector("form.deny");
    const open = panel.hidden;
    setPanel(panel.id, open);
    button.setAttribute("aria-expanded", String(open));
    return;
  }
  if (button.dataset.decide === "approve") decide(card, "approve", button.dataset.scope, "");
}

/** Why a key decided nothing, on the card. */
export function sayOnCard(card, words) {
  saidOf(card).replaceChildren(make("p", { class: "lab" }, words));
  announce(words);
}

/** What a deciding key finds where nothing can be decided; true when that was said. */
export function sayNothingToDecide(key) {
  const card = find("#main article[data-approval]:not([data-decidable])");
  if (!card || !["a", "d", "A"].includes(key)) return false;
  sayOnCard(card, "There is nothing to decide here any more.");
  return true;
}

export function startApprovals() {
  document.addEventListener("click", onDecide);
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form.deny")) return;
    event.preventDefault();
    decide(event.target.closest("[data-approval]"), "deny", "once", event.target.elements.reason.value.trim());
  }, true);
  document.addEventListener("input", (event) => { if (event.target.hasAttribute?.("data-confirm")) settle(event.target.closest("[data-approval]")); });
  hear("dcc:shown", presentAll);
  hear("dcc:card", presentAll);
  presentAll();
  const first = find("article.card[data-tier=R3] [data-decide=deny]");
  if (first && document.activeElement === document.body) first.focus();
}
