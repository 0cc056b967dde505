// How the server is: throughput, queues, memory, and messages that could not be used.
import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { ask, withQuery } from "./api.js";
import { Act, Ago, Asking, Failure, Loading, useAnswer } from "./parts.js";
import { Latency, spoolTile, took, useOperation } from "./operation.js";
import { choose } from "./router.js";
import { ago, bytes, number, percent, rate } from "./words.js";

const FRESH_MS = 2000;
const KEPT = 150; // numbers of the past minutes, as long as this view is open
const PAGE = 50;

export function Health({ route, server, may }) {
  const answer = useAnswer("health", () => ask("/health"), FRESH_MS);
  const operation = useOperation();
  const past = useRef([]);
  const health = answer.value ?? server.health;
  useEffect(() => {
    if (answer.value) past.current = [...past.current, answer.value.labels_per_s].slice(-KEPT);
  }, [answer.value]);
  if (!health) return html`<h1>Health</h1>${answer.error ? html`<${Failure} error=${answer.error} retry=${answer.again} />`
    : html`<${Loading} what="health" />`}`;
  const { status } = health;
  const counters = status.counters ?? {};
  const tiles = [
    ["State", health.ready ? "ready" : "not ready", health.waits_for ? `waits for ${health.waits_for}` : "messages become labels"],
    ["Broker", status.connected === false ? "not connected" : "connected", health.broker],
    ["Labels a second", rate(health.labels_per_s), html`<${Line} values=${past.current} />`],
    ["Devices", number(health.devices), `${number(health.unlabelled)} with a problem`],
    ["Waiting to be labelled", number(status.backlog ?? counters.queue ?? 0), `${number(counters.deferred ?? 0)} deferred windows`],
    ["Memory", bytes(counters.memory_bytes ?? 0), html`of ${bytes(counters.memory_limit_bytes ?? 0)}<${Bar}
      value=${counters.memory_bytes} most=${counters.memory_limit_bytes} label="memory" />`],
    ...(operation.value ? [spoolTile(operation.value.spool)] : []),
    ...(operation.value?.delay ? [["Latency", took(operation.value.delay.p50), `99 % within ${took(operation.value.delay.p99)}`]] : []),
    ["Model", health.model.slice(0, 8) || "none", status.provider || ""],
    ["Gaps", number(counters.gaps ?? 0), `${number(counters.missing ?? 0)} messages missing in them`],
    ["Clocks", number(clockFaults(counters)), "faults of devices' clocks that were seen"],
    ["Receiver", `${number(counters.receiver_restarts ?? 0)} restarts`, `${number(counters.takeovers ?? 0)} takeovers of a client id`],
    ["Viewers", number(health.viewers), `${number(health.dropped)} labels left out for slow ones`],
  ];
  return html`<div class="title"><h1>Health</h1><span class="quiet">version ${health.version}${status.since_us
      ? html`, started <${Ago} us=${status.since_us} />` : ""}</span></div>
    <${Failure} error=${answer.error} />
    <ul class="tiles">${tiles.map(([name, value, more]) => html`<li><span class="quiet">${name}</span><b>${value}</b>
      <span class="small quiet">${more}</span></li>`)}</ul>
    <${Latency} answer=${operation} />
    <${Stages} counters=${counters} />
    <${Letters} route=${route} may=${may} />
    <details><summary>All counters (${Object.keys(counters).length})</summary><dl class="facts">${Object.entries(counters).map(
      ([name, value]) => html`<div><dt>${name.replaceAll("_", " ")}</dt><dd>${number(value)}</dd></div>`)}</dl></details>`;
}

/** Times that a device's clock did what it should not. */
const clockFaults = (counters) => Object.entries(counters).filter(([name]) => name.startsWith("clock_"))
  .reduce((sum, [, count]) => sum + count, 0);

function Bar({ value = 0, most = 0, label }) {
  if (!most) return null;
  return html`<span class="bar" role="meter" aria-label=${label} aria-valuemin="0" aria-valuemax="100"
    aria-valuenow=${Math.round((100 * value) / most)}><i style=${{ width: percent(Math.min(1, value / most)).replace(" ", "") }}></i></span>`;
}

function Line({ values }) {
  if (values.length < 2) return "";
  const most = Math.max(...values, 1);
  const points = values.map((value, i) => `${(100 * i) / (values.length - 1)},${29 - (28 * value) / most}`).join(" ");
  return html`<svg class="line" viewBox="0 0 100 30" preserveAspectRatio="none" role="img"
    aria-label=${`last minutes: at most ${rate(most)}`}><polyline points=${points} /></svg>`;
}

/** Where the processor's time goes. */
function Stages({ counters }) {
  const stages = Object.entries(counters).filter(([name]) => name.startsWith("cpu_us_")).sort(([, a], [, b]) => b - a);
  const whole = stages.reduce((sum, [, value]) => sum + value, 0);
  if (!whole) return null;
  return html`<section><h2>Processor time</h2><table class="plain"><thead><tr><th scope="col">Stage</th><th scope="col">Seconds</th>
    <th scope="col">Share</th></tr></thead><tbody>${stages.map(([name, value]) => html`<tr><td>${name.slice(7)}</td>
      <td>${rate(value / 1e6)}</td><td>${percent(value / whole)}<${Bar} value=${value} most=${whole} label=${name.slice(7)} /></td></tr>`)}
    </tbody></table></section>`;
}

function Letters({ route, may }) {
  const { reason = "" } = route.query;
  const [cursor, setCursor] = useState("");
  const [chosen, setChosen] = useState(new Set());
  const [asking, setAsking] = useState(null);
  const [told, setTold] = useState("");
  const counts = useAnswer("dead letter counts", () => ask("/dead-letter-counts"), 5000);
  const page = useAnswer(`letters ${reason} ${cursor}`, () => ask(withQuery("/dead-letters", { reason, cursor, limit: PAGE })), 5000);
  const whole = (position) => ask(`/dead-letters/${position}`).then((letter) => setAsking({ kind: "whole", letter }));
  const toggle = (position) => {
    const next = new Set(chosen);
    if (!next.delete(position)) next.add(position);
    setChosen(next);
  };
  const replay = async () => {
    const did = await ask("/dead-letter-replays", { method: "POST", body: { positions: [...chosen] } });
    setTold(`${did.confirmed} of ${did.chosen} were sent again${did.windows ? `; ${did.windows} windows are kept to be looked at` : ""}${
      did.cut ? `; ${did.cut} are too long to be kept whole` : ""}${did.refused ? `; the broker refused ${did.refused}` : ""}.`);
    setChosen(new Set());
    await Promise.all([counts.again(), page.again()]);
  };
  const reasons = Object.entries(counts.value?.reasons ?? {});
  const items = page.value?.items ?? [];
  const all_ = items.length > 0 && items.every((one) => chosen.has(one.position));
  return html`<section aria-labelledby="letters"><h2 id="letters">Dead letters</h2>
    <${Failure} error=${counts.error ?? page.error} />
    ${counts.value && reasons.length === 0 ? html`<p class="quiet">None: every message could be used.</p>` : null}
    ${reasons.length ? html`<p class="row" role="group" aria-label="Reason"><button type="button" aria-pressed=${reason === ""}
      onClick=${() => (setCursor(""), choose({ reason: "" }))}>all</button>${reasons.map(([name, count]) => html`<button type="button"
      aria-pressed=${reason === name} onClick=${() => (setCursor(""), choose({ reason: name }))}>${name} <b>${number(count)}</b></button>`)}</p>
    <div class="wide"><table class="plain letters"><thead><tr><th scope="col"><input type="checkbox" aria-label="Choose all of this page"
        checked=${all_} onChange=${() => setChosen(new Set(all_ ? [] : items.map((one) => one.position)))} /></th>
      <th scope="col">When</th><th scope="col">Device</th><th scope="col">Reason</th><th scope="col">What</th><th scope="col">Size</th>
      <th scope="col"><span class="unseen">Do</span></th></tr></thead><tbody>${items.map((one) => html`<tr><td><input type="checkbox" checked=${chosen.has(one.position)}
        aria-label=${`Choose the one of ${one.device || one.topic}`} onChange=${() => toggle(one.position)} /></td>
      <td><${Ago} us=${one.received_us} /></td><td title=${one.topic}>${one.device || one.topic}</td><td>${one.reason}</td>
      <td>${one.message}</td><td>${bytes(one.size)}</td>
      <td><${Act} act=${() => whole(one.position)} may=${may("operator")}>Look<//></td></tr>`)}</tbody></table></div>
    <p class="row"><${Act} id="replay" act=${replay} may=${may("admin")} needs="admin" disabled=${!chosen.size}>Send ${
      chosen.size || ""} again<//>
      ${cursor ? html`<button type="button" onClick=${() => setCursor("")}>First page</button>` : null}
      ${page.value?.next ? html`<button type="button" onClick=${() => setCursor(page.value.next)}>More</button>` : null}
      <span role="status">${told}</span></p>` : null}
    ${counts.value?.dropped ? html`<p class="quiet">${number(counts.value.dropped)} older ones were dropped.</p>` : null}
    ${asking ? html`<${Asking} title="Dead letter" verb="Close" act=${async () => {}} done=${() => setAsking(null)}>
      <dl class="facts">${[["Topic", asking.letter.topic], ["Came", ago(asking.letter.received_us)], ["Reason", asking.letter.reason],
        ["What", asking.letter.message], ["Today", asking.letter.today || "it could be read"]].map(([name, value]) => html`<div>
        <dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
      <pre tabindex="0" aria-label="Its bytes">${asking.letter.payload.slice(0, 2000).replace(/(.{2})/g, "$1 ")}</pre><//>` : null}</section>`;
}
