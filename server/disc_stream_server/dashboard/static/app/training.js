// How the training of a version went, and how unusual the fleet's motion has been for the model since.
import { html } from "../vendor/htm-preact.js";
import { ask } from "./api.js";
import { Chart } from "./charts.js";
import { Failure, useAnswer } from "./parts.js";
import { hourMinute, full, percent } from "./words.js";

const FRESH_MS = 30_000;
const PHASES = { pretrain: "Pretraining", refine: "Refinement", candidates: "Candidates" };
const OF_LABELS = { nmi: "NMI", acc: "ACC", label_change: "labels that changed" }; // shares, on an axis of their own
const MOST = 4; // lines of a chart
const USUAL = 0.05; // of the windows are further than 95 % of those of the training

/** Charts of what was kept of a training. @param {{version: string}} props */
export function Training({ version }) {
  const path = `/models/${version}/training`;
  const answer = useAnswer(path, () => ask(path));
  if (answer.error) return html`<${Failure} error=${answer.error} />`;
  if (!answer.value) return null;
  const { epochs } = answer.value;
  if (!epochs.length) return html`<p class="quiet">How its training went is not kept with it.</p>`;
  const phases = [...new Set(epochs.map((one) => one.phase))];
  return html`<h3>Training</h3><div class="charts">${phases.map((phase) => html`<${Phase} phase=${phase}
    epochs=${epochs.filter((one) => one.phase === phase)} />`)}</div>`;
}

function Phase({ phase, epochs }) {
  const names = [...new Set(epochs.flatMap((one) => Object.keys(one.values)))];
  const line = (name, words = name) => ({ name: words, points: epochs.filter((one) => name in one.values)
    .map((one) => [one.epoch, one.values[name]]) });
  const losses = names.filter((name) => !(name in OF_LABELS)).sort((a, b) => Number(b === "total") - Number(a === "total"));
  const shares = names.filter((name) => name in OF_LABELS);
  const title = PHASES[phase] ?? (phase || "Training");
  if (phase === "candidates") return html`<${Tried} epochs=${epochs} />`;
  const epoch = (n) => `epoch ${n}`;
  return html`${losses.length ? html`<${Chart} title=${`${title}: loss`} x=${epoch} y=${short}
      lines=${losses.slice(0, MOST).map((name) => line(name, name.replaceAll("_", " ")))} />` : null}
    ${shares.length ? html`<${Chart} title=${`${title}: labels`} x=${epoch} y=${percent} zero=${true}
      lines=${shares.slice(0, MOST).map((name) => line(name, OF_LABELS[name]))} />` : null}`;
}

/** Models that were tried, of which the best was taken: how good each was, and the best until then. */
function Tried({ epochs }) {
  const scored = epochs.filter((one) => "score" in one.values).map((one) => [one.epoch, one.values.score]);
  let most = -Infinity;
  const best = scored.map(([at, score]) => [at, (most = Math.max(most, score))]);
  return html`<${Chart} title="Models that were tried: score" x=${(n) => `model ${n}`} y=${short}
    lines=${[{ name: "best until then", points: best }, { name: "each", points: scored }]} />`;
}

const share = (value) => (value > 0 && value < 0.1 ? `${(100 * value).toFixed(1)} %` : percent(value));
const short = (value) => (value === 0 ? "0" : Math.abs(value) >= 1e4 || Math.abs(value) < 1e-3 ? value.toExponential(1) : value.toPrecision(3));

/** How many windows were unlike those of the training, over time. */
export function Drift() {
  const answer = useAnswer("drift", () => ask("/drift"), FRESH_MS);
  if (!answer.value) return html`<${Failure} error=${answer.error} />`;
  const points = answer.value.points.filter((one) => one.windows > 0);
  const span = answer.value.span_s / 60;
  const marks = points.slice(1).filter((one, i) => one.model !== points[i].model)
    .map((one) => ({ at: one.from_us, words: `model ${one.model.slice(0, 8)} from here on` }));
  const line = (name, field) => ({ name, points: points.map((one) => [one.from_us, one[field] / one.windows]) });
  return html`<section aria-labelledby="drift"><h2 id="drift">Drift <span class="quiet small">since the server was started, every ${span} min</span></h2>
    ${points.length ? html`<${Chart} title="Windows unlike those of the training" lines=${[line("unusual", "unusual"), line("unknown", "unknown")]}
        x=${points.length > 100 ? full : hourMinute} y=${share} zero=${true} marks=${marks} level=${{ at: USUAL, words: "usual" }} />
      <p class="quiet small">Unusual: further from its cluster than 95 % of the training windows, so 5 % would be usual. Unknown: of no cluster.
        ${marks.length ? " A line stands where another model took over." : ""}</p>`
      : html`<p class="quiet">No window has been labelled yet.</p>`}</section>`;
}
