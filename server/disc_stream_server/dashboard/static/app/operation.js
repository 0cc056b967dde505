// How long labels take, and how much room the spool has.
import { html } from "../vendor/htm-preact.js";
import { ask } from "./api.js";
import { Bars } from "./charts.js";
import { Failure, useAnswer } from "./parts.js";
import { bytes, number, percent, rate } from "./words.js";

const FRESH_MS = 5000;
const FEW_DAYS = 7; // left until a disk is full, from which on it is said loudly

export const useOperation = () => useAnswer("operation", () => ask("/operation"), FRESH_MS);

/** A time in the unit that suits it. @param {number|null} seconds */
export function took(seconds) {
  if (seconds === null) return "over an hour";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  return seconds < 120 ? `${rate(seconds)} s` : `${rate(seconds / 60)} min`;
}

/** What the spool takes of its disk, for a tile. @param {any} spool */
export function spoolTile(spool) {
  const few = spool.days_left !== null && spool.days_left < FEW_DAYS;
  const left = spool.free === null ? "its disk cannot be looked at" : html`${bytes(spool.free)} free of ${bytes(spool.disk)}`;
  const until = spool.days_left !== null ? html`full in ${few ? html`<b class="sign">${rate(spool.days_left)} days</b>` : `${number(Math.round(spool.days_left))} days`}`
    : spool.per_day === null ? "how fast it fills is known ten minutes after the start"
    : `what is older than ${rate(spool.kept_days)} days is removed before it is full`;
  return ["Spool", bytes(spool.bytes), html`${left}; ${until}`];
}

/** From the sample to the label, as a histogram, and by stage. */
export function Latency({ answer }) {
  const told = answer.value;
  if (!told) return html`<${Failure} error=${answer.error} />`;
  if (!told.delay) return html`<section><h2>Latency</h2><p class="quiet">No label has been made since the server was started.</p></section>`;
  return html`<section aria-labelledby="latency"><h2 id="latency">Latency</h2>
    <p>From the message that completes a window to its label: half within <b>${took(told.delay.p50)}</b>, 95 % within
      ${" "}<b>${took(told.delay.p95)}</b>, 99 % within <b>${took(told.delay.p99)}</b>.${told.deferred_delay
        ? ` ${number(told.deferred_delay.counts.reduce((a, b) => a + b, 0))} were deferred, half of them for ${took(told.deferred_delay.p50)}.` : ""}</p>
    <div class="columns"><div><${Bars} title="Labels" bars=${barsOf(told.delay)} words=${(share) => (share > 0 && share < 0.005 ? "< 1 %" : percent(share))} /></div>
      <div class="wide"><table class="plain"><caption>Stages, since the start</caption><thead><tr><th scope="col">Stage</th><th scope="col">Calls</th><th scope="col">Took</th>
        <th scope="col">Mean</th><th scope="col">99 % within</th></tr></thead><tbody>${told.stages.map((one) => html`<tr><td>${one.name}</td><td>${number(one.calls)}</td>
        <td>${took(one.seconds)}</td><td>${one.calls ? took3(one.seconds / one.calls) : "–"}</td><td>${one.p99 === null ? "–" : took3(one.p99)}</td></tr>`)}</tbody></table></div></div></section>`;
}

const took3 = (seconds) => (seconds < 0.1 ? `${(1000 * seconds).toPrecision(2)} ms` : took(seconds));

/** Buckets from the first that has any to the last. */
function barsOf({ bounds, counts }) {
  const all = counts.reduce((a, b) => a + b, 0);
  const used = counts.map((count, i) => [count, i]).filter(([count]) => count > 0).map(([, i]) => i);
  const bars = [];
  for (let i = used[0]; i <= used[used.length - 1]; i++) {
    const name = i === 0 ? `to ${took(bounds[0])}` : i === bounds.length ? `over ${took(bounds[i - 1])}` : `${took(bounds[i - 1])} to ${took(bounds[i])}`;
    bars.push({ name, count: counts[i] / all });
  }
  return bars;
}
