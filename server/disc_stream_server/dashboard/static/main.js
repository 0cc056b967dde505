import { Cards } from "./cards.js";
import { connect } from "./stream.js";

const $ = (id) => document.getElementById(id);
const cards = new Cards($("grid"), $("card"));
const MUCH_BACKLOG = 1000; // messages, as in board.py
const SILENT_S = 10; // of a server, from which on its last status is called old
const TYPING_MS = 250; // from the last key to a new search
let paused = false;
let connected = false;
let status = {}; // the server's last one; it is sent again only when it changes
let view = { matching: 0, shown: 0 };
let devices = 0;

function showServer(server) {
  status = server.status ?? status;
  devices = server.devices;
  const counters = status.counters || {};
  const ready = server.waits_for === null;
  $("fact-state").textContent = ready || status.state === "offline" ? status.state || "starting" : "not ready";
  $("fact-model").textContent = status.model || "–";
  $("fact-devices").textContent = String(server.devices);
  $("fact-unlabelled").textContent = String(server.unlabelled);
  $("fact-rate").textContent = server.labels_per_s.toFixed(1);
  $("fact-gaps").textContent = String(counters.gaps ?? "–");
  $("fact-gaps").title = `${counters.missing ?? 0} messages missing in them`;
  const rejected = Object.entries(status.rejected || {});
  $("fact-rejected").textContent = String(rejected.reduce((sum, [, count]) => sum + count, 0));
  $("fact-rejected").title = rejected.map(([reason, count]) => `${reason}: ${count}`).join(", ");
  const backlog = status.backlog || 0;
  $("fact-backlog").textContent = String(backlog);
  $("fact-backlog").title = `${counters.deferred ?? 0} deferred windows are labelled later`;
  showRetraining(status.retraining);
  const trouble = troubleOf(server, backlog, counters.deferred || 0);
  $("trouble").hidden = trouble === "";
  if ($("trouble").textContent !== trouble) $("trouble").textContent = trouble;
}

function showRetraining(now) {
  $("retraining").hidden = now === undefined;
  if (now === undefined) return;
  $("fact-retraining").textContent = now.total > 0 ? `${now.phase} ${now.done}/${now.total}` : now.phase;
  $("fact-retraining").title = now.words;
}

// What a watcher must know, worst first; "" if all is well.
function troubleOf(server, backlog, deferred) {
  if (status.connected === false) return "The server has lost its broker and is reconnecting: nothing new can come.";
  if (server.waits_for) {
    const since = server.status_age_s > SILENT_S ? ` Its last status is ${Math.round(server.status_age_s)} s old.` : "";
    return `The server waits for ${server.waits_for}. The broker keeps what devices send meanwhile.${since}`;
  }
  if (backlog > MUCH_BACKLOG) {
    return `The server is behind: ${backlog} messages wait to be labelled. None is lost; this page updates once a second.`;
  }
  if (deferred > 0) return `${deferred} older windows are still to be labelled; what you see is up to date.`;
  return "";
}

function showCounts() {
  $("empty").hidden = devices > 0 || !connected;
  $("none").hidden = devices === 0 || view.matching > 0;
  const hidden = view.matching - view.shown;
  const more = hidden > 0 ? `; ${hidden} more match, narrow them down by a filter` : "";
  const text = devices === 0 ? "" : `${view.shown} of ${devices} devices${more}`;
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

const ask = connect("", {
  onState(state) {
    view = state.view;
    cards.replaceAll(state.devices);
    showServer(state.server);
    showCounts();
  },
  onUpdate(update) {
    view = update.view;
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

// The server searches, for it knows all devices and the page only those it shows.
let typing = null;
function search() {
  clearTimeout(typing);
  const query = new URLSearchParams();
  const words = $("filter").value.trim();
  if (words !== "") query.set("filter", words);
  if ($("unlabelled").checked) query.set("unlabelled", "1");
  ask(query.size > 0 ? `?${query}` : "");
}
$("filter").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(search, TYPING_MS);
});
$("filter").addEventListener("search", search); // Enter, or the cross that empties it
$("unlabelled").addEventListener("change", search);
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
