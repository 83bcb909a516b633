// Forms and buttons that ask for an operation: one job each, what became of it in the same place.
import { find, findAll, make, makeState, ask, problemNote, problemParts, announce, announceNow, emit, hear, shortId, copyText, ageWords, localId } from "./core.js";
import { navigate, refresh, fetchPage } from "./morph.js";
import { isOff, isOffline, offReason, offlineReason } from "./live.js";

const DONE = new Set(["completed", "completed_with_issues"]);
const ENDED = new Set(["failed", "cancelled", "poisoned", "stalled"]);
const MAKES_SESSION = new Set(["session.start", "session.retry"]);
const watched = new Map();
const keyOf = new WeakMap();
/** Modules that add parameters of their own to a form, such as the chosen paths of a commit. */
export const collectors = [];

/** The slot where an answer appears: in the form, or after the button. */
function slotOf(source) {
  const inside = (source.closest("form[data-op]") ?? source).querySelector?.(":scope .said");
  if (inside) return inside;
  if (source.closest(".end")) {
    const notes = find("#local-notes");
    return find(":scope > .said", notes) ?? notes.appendChild(make("div", { class: "said said-after", role: "status", "data-local": true }));
  }
  const row = source.closest("tr");
  if (row) {
    const next = row.nextElementSibling;
    if (next?.matches("tr.said-row")) return next.querySelector(".said");
    const line = make("tr", { class: "said-row", "data-local": true }, make("td", { colspan: "20" }, make("div", { class: "said", role: "status" })));
    row.after(line);
    return line.querySelector(".said");
  }
  const host = source.closest(".menu")?.parentElement ?? source.closest(".note, .head, li") ?? source.parentElement;
  const near = host.nextElementSibling;
  if (near?.matches(".said[data-for]")) return near;
  const slot = make("div", { class: "said said-after", role: "status", "data-local": true, "data-for": "1" });
  if (host.tagName === "LI") host.append(slot); else host.after(slot);
  return slot;
}

const typed = (field) => {
  const value = field.value;
  if (field.dataset.type === "lines") return value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (field.dataset.type === "int") return value === "" ? "" : Number.parseInt(value, 10);
  if (field.dataset.type === "minutes") return value === "" ? "" : Number.parseInt(value, 10) * 60000;
  if (field.dataset.type === "evidence") return value.split("\n").map((line) => line.trim()).filter(Boolean).map((line) => { const [kind, ...rest] = line.split(/\s+/); return { kind, ref: rest.join(" ") }; });
  return value;
};

const isEmpty = (value) => value === "" || (Array.isArray(value) && value.length === 0);
const untouched = (field) => (field instanceof HTMLSelectElement ? Array.from(field.options).every((option) => option.selected === option.defaultSelected) : field.value === field.defaultValue);

function put(target, name, value) {
  const parts = name.replace(/\[\]$/, "").split(".");
  let at = target;
  for (const part of parts.slice(0, -1)) at = at[part] ??= {};
  const last = parts.at(-1);
  if (name.endsWith("[]")) (at[last] ??= []).push(value); else at[last] = value;
}

function readFields(fields, params, bindings) {
  for (const field of fields) {
    if (!field.name || field.disabled || ((field.type === "radio" || field.type === "checkbox") && !field.checked)) continue;
    if (field.hasAttribute("data-changed-only") && untouched(field)) continue;
    const value = typed(field);
    if (isEmpty(value) && !field.hasAttribute("data-changed-only")) continue;
    if (field.name.startsWith("bind:")) bindings[field.name.slice(5)] = value; else put(params, field.name, value);
  }
}

/** Operation, parameters and bindings of a form or a button. */
function collect(source, submitter) {
  const parse = (text) => { try { return text ? JSON.parse(text) : {}; } catch { return {}; } };
  const bindings = parse(source.dataset.bind);
  const params = parse(source.dataset.params);
  if (source instanceof HTMLFormElement) {
    const groups = findAll("[data-repeat]", source);
    readFields(Array.from(source.elements).filter((field) => !field.closest("[data-repeat]")), params, bindings);
    for (const group of groups) {
      params[group.dataset.repeat] = findAll("[data-item]", group).map((item) => {
        const one = {};
        readFields(findAll("input, textarea, select", item), one, {});
        return one;
      }).filter((one) => Object.keys(one).length > 0);
    }
  }
  for (const add of collectors) add(source, params, bindings);
  return { op: submitter?.dataset.opOverride ?? source.dataset.op, params, bindings };
}

const idsOf = (job) => ({ ...job, ...(job.results ?? {}), ...(job.result ?? {}) });
const plain = (data) => (data?.job?.job_id ? { ...data.job, results: data.results ?? data.job.results } : data);

/** Asks for the operation of a form or a button and shows what comes of it. */
export async function request(source, submitter) {
  const wanted = collect(source, submitter);
  const slot = slotOf(source);
  if (isOff()) { slot.replaceChildren(problemNote({ code: "off", message: offReason() })); return; }
  if (source.dataset.busy) return;
  source.dataset.busy = "1";
  const key = keyOf.get(source) ?? crypto.randomUUID();
  keyOf.set(source, key);
  const began = Date.now();
  const line = make("p", { class: "lab" }, makeState("active", "requested"), " ", make("span", {}, "0.0 s ago"));
  slot.replaceChildren(line);
  const timer = setInterval(() => { line.lastChild.textContent = `${((Date.now() - began) / 1000).toFixed(1)} s ago`; }, 100);
  const answer = await ask("POST", "/api/v1/jobs", { ...wanted, idempotency_key: key });
  clearInterval(timer);
  delete source.dataset.busy;
  if (answer.status !== 0 && answer.status < 500) keyOf.delete(source);
  if (!answer.ok) { showProblem(slot, answer.data); return; }
  follow(plain(answer.data), { source, slot, op: wanted.op, then: source.dataset.then, began });
}

function showProblem(slot, data) {
  const note = problemNote(data);
  const id = data?.job_id ?? data?.error?.job_id;
  if (id) note.append(" ", make("a", { class: "link m", href: `/job/${id}` }, `job ${shortId(id)}`));
  // A session whose start failed was made: its page holds the whole of what its agent said.
  if (data?.session_id) note.append(" ", make("a", { class: "link m", href: `/session/${data.session_id}` }, `session ${shortId(data.session_id)}`));
  slot.replaceChildren(note);
  const { code, message } = problemParts(data);
  announceNow(`${message} ${code}`);
}

const jobLine = (job) => make("a", { class: "link m", href: `/job/${job.job_id}` }, `job ${shortId(job.job_id)}`);

function follow(job, way) {
  if (DONE.has(job.state)) return finish(job, way);
  if (ENDED.has(job.state)) { watched.delete(job.job_id); showProblem(way.slot, { ...(job.failure ?? { message: `The job is ${job.state}.` }), job_id: job.job_id, session_id: MAKES_SESSION.has(way.op) ? idsOf(job).session_id : undefined }); refresh(); return; }
  const first = !watched.has(job.job_id);
  watched.set(job.job_id, way);
  if (job.state === "awaiting_user" && job.approval_id) { if (way.shownApproval !== job.approval_id) { way.shownApproval = job.approval_id; showCard(job, way); } }
  else way.slot.replaceChildren(make("p", { class: "lab" }, makeState("active", job.state.replaceAll("_", " ")), " ", jobLine(job)));
  // The first event of this job may have passed before the answer came: look once.
  if (first && job.state !== "awaiting_user") look(job.job_id);
}

async function look(id) {
  const way = watched.get(id);
  if (!way) return;
  // What happens while one answer is on its way may not stand in it: then it is asked for once more.
  if (way.looking) { way.lookAgain = true; return; }
  way.looking = true;
  const answer = await ask("GET", `/api/v1/jobs/${id}`);
  const again = way.lookAgain;
  way.looking = way.lookAgain = false;
  if (answer.ok && watched.has(id)) follow(plain(answer.data), way);
  if (again && watched.has(id)) look(id);
}

function finish(job, way) {
  watched.delete(job.job_id);
  const ids = idsOf(job);
  const { source, slot } = way;
  const issues = job.state === "completed_with_issues";
  announce(`${way.op} done${issues ? " with issues" : ""}.`);
  emit("dcc:done", { op: way.op, job: ids, source });
  if (way.then && way.then !== "reload") {
    const url = way.then.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(ids[name] ?? ""));
    if (!url.endsWith("/")) { navigate(url); return; }
  }
  slot.replaceChildren(make("p", { class: "lab" }, makeState(issues ? "blocked" : "done", issues ? "done with issues" : "done"), " ", ids.commit_oid ? make("span", { class: "m" }, `commit ${shortId(ids.commit_oid)} `) : null, ids.summary ? `${ids.summary} ` : null, `${ageWords(Date.now() - way.began)} · `, jobLine(job)));
  if (source instanceof HTMLFormElement && source.isConnected && !source.hasAttribute("data-commit")) {
    source.reset();
    const panel = source.closest("[data-panel]");
    if (panel) { slot.replaceChildren(); setPanel(panel.id, false); }
    source.closest("dialog")?.close();
  }
  refresh();
}

/** The approval a job waits for, right where it was asked: decide here or open it. */
async function showCard(job, way) {
  const href = `/approval/${job.approval_id}`;
  way.slot.replaceChildren(make("p", {}, makeState("needs", "waits for you"), " ", make("a", { class: "link", href }, "open the card"), " ", jobLine(job)));
  try {
    const { page } = await fetchPage(href);
    const card = page.getElementById(`card-${job.approval_id}`);
    if (!card) return;
    document.getElementById(card.id)?.remove();
    card.classList.add("in-place");
    way.slot.append(document.adoptNode(card));
    emit("dcc:card", { card });
    card.scrollIntoView({ block: "nearest" });
    (card.querySelector(card.dataset.tier === "R3" ? "[data-decide=deny]" : "h2") ?? card).focus({ preventScroll: true });
  } catch { /* the link above stays */ }
}

export function setPanel(id, open) {
  const panel = document.getElementById(id);
  if (!panel) return;
  panel.hidden = !open;
  for (const button of findAll(`[data-toggle="${CSS.escape(id)}"]`)) button.setAttribute("aria-expanded", String(open));
  if (open) {
    panel.scrollIntoView({ block: "nearest" });
    panel.querySelector("input:not([type=hidden]), textarea, select, button.go")?.focus();
  } else {
    find(`[data-toggle="${CSS.escape(id)}"]:not(.item)`)?.focus();
  }
}

const sayWhy = (control) => sayBeside(control, control.dataset.why || control.title || "Not possible now.").setAttribute("data-off", "");

/** Why a control did nothing, beside it until the next click; of one that was off, until it is on again. */
export function sayBeside(control, why) {
  announceNow(why);
  find(".why-said")?.remove();
  const note = make("p", { class: "why-said", role: "alert", "data-local": true }, why);
  (control.closest(".seg") ?? control.closest(".menu") ?? control).after(note);
  return note;
}

function onClick(event) {
  const at = (selector) => event.target.closest?.(selector);
  if (!at(".why-said")) find(".why-said")?.remove();
  for (const menu of findAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  const off = at("[aria-disabled=true]");
  if (off) { event.preventDefault(); event.stopPropagation(); sayWhy(off); return; }
  const toggle = at("[data-toggle]");
  if (toggle) {
    event.preventDefault();
    const menu = toggle.closest("details.menu");
    if (menu) menu.open = false;
    setPanel(toggle.dataset.toggle, document.getElementById(toggle.dataset.toggle)?.hidden ?? true);
    return;
  }
  const close = at("[data-close]");
  if (close) { setPanel(close.dataset.close, false); return; }
  if (at("[data-dialog-close]")) { at("dialog").close(); return; }
  const fold = at("[data-fold]");
  if (fold) { const body = document.getElementById(fold.dataset.fold); body.toggleAttribute("data-folded"); fold.setAttribute("aria-expanded", String(!body.hasAttribute("data-folded"))); return; }
  const fill = at("[data-fill]");
  if (fill) { const field = document.getElementById(fill.dataset.fill); field.value = fill.textContent.trim(); field.focus(); return; }
  const copy = at("[data-copy-text]");
  if (copy) { copyText(copy.dataset.copyText).then((ok) => { if (ok) { const word = make("span", { class: "lab", "data-local": true }, " copied"); copy.after(word); setTimeout(() => word.remove(), 1500); } }); return; }
  const more = at("[data-repeat-add]");
  if (more) { addItem(more); return; }
  const cancel = at("[data-cancel-job]");
  if (cancel) { cancelJob(cancel); return; }
  const verify = at("[data-verify-record]");
  if (verify) { verifyRecord(verify); return; }
  const button = at("button[data-op]");
  if (button) { event.preventDefault(); request(button); }
}

function addItem(button) {
  const group = find(`[data-repeat="${CSS.escape(button.dataset.repeatAdd)}"]`, button.closest("form"));
  const first = find("[data-item]", group);
  const number = findAll("[data-item]", group).length + 1;
  const copy = first.cloneNode(true);
  for (const node of findAll("[id], label[for]", copy)) {
    if (node.id) node.id = `${node.id}-${number}`;
    if (node.htmlFor) node.htmlFor = `${node.htmlFor}-${number}`;
    if ("value" in node && node.tagName !== "LABEL") node.value = "";
  }
  copy.setAttribute("data-local", "");
  copy.id = localId();
  group.append(copy);
  copy.querySelector("input")?.focus();
}

async function cancelJob(button) {
  const slot = slotOf(button);
  slot.replaceChildren(make("p", { class: "lab" }, "stopping"));
  const answer = await ask("POST", `/api/v1/jobs/${button.dataset.cancelJob}/cancel`, {});
  if (answer.ok) { slot.replaceChildren(); refresh(); } else showProblem(slot, answer.data);
}

/** Walks the chain now; a read, so it leaves no job and no event, and the page is asked for anew. */
async function verifyRecord(button) {
  const slot = slotOf(button);
  if (isOffline()) { slot.replaceChildren(problemNote({ code: "offline", message: offlineReason() })); return; }
  slot.replaceChildren(make("p", { class: "lab" }, makeState("active", "walking the chain")));
  const began = Date.now();
  const answer = await ask("POST", "/api/v1/recorder/verify", {});
  if (!answer.ok) { showProblem(slot, answer.data); return; }
  const { ok, events, head, first_bad_seq, problem } = answer.data;
  if (ok) slot.replaceChildren(make("p", { class: "lab" }, makeState("done", `verified to seq ${head?.seq ?? events}`), ` ${events} events in ${((Date.now() - began) / 1000).toFixed(1)} s`));
  else slot.replaceChildren(problemNote({ code: "HSK-500-INTEGRITY", message: `The record does not hold from seq ${first_bad_seq}: ${problem ?? ""}` }));
  announce(ok ? `The record is verified to seq ${head?.seq ?? events}.` : "The record does not hold.");
  refresh();
}

export function startActions() {
  document.addEventListener("click", onClick, true);
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.hasAttribute("data-op")) return;
    event.preventDefault();
    if (event.submitter?.getAttribute("aria-disabled") === "true") { sayWhy(event.submitter); return; }
    request(form, event.submitter);
  }, true);
  document.addEventListener("change", (event) => { if (event.target.hasAttribute?.("data-submit-on-change")) event.target.form.requestSubmit(); });
  document.addEventListener("input", (event) => {
    if (event.target.name === "evidence.statement" && event.target.value) { const job = event.target.form.elements["evidence.job_id"]; if (job) job.value = ""; }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.form && event.target.tagName === "TEXTAREA") { event.preventDefault(); event.target.form.requestSubmit(); }
  });
  hear("dcc:shown", () => { const said = find(".why-said[data-off]"); if (said && said.previousElementSibling?.getAttribute("aria-disabled") !== "true" && !find("[aria-disabled=true]", said.previousElementSibling ?? document.createElement("i"))) said.remove(); });
  hear("dcc:panel", ({ id }) => setPanel(id, true));
  hear("dcc:event", (event) => { if (event.job_id && watched.has(event.job_id)) look(event.job_id); });
  hear("dcc:decided", ({ job }) => { if (job?.job_id && watched.has(job.job_id)) follow(job, watched.get(job.job_id)); });
  // A draft of a message is kept until it is delivered, also over a change of the screen.
  document.addEventListener("input", (event) => { if (event.target.id === "say-text") try { sessionStorage.setItem(`dcc-draft:${location.pathname}`, event.target.value); } catch { /* private mode */ } });
  hear("dcc:done", ({ op }) => { if (op === "session.send") try { sessionStorage.removeItem(`dcc-draft:${location.pathname}`); } catch { /* private mode */ } });
  hear("dcc:shown", ({ navigated }) => {
    const field = find("#say-text");
    if (!field || (!navigated && field.value)) return;
    try { const draft = sessionStorage.getItem(`dcc-draft:${location.pathname}`); if (draft && !field.value) field.value = draft; } catch { /* private mode */ }
  });
}

