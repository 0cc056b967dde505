import { Cards } from "./cards.js";
import { connect } from "./stream.js";

const $ = (id) => document.getElementById(id);
const cards = new Cards($("grid"), $("card"));
const MUCH_BACKLOG = 1000; // messages, as in app.py
let paused = false;
let connected = false;

function showServer(server) {
  const status = server.status;
  const counters = status.counters || {};
  $("fact-state").textContent = status.state || "starting";
  $("fact-model").textContent = status.model || "–";
  $("fact-devices").textContent = String(server.devices);
  $("fact-rate").textContent = server.labels_per_s.toFixed(1);
  $("fact-gaps").textContent = String(counters.gaps ?? "–");
  $("fact-gaps").title = `${counters.missing ?? 0} messages missing in them`;
  const rejected = Object.entries(status.rejected || {});
  $("fact-rejected").textContent = String(rejected.reduce((sum, [, count]) => sum + count, 0));
  $("fact-rejected").title = rejected.map(([reason, count]) => `${reason}: ${count}`).join(", ");
  const backlog = status.backlog || 0;
  $("fact-backlog").textContent = String(backlog);
  $("fact-backlog").title = `${counters.deferred ?? 0} windows were put off and are labelled later`;
  const trouble = troubleOf(status, backlog, counters.deferred || 0);
  $("trouble").hidden = trouble === "";
  if ($("trouble").textContent !== trouble) $("trouble").textContent = trouble;
}

// What a watcher must know, worst first; "" if all is well.
function troubleOf(status, backlog, deferred) {
  if (status.connected === false) return "The server has lost its broker and is reconnecting: nothing new can come.";
  if (status.waits_for) return `The server waits for ${status.waits_for}. The broker keeps what devices send meanwhile.`;
  if (backlog > MUCH_BACKLOG) {
    return `The server is behind: ${backlog} messages wait to be labelled. None is lost; this page updates once a second.`;
  }
  if (deferred > 0) return `${deferred} older windows are still to be labelled; what you see is up to date.`;
  return "";
}

function showCounts() {
  $("empty").hidden = cards.size > 0 || !connected;
  const shown = cards.shown;
  $("none").hidden = cards.size === 0 || shown > 0;
  const text = cards.size === 0 ? "" : `${shown} of ${cards.size} devices`;
  if ($("shown").textContent !== text) $("shown").textContent = text;
}

async function showPageFacts() {
  const answer = await fetch("api/page").catch(() => null); // null: gone again, the banner will say so
  if (answer === null || !answer.ok) return;
  const page = await answer.json();
  $("notice").textContent = page.notice;
  $("notice").hidden = page.notice === "";
  $("empty-topic").textContent = `${page.prefix || "ds/v1"}/<device>/raw`;
  $("empty-broker").textContent = page.broker ? ` at ${page.broker}` : "";
  const broker = page.broker ? ` --broker ${page.broker}` : "";
  const prefix = page.prefix && page.prefix !== "ds/v1" ? ` --prefix ${page.prefix}` : "";
  $("empty-command").textContent = `disc-stream edge publish --synthetic --devices 3${broker}${prefix}`;
}

connect({
  onState(state) {
    cards.replaceAll(state.devices);
    showServer(state.server);
    showCounts();
  },
  onUpdate(update) {
    cards.update(update.changed, update.gone);
    showServer(update.server);
    showCounts();
  },
  onUp() {
    connected = true;
    $("lost").hidden = true;
    showPageFacts();
  },
  onDown() {
    connected = false;
    $("lost").textContent = "No connection to the server. These are the last known values; trying again.";
    $("lost").hidden = false;
    $("trouble").hidden = true; // not known any more
    $("fact-state").textContent = "unreachable";
  },
});

$("filter").addEventListener("input", (event) => {
  cards.setFilter(event.target.value);
  showCounts();
});
$("pause").addEventListener("click", (event) => {
  paused = !paused;
  event.target.setAttribute("aria-pressed", String(paused));
  event.target.textContent = paused ? "Resume" : "Pause";
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => cards.markAll());

function frame() {
  if (!paused) cards.draw();
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);
