// Where things stand while the page changes under a person: the row he is on keeps its place, what lands above his view
// waits behind a chip, and the focus never falls off the page.
import { find, findAll, make, visible } from "./core.js";

const FOCUSABLE = "a[href], button, input:not([type=hidden]), select, textarea, [tabindex]";
/** Rows kept back, by the list of the present page that they belong to. */
let heldBack = new Map();
/** Lists with a chip, and the chip. */
const chips = new Map();
let before = null;

const rowsOf = (box) => findAll("[data-row][id]", box);
const isAbove = (node, other) => !!(node.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING);
const listOf = (row) => row.closest("[data-lane], tbody, ol, ul") ?? row.parentElement;
const ownRow = () => document.activeElement?.closest?.("#main [data-row]") ?? find("#main .on-row[data-row]");

/** The box that scrolls a row, or none. */
function scrollerOf(row) {
  for (let box = row?.parentElement; box && box.id !== "app"; box = box.parentElement) {
    const flow = getComputedStyle(box).overflowY;
    if ((flow === "auto" || flow === "scroll") && box.scrollHeight > box.clientHeight) return box;
  }
  return null;
}

/** True when the box that would scroll the row has nothing to scroll: then a row put in above would push it down. */
function standsStill(row) {
  for (let box = row.parentElement; box && box.id !== "app"; box = box.parentElement) {
    const flow = getComputedStyle(box).overflowY;
    if (flow === "auto" || flow === "scroll") return box.scrollHeight <= box.clientHeight;
  }
  return true;
}

/** In each list that is scrolled, or that holds the person's row: the row that must not move. */
function anchors(own) {
  const rows = findAll("#main [data-row][id]").filter(visible);
  const boxes = new Map();
  for (const row of rows) {
    // Rows of one list share their box; asking once for each list keeps long pages quick.
    const list = row.parentElement;
    if (!boxes.has(list)) boxes.set(list, scrollerOf(row));
  }
  return [...new Set(boxes.values())].filter((box) => box && (box.scrollTop > 0 || box.contains(own))).map((box) => {
    const edge = box.getBoundingClientRect().top;
    const mine = rows.filter((row) => box.contains(row));
    const row = own?.id && box.contains(own) ? own : mine.find((one) => one.getBoundingClientRect().bottom > edge + 1);
    return row && { box, id: row.id, top: row.getBoundingClientRect().top, known: new Set(mine.map((one) => one.id)) };
  }).filter(Boolean);
}

/** To be called before a page is brought up to date. */
export function rememberPlaces() {
  const follow = find("[data-follow]");
  const focus = document.activeElement === document.body ? null : document.activeElement;
  const trail = [];
  for (let at = focus; at && at.id !== "app"; at = at.parentElement) if (at.id) trail.push(at.id);
  const own = ownRow();
  heldBack = new Map();
  before = { own, fits: !!own?.id && standsStill(own), anchors: anchors(own), follows: !!follow && follow.scrollHeight - follow.scrollTop - follow.clientHeight < 40, focus, trail };
}

/** True for a new row that would push the person's row down although nothing can be scrolled. */
export function mustWait(node, page) {
  if (!before?.fits || !(node instanceof Element) || !node.matches("[data-row][id]")) return false;
  const own = page.getElementById(before.own.id);
  const list = own && listOf(own);
  if (!list?.contains(node) || !isAbove(node, own)) return false;
  const here = listOf(before.own);
  heldBack.set(here, (heldBack.get(here) ?? 0) + 1);
  return true;
}

/** To be called when the page is up to date: rows and focus go back to where they stood. */
export function keepPlaces() {
  const follow = find("[data-follow]");
  if (before.follows && follow) follow.scrollTop = follow.scrollHeight;
  for (const { box, id, top, known } of before.anchors) {
    const row = document.getElementById(id);
    if (!row || !box.contains(row)) continue;
    box.scrollTop += row.getBoundingClientRect().top - top;
    const fresh = rowsOf(box).filter((one) => !known.has(one.id) && isAbove(one, row)).length;
    if (fresh > 0 && box.scrollTop > 0) showChip(box, fresh + Number(chips.get(box)?.dataset.count ?? 0));
  }
  for (const [box, chip] of chips) if (!chip.isConnected || (chip.dataset.held && !heldBack.has(box))) { chip.remove(); chips.delete(box); }
  for (const [list, count] of heldBack) showChip(list, count, true);
  keepFocus();
  before = null;
}

/** A control that is gone hands the focus to what stands in its place: the nearest surroundings that are still there. */
function keepFocus() {
  if (!before.focus || before.focus.isConnected || document.activeElement !== document.body) return;
  for (const place of before.trail.map((id) => document.getElementById(id)).filter((one) => one && visible(one))) {
    (place.matches(FOCUSABLE) && place.id !== "main" ? place : findAll(FOCUSABLE, place).find(visible) ?? place).focus({ preventScroll: true });
    if (document.activeElement !== document.body) return;
  }
}

/** One chip a list, before it, as a list holds nothing but its items. */
function showChip(box, count, held = false) {
  const chip = chips.get(box) ?? make("button", { class: "btn sm new", type: "button", "data-local": true, "data-chip": true });
  chip.dataset.count = String(count);
  if (held) chip.dataset.held = "1";
  chip.textContent = `${count} new`;
  chip.setAttribute("aria-label", `${count} new above. Show`);
  if (!chip.isConnected) {
    const host = box.matches("[data-lane]") ? find("ol", box) : box.closest("table") ?? box;
    if (host.matches("ol, ul, table")) host.before(chip); else host.prepend(chip);
  }
  chips.set(box, chip);
}

/** Shows what waited: at the top of the list, with the rows that were kept back. */
export function openChip(chip, refresh) {
  const box = [...chips].find(([, one]) => one === chip)?.[0];
  chip.remove();
  chips.delete(box);
  for (const row of findAll("#main .on-row[data-row]")) if (row.getAttribute("aria-current") !== "true") row.classList.remove("on-row");
  document.activeElement?.blur?.();
  if (!box) return;
  box.scrollTop = 0;
  if (chip.dataset.held) refresh(); else findAll("a, button", box).find(visible)?.focus({ preventScroll: true });
}

/** A list that a person scrolls to its top needs no chip. */
export function onListScroll(box) {
  const chip = box.scrollTop > 0 ? null : chips.get(box);
  if (!chip || chip.dataset.held) return;
  chip.remove();
  chips.delete(box);
}
