// Starts everything and keeps clocks, focus of the feed and the connection's state drawn.
import { find, showTimes, hear } from "./core.js";
import { startWalking, refresh } from "./morph.js";
import { openChip, onListScroll } from "./places.js";
import { startLive, showConnection, showNeeds } from "./live.js";
import { startActions } from "./actions.js";
import { startApprovals } from "./approvals.js";
import { startReview } from "./review.js";
import { startBoard } from "./board.js";
import { startTerminal } from "./terminal.js";
import { startKeys } from "./keys.js";

function drawAll({ navigated }) {
  showTimes();
  showConnection();
  showNeeds();
  const feed = find("[data-follow]");
  if (feed && navigated) {
    feed.scrollTop = feed.scrollHeight;
    requestAnimationFrame(() => { feed.scrollTop = feed.scrollHeight; });
  }
}

if (document.getElementById("app")) {
  startWalking();
  startBoard();
  startActions();
  startTerminal();
  startKeys();
  startReview();
  startApprovals();
  startLive();
  hear("dcc:shown", drawAll);
  hear("dcc:card", () => { showTimes(); showConnection(); });
  drawAll({ navigated: true });
  document.addEventListener("click", (event) => { const chip = event.target.closest?.("[data-chip]"); if (chip) openChip(chip, refresh); });
  document.addEventListener("scroll", (event) => {
    if (event.target instanceof Element) onListScroll(event.target);
    if (event.target.id !== "feed") return;
    const feed = event.target;
    const note = find("#following");
    if (note) note.textContent = feed.scrollHeight - feed.scrollTop - feed.clientHeight < 40 ? ", following the end" : ", not following";
  }, true);
  setInterval(() => { if (!document.hidden) showTimes(); }, 1000);
} else {
  showTimes();
  document.addEventListener("click", (event) => {
    const copy = event.target.closest?.("[data-copy-text]");
    if (copy) navigator.clipboard?.writeText(copy.dataset.copyText);
  });
}
