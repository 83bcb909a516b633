// Moving a packet: by drag, by the key m or by its menu; all three open the same preview or ask for
// the same operation. A lane without a way refuses and the card goes back with the reason.
import { find, findAll, make, makeState, announce, announceNow, root, hear, localId } from "./core.js";
import { request } from "./actions.js";

const START_PX = 6;
let drag = null;

const ways = () => { try { return JSON.parse(find("[data-board]")?.dataset.moves ?? "[]"); } catch { return []; } };
const laneName = (status) => find(`#l-${status}`)?.textContent ?? status.replaceAll("_", " ");
const wayOf = (from, to) => ways().find((way) => way.from === from && way.to === to);

/** The preview of a move: lane, operation, reason. */
export function openMove(card, to) {
  const dialog = find("#move-dialog");
  if (!dialog || !card) return;
  const from = card.dataset.status;
  const choices = ways().filter((way) => way.from === from);
  dialog.dataset.wp = card.dataset.wp;
  find("#move-h").textContent = `Move ${card.dataset.wp} from ${laneName(from)}`;
  find("#move-ways").replaceChildren(...choices.map((way, at) => make("label", { class: "row way" }, make("input", { type: "radio", name: "way", value: way.to, checked: to ? way.to === to : at === 0 }), make("b", {}, laneName(way.to)), make("span", { class: "lab cut" }, way.says), make("span", { class: "m mut push" }, way.op))));
  if (!choices.length) find("#move-ways").replaceChildren(make("p", { class: "pad mut" }, "No way leads out of this lane."));
  find("#move-reason").value = "";
  find(".said", dialog).replaceChildren();
  dialog.showModal();
  showWay();
  (to && !find("#move-reason-row").hidden ? find("#move-reason") : find("#move-ways input:checked") ?? find("#move-go"))?.focus();
}

function chosenWay() {
  const dialog = find("#move-dialog");
  const card = find(`[data-wp="${CSS.escape(dialog.dataset.wp ?? "")}"]`);
  return card && wayOf(card.dataset.status, find("#move-ways input:checked")?.value);
}

function showWay() {
  const way = chosenWay();
  find("#move-reason-row").hidden = !way?.reason;
  find("#move-says").textContent = way ? `One job: ${way.op}. The card moves when Locus has moved it.` : "";
}

function submitMove(event) {
  event.preventDefault();
  const dialog = find("#move-dialog");
  const way = chosenWay();
  if (!way) return;
  const reason = find("#move-reason").value.trim();
  if (way.reason && !reason) { find(".said", dialog).replaceChildren(make("p", { class: "said-bad", role: "alert" }, "A reason is needed; it is kept on record.")); find("#move-reason").focus(); return; }
  askMove(find("form", dialog), dialog.dataset.wp, way, reason);
}

/** The dialog's form doubles as the source, so that the answer appears in it. */
function askMove(form, wp, way, reason) {
  form.dataset.op = way.op;
  form.dataset.bind = JSON.stringify({ wp_id: wp });
  form.dataset.params = JSON.stringify({ ...JSON.parse(way.params), ...(reason ? { reason } : {}) });
  form.dataset.then = "reload";
  request(form);
}

function lanesFor(card) {
  for (const lane of findAll("[data-lane]")) {
    const to = lane.dataset.lane;
    const way = to === card.dataset.status ? null : wayOf(card.dataset.status, to);
    lane.dataset.drop = to === card.dataset.status ? "here" : way ? "yes" : "no";
    const says = find(".lane-says", lane);
    if (says) says.textContent = lane.dataset.drop === "here" ? "" : way ? way.op : "no way";
  }
}

function endDrag() {
  if (!drag) return;
  drag.card.classList.remove("drag");
  drag.ghost?.remove();
  for (const lane of findAll("[data-lane]")) { delete lane.dataset.drop; lane.classList.remove("over"); const says = find(".lane-says", lane); if (says) says.textContent = ""; }
  delete root.dataset.dragging;
  drag = null;
}

function onMove(event) {
  if (!drag || event.pointerId !== drag.pointer) return;
  const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
  if (!drag.ghost) {
    if (Math.hypot(dx, dy) < START_PX) return;
    const box = drag.card.getBoundingClientRect();
    drag.ghost = drag.card.cloneNode(true);
    drag.ghost.id = localId();
    drag.ghost.className = "wp ghost";
    drag.ghost.setAttribute("data-local", "");
    drag.ghost.style.width = `${box.width}px`;
    drag.ghost.style.left = `${box.left}px`;
    drag.ghost.style.top = `${box.top}px`;
    document.body.append(drag.ghost);
    drag.card.classList.add("drag");
    root.dataset.dragging = "";
    lanesFor(drag.card);
  }
  drag.ghost.style.transform = `translate(${dx}px, ${dy}px)`;
  const over = document.elementsFromPoint(event.clientX, event.clientY).find((node) => node.matches?.("[data-lane]"));
  for (const lane of findAll("[data-lane].over")) if (lane !== over) lane.classList.remove("over");
  over?.classList.add("over");
  drag.over = over;
}

function onDrop(event) {
  if (!drag || event.pointerId !== drag.pointer) return;
  const { card, over, ghost } = drag;
  const to = over?.dataset.lane;
  const from = card.dataset.status;
  endDrag();
  if (!ghost) return;
  const swallow = (click) => { click.preventDefault(); click.stopPropagation(); };
  addEventListener("click", swallow, { capture: true, once: true });
  setTimeout(() => removeEventListener("click", swallow, true), 50);
  if (!to || to === from) return;
  const way = wayOf(from, to);
  if (!way) { refuse(card, `${card.dataset.wp} stays in ${laneName(from)}: no way leads from there to ${laneName(to)}.`); return; }
  openMove(card, to);
}

function refuse(card, words) {
  card.querySelector(".refused")?.remove();
  const note = make("p", { class: "refused", role: "alert", "data-local": true }, makeState("failed", "refused"), ` ${words} `, make("span", { class: "m" }, "HSK-409-ILLEGAL-TRANSITION"));
  card.append(note);
  announceNow(words);
  setTimeout(() => note.remove(), 9000);
}

export function moveCurrent() {
  const card = document.activeElement?.closest?.("[data-wp]") ?? find("[data-wp].on-row");
  if (card) openMove(card); else announce("Pick a card first with j and k.");
}

const FOLDS = "dcc-lanes";

function foldChoices() { try { return JSON.parse(localStorage.getItem(FOLDS)) ?? {}; } catch { return {}; } }

/** A lane stands as the person left it, else as the page says: folded while it is empty. */
function drawFolds() {
  const chosen = foldChoices();
  for (const lane of findAll("[data-lane]")) {
    const shut = chosen[lane.dataset.lane] ?? lane.dataset.folds === "true";
    lane.classList.toggle("fold", shut);
    find("[data-lane-fold]", lane)?.setAttribute("aria-expanded", String(!shut));
  }
}

function flipFold(lane) {
  const shut = !lane.classList.contains("fold");
  try { localStorage.setItem(FOLDS, JSON.stringify({ ...foldChoices(), [lane.dataset.lane]: shut })); } catch { /* private mode: lasts for this page */ }
  lane.classList.toggle("fold", shut);
  find("[data-lane-fold]", lane)?.setAttribute("aria-expanded", String(!shut));
}

export function startBoard() {
  drawFolds();
  hear("dcc:shown", drawFolds);
  document.addEventListener("pointerdown", (event) => {
    const card = event.target.closest?.(".board .wp[data-wp]");
    if (!card || event.button !== 0 || event.pointerType === "touch" || event.target.closest("button")) return;
    drag = { card, pointer: event.pointerId, x: event.clientX, y: event.clientY };
  });
  document.addEventListener("dragstart", (event) => { if (event.target.closest?.(".wp")) event.preventDefault(); });
  addEventListener("pointermove", onMove);
  addEventListener("pointerup", onDrop);
  addEventListener("pointercancel", endDrag);
  addEventListener("keydown", (event) => { if (event.key === "Escape") endDrag(); });
  document.addEventListener("click", (event) => { const button = event.target.closest?.("[data-move]"); if (button) { event.preventDefault(); openMove(button.closest("[data-wp]")); } });
  document.addEventListener("click", (event) => {
    const lane = event.target.closest?.("[data-lane-fold], .lane.fold > .ph")?.closest(".lane");
    if (lane) flipFold(lane);
  });
  document.addEventListener("change", (event) => { if (event.target.name === "way") showWay(); });
  document.addEventListener("submit", (event) => { if (event.target.closest("#move-dialog")) { event.stopImmediatePropagation(); submitMove(event); } }, true);
  hear("dcc:done", ({ source }) => { if (source?.closest?.("#move-dialog")) find("#move-dialog")?.close(); });
}
