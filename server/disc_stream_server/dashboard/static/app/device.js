// One device: its signal and labels as they come, its day, and what can be said about it.
import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { ask } from "./api.js";
import { Day } from "./day.js";
import { listen, live } from "./live.js";
import { Ago, Act, ClusterName, Empty, Failure, Loading, Meter, useAnswer, useClock } from "./parts.js";
import { Reception } from "./reception.js";
import { Signal } from "./signal.js";
import { Explanation } from "./windows.js";
import { nowUs, number, percent, sentence } from "./words.js";

const ASK_MS = 5000;

export function Device({ route, server, may }) {
  const { id } = route;
  const path = `/devices/${encodeURIComponent(id)}`;
  const facts = useAnswer(path, () => ask(path), ASK_MS);
  const [label, setLabel] = useState(null);
  useClock();
  useEffect(() => {
    live.look([id], [id]);
    const deaf = listen("labels", ({ labels }) => {
      const mine = labels.filter((one) => one.device === id);
      if (mine.length) setLabel({ ...mine[mine.length - 1], came_us: nowUs() });
    });
    return () => {
      deaf();
      live.look([]);
    };
  }, [id]);
  if (facts.error?.status === 404) {
    return html`<${Empty} title=${`There is no device ${id}`}><p>It may have been erased, or never have sent anything.
      <a href="#/fleet">See all devices</a>.</p><//>`;
  }
  if (!facts.value) return facts.error ? html`<${Failure} error=${facts.error} /> ` : html`<${Loading} what=${id} />`;
  const device = facts.value;
  const now = label ?? device.current;
  const since = label && label.cluster !== device.current?.cluster ? label.begin_us ?? label.published_us
    : device.since_us ?? device.before?.since_us;
  return html`<p class="crumbs"><a href="#/fleet">Fleet</a> ›</p>
    <div class="title"><h1>${id}</h1>
      <span class="quiet">last seen <${Ago} us=${Math.max(label?.came_us ?? 0,
        device.seen_us ?? device.before?.last_us ?? 0)} /></span></div>
    <${Now} now=${now} before=${device.before} since=${since} />
    <${Failure} error=${facts.error} />
    ${device.problem ? html`<div class="failure"><p><b>${sentence(device.problem.words)}</b></p>
      <p>${sentence(device.problem.remedy)}</p><p class="quiet">${number(device.problem.count)} times, since
      ${" "}<${Ago} us=${device.problem.since_us} /></p></div>` : null}
    <div class="columns">
      <section aria-labelledby="live"><h2 id="live">Signal and labels now</h2><${Signal} device=${id} />
        <${Reception} device=${device} /></section>
      <section aria-labelledby="why"><h2 id="why">Why this label</h2><${Why} device=${id} label=${label} current=${device.current} />
        <${Tags} device=${id} may=${may("operator")} tags=${device.tags} again=${facts.again} /></section>
    </div>
    <${Day} device=${id} query=${route.query} may=${may("operator")} revision=${server.revision} />`;
}

function Now({ now, before, since }) {
  if (now) {
    return html`<p class="now"><${ClusterName} cluster=${now.cluster} told=${now.name} />
      <${Meter} value=${now.confidence} />${since ? html`<span class="quiet">since <${Ago} us=${since} /></span>` : ""}</p>`;
  }
  if (before && before.cluster !== null) {
    return html`<p class="now old"><span class="quiet">last known:</span>
      <${ClusterName} cluster=${before.cluster} told=${before.name} /></p>`;
  }
  return html`<p class="now quiet">no label yet</p>`;
}

/** Which clusters speak for it, before and after smoothing. */
function Why({ device, label, current }) {
  if (label === null) {
    return current === null ? html`<p class="quiet">Nothing has been labelled since the server was started.</p>`
      : html`<p class="quiet">The clusters nearest to it are shown with its next label.</p>`;
  }
  const { best, soft, novelty } = label;
  return html`<p>The last window alone looks like <${ClusterName} cluster=${best.cluster} told=${best.name} />
      ${" "}(${percent(best.confidence)}); smoothed over time it is
      ${" "}<${ClusterName} cluster=${label.cluster} told=${label.name} /> (${percent(label.confidence)}).
      <span class="quiet"> ${novelty === null ? "" : novelty > 1
        ? `Unusual: ${novelty.toPrecision(2)} times the squared distance within which 95 % of what was learned lies.`
        : "Usual: as near as 95 % of what was learned."} Model ${label.model.slice(0, 8)}.</span></p>
    <${Explanation} device=${device} soft=${soft} />`;
}

function Tags({ device, tags, may, again }) {
  const [text, setText] = useState(null);
  const field = useRef(null);
  const save = async () => {
    const wanted = [...new Set(text.split(/[\s,]+/).filter(Boolean))];
    await ask(`/devices/${encodeURIComponent(device)}/tags`, { method: "PUT", body: { tags: wanted } });
    setText(null);
    await again();
  };
  useEffect(() => {
    if (text !== null) field.current?.focus();
  }, [text === null]);
  if (text === null) {
    return html`<p class="row"><span>Tags: ${tags.length ? tags.map((one) => html`<span class="tag">${one}</span>`)
      : html`<span class="quiet">none</span>`}</span>
      <button type="button" id="edit-tags" disabled=${!may} onClick=${() => setText(tags.join(" "))}>Change tags</button></p>`;
  }
  return html`<p class="row"><label>Tags <input ref=${field} value=${text} id="tags"
      onInput=${(event) => setText(event.target.value)} /></label>
    <${Act} act=${save} may=${may} id="save-tags">Save<//>
    <button type="button" onClick=${() => setText(null)}>Cancel</button></p>`;
}

