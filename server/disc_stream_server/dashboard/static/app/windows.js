// Small pictures of windows: of one beside those that the model learned from, and of a cluster.
import { html } from "../vendor/htm-preact.js";
import { ask } from "./api.js";
import { ClusterName, Failure, Loading, useAnswer } from "./parts.js";
import { percent } from "./words.js";

const FRESH_MS = 2000;
const [WIDTH, HEIGHT] = [150, 64];
const NO_EXAMPLES = {
  no: "This model keeps no examples: it was exported without, comes from an older version, or they were taken out.",
  unreadable: "The examples of this model are damaged. Export its run again to have them.",
};

/** Smallest and largest value of some windows, so that all are drawn alike. @param {number[][][]} traces */
function rangeOf(traces) {
  let [low, high] = [Infinity, -Infinity];
  for (const trace of traces) for (const row of trace) for (const value of row) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, Math.max(high, low + 1e-6)] : [0, 1];
}

function Trace({ trace, range, words }) {
  const [low, high] = range;
  const x = (i) => ((WIDTH * i) / Math.max(1, trace.length - 1)).toFixed(1);
  const y = (value) => (HEIGHT - 2 - ((HEIGHT - 4) * (value - low)) / (high - low)).toFixed(1);
  return html`<svg class="trace" viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label=${words}>
    ${(trace[0] ?? []).map((_, channel) => html`<polyline class=${`t${channel}`}
      points=${trace.map((row, i) => `${x(i)},${y(row[channel])}`).join(" ")} />`)}</svg>`;
}

function Keys({ told }) {
  return html`<p class="keys" aria-hidden="true">${told.names.map((name, i) => html`<span class=${`k${i}`}>${name}</span>`)}
    <i>${told.seconds.toPrecision(3)} s, ${[...new Set(told.units)].join(", ")}</i></p>`;
}

/** The last window of a device, the clusters near it, and the training windows that are most like it. */
export function Explanation({ device, soft }) {
  const path = `/devices/${encodeURIComponent(device)}/explanation`;
  const answer = useAnswer(path, () => ask(path), FRESH_MS);
  const told = answer.value;
  if (!told) return answer.error ? html`<${Failure} error=${answer.error} />` : html`<${Loading} what="windows" />`;
  const { window: now, similar, nearest } = told;
  if (now === null) return html`<p class="quiet">Its window, and those that it is like, are shown with its next label.</p>`;
  const range = rangeOf([now.trace, ...similar.map((one) => one.trace)]);
  return html`<div class="explanation"><ul class="windows">
      <li class="present"><span><b>Its last window</b></span><${Trace} trace=${now.trace} range=${range}
        words="Signal of its last window" /><${ClusterName} cluster=${now.cluster} told=${now.name} /></li>
      ${similar.map((one, i) => html`<li><span class="quiet">${i === 0 ? "Most like it" : "Like it"}</span>
        <${Trace} trace=${one.trace} range=${range} words=${`Training window of ${one.name}`} />
        <${ClusterName} cluster=${one.cluster} told=${one.name} /></li>`)}</ul>
    <${Keys} told=${told} />
    <p class="quiet small">${similar.length ? `Windows that the model learned from, by their distance in what the model sees
      (${similar.map((one) => one.distance.toPrecision(2)).join(", ")}).` : NO_EXAMPLES[told.kept] ?? "No window was kept."}</p>
    ${nearest.length ? html`<${Distances} nearest=${nearest} soft=${soft} />` : null}</div>`;
}

function Distances({ nearest, soft }) {
  const most = Math.max(...nearest.map((one) => Math.sqrt(one.distance)), 1e-9);
  const share = new Map(soft.map((one) => [one.cluster, one.confidence]));
  return html`<table class="plain"><caption class="unseen">The nearest clusters</caption><thead><tr>
    <th scope="col">Nearest clusters</th><th scope="col">Share</th><th scope="col">Distance</th><th scope="col">Of what is usual in it</th></tr></thead>
    <tbody>${nearest.map((one) => html`<tr><td><${ClusterName} cluster=${one.cluster} told=${one.name} /></td>
      <td>${share.has(one.cluster) ? percent(share.get(one.cluster)) : ""}</td>
      <td><span class="bar" aria-hidden="true"><i style=${{ width: `${(100 * Math.sqrt(one.distance)) / most}%` }}></i></span>
        ${Math.sqrt(one.distance).toPrecision(3)}</td>
      <td>${one.usual ? `${Math.sqrt(one.distance / one.usual).toPrecision(2)} times` : "–"}</td>
    </tr>`)}</tbody></table>`;
}

/** Windows of a cluster, at its centre and at its border. @param {{cluster: any, model: string, few?: number}} props */
export function ClusterWindows({ cluster, model, few = 0 }) {
  const path = `/clusters/${cluster.id}/examples`;
  const answer = useAnswer(`${path} ${model}`, () => ask(path)); // another model has other windows
  if (!answer.value) return answer.error ? html`<${Failure} error=${answer.error} retry=${answer.again} />`
    : html`<${Loading} what="windows" />`;
  const told = answer.value;
  if (!told.items.length) return html`<p class="quiet">${cluster.retired ? "It is not in the model of now."
    : NO_EXAMPLES[told.kept] ?? "None of its windows was kept."}</p>`;
  const range = rangeOf(told.items.map((one) => one.trace));
  const at = (place) => told.items.filter((one) => one.place === place);
  const row = (items, words) => items.length ? html`<div><h3 class="small">${words}</h3><ul class="windows several">${items.map((one, i) =>
    html`<li><${Trace} trace=${one.trace} range=${range} words=${`${words}, ${i + 1} of ${items.length}`} /></li>`)}</ul></div>` : null;
  const [centre, border] = [at("centre"), at("border")];
  return html`<div class="explanation">
    ${row(few ? centre.slice(0, few - Math.min(border.length, few >> 1)) : centre, "At its centre")}
    ${row(few ? border.slice(0, few >> 1) : border, "At its border to others")}
    <${Keys} told=${told} /></div>`;
}
