// Peek: what stands behind a row, beside the list and without leaving it. It follows the row, stays up to date with every
// event, and comes back after a reload or a step back.
import { find, make, emit, hear, announce, inTextField } from "./core.js";
import { fetchPage } from "./morph.js";

const PAGES = /^\/(wp|ws|session|job|approval|event)\//;
let peeked = "";
let peekAsks = 0;

/** The page behind a row, when it is one that can be looked into. */
export function pageOf(row) {
  const link = row && (find("h3 a[href], th a[href]", row) ?? find("a[href]", row));
  const href = link?.getAttribute("href") ?? "";
  return PAGES.test(href) ? href : "";
}

export const isPeeking = () => peeked !== "";

/** Opens, moves to another row, or closes when it shows this row already. */
export function togglePeek(row) {
  const href = pageOf(row);
  if (!href || href === peeked) closePeek(); else openPeek(href);
}

/** The list moved on: the peek goes along. */
export function followRow(row) {
  const href = pageOf(row);
  if (isPeeking() && href && href !== peeked) openPeek(href);
}

const keepPeek = (peek) => history.replaceState({ ...history.state, peek }, "");

export async function openPeek(href) {
  peeked = href;
  keepPeek(href);
  const aside = find("#peek") ?? make("aside", { id: "peek", class: "peek", "aria-label": "Peek" });
  if (!aside.isConnected) find("#app").append(aside);
  await fillPeek(aside, false);
}

async function fillPeek(aside, again) {
  const mine = ++peekAsks;
  const href = peeked;
  let body = null;
  try {
    const { page } = await fetchPage(href, undefined, "peek");
    body = page.getElementById("peek-body");
  } catch { /* said below */ }
  if (mine !== peekAsks || !aside.isConnected || !peeked) return;
  const before = find("#peek-body", aside);
  if (!body) { if (!again) aside.replaceChildren(make("p", { class: "pad lab" }, "It could not be read. ", make("a", { class: "link", href }, "Open it"))); return; }
  if (again && before) Idiomorph.morph(before, document.adoptNode(body), { morphStyle: "outerHTML", ignoreActiveValue: inTextField(document.activeElement), callbacks: { beforeNodeMorphed: (node) => !(node instanceof Element && node.hasAttribute("data-local")), beforeAttributeUpdated: (name, node) => !(name === "open" && node instanceof HTMLDetailsElement) && name !== "data-guard" && name !== "hidden" } });
  else { aside.replaceChildren(document.adoptNode(body)); aside.scrollTop = 0; announce(`Peek: ${find("h2", aside)?.textContent ?? ""}`); }
  emit("dcc:card", { card: aside });
}

export function closePeek() {
  if (!peeked) return;
  peeked = "";
  peekAsks += 1;
  const aside = find("#peek");
  const inside = aside?.contains(document.activeElement);
  aside?.remove();
  keepPeek(undefined);
  if (inside) (find("#main .on-row[data-row] a") ?? find("#main"))?.focus({ preventScroll: true });
}

export function startPeek() {
  document.addEventListener("click", (event) => { if (event.target.closest?.("[data-peek-close]")) closePeek(); });
  hear("dcc:shown", ({ navigated }) => {
    const aside = find("#peek");
    if (!navigated) { if (aside) fillPeek(aside, true); return; }
    const wanted = history.state?.peek;
    peeked = "";
    peekAsks += 1;
    aside?.remove();
    if (wanted) openPeek(wanted);
  });
  if (history.state?.peek) openPeek(history.state.peek);
}
