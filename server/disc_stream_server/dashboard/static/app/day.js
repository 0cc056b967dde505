// What a device did: a strip of its episodes with pan and zoom, how long it did what, and what is wrong about it.
import { html, useEffect, useMemo, useRef, useState } from "../vendor/htm-preact.js";
import { ask, all, fileAddress, withQuery } from "./api.js";
import { ClusterName, Failure, Loading, Meter, useAnswer } from "./parts.js";
import { colour, fill, inkOn, nameOf, sign } from "./palette.js";
import { Rejecting, Rejections } from "./rejecting.js";
import { choose } from "./router.js";
import { clock, day, duration, full, hourMinute, nowUs } from "./words.js";

const DAY_US = 86_400e6;
const SHORTEST_US = 60e6;
const LONGEST_US = 31 * DAY_US;
const MOST = 2000; // episodes of one picture
const AROUND_US = 3 * DAY_US; // what is seen is read with as much before and behind it, up to this length
const FRESH_MS = 5000;

/** Begin and end of what is seen: as the address says, else the 24 hours until now. */
function rangeOf(query) {
  const from = Number(query.from);
  const until = Number(query.until);
  if (Number.isFinite(from) && Number.isFinite(until) && until - from >= SHORTEST_US / 2 && from > 0) {
    return { from, until, follows: false };
  }
  const now = Math.ceil(nowUs() / 10e6) * 10e6;
  return { from: now - DAY_US, until: now, follows: true };
}

export function Day({ device, query, may, revision }) {
  const { from, until, follows } = rangeOf(query);
  const [picked, setPicked] = useState(null);
  const [rejected, setRejected] = useState(0);
  const path = `/devices/${encodeURIComponent(device)}`;
  const key = `${path} ${follows ? "now" : `${from} ${until}`} ${revision} ${rejected}`;
  const answer = useAnswer(key, async () => {
    const seen = rangeOf(query);
    const span = { from: Math.round(seen.from), until: Math.round(seen.until) };
    const [episodes, share] = await Promise.all([readAround(path, span), ask(withQuery(`${path}/share`, span))]);
    return { episodes: episodes.reverse(), share, ...seen };
  }, until > nowUs() - FRESH_MS * 1000 ? FRESH_MS : 0);
  const show = (begin, end) => {
    const length = Math.min(LONGEST_US, Math.max(SHORTEST_US, end - begin));
    const middle = (begin + end) / 2;
    choose({ from: Math.round(middle - length / 2), until: Math.round(middle + length / 2) });
  };
  const length = until - from;
  const shift = (share) => show(from + share * length, until + share * length);
  const zoom = (factor, at = 0.5) => {
    const middle = from + at * length;
    show(middle - at * length * factor, middle + (1 - at) * length * factor);
  };
  const last = useRef(null);
  if (answer.value) last.current = answer.value;
  const got = answer.value ?? last.current;
  const seen = useMemo(() => (got?.episodes ?? []).filter((one) => one.begin_us < until && one.end_us > from),
    [got, from, until]);
  return html`<section aria-labelledby="day"><div class="title"><h2 id="day">What it did</h2>
      <span class="quiet">${day(from)} ${hourMinute(from)} – ${day(until)} ${hourMinute(until)}</span></div>
    <p class="row" role="group" aria-label="Time shown">
      <button type="button" onClick=${() => shift(-0.5)} aria-label="Earlier">◀ Earlier</button>
      <button type="button" onClick=${() => shift(0.5)} aria-label="Later" disabled=${follows}>Later ▶</button>
      <button type="button" onClick=${() => zoom(0.5)} aria-label="Zoom in">+</button>
      <button type="button" onClick=${() => zoom(2)} aria-label="Zoom out">−</button>
      <button type="button" onClick=${() => show(nowUs() - 3600e6, nowUs())}>Last hour</button>
      <button type="button" aria-pressed=${follows} onClick=${() => choose({ from: "", until: "" })}>Last 24 hours</button>
      <a class="button" download href=${fileAddress("/export/episodes", { device, from: Math.round(from),
        until: Math.round(until) })}>Episodes as CSV</a>
      <a class="button" download href=${fileAddress("/export/labels", { device, from: Math.round(from),
        until: Math.round(until) })}>Labels as CSV</a></p>
    <${Failure} error=${answer.error} retry=${answer.again} />
    ${!got ? (answer.error ? null : html`<${Loading} what="episodes" />`)
      : html`<${Strip} episodes=${got.episodes} seen=${seen} from=${from} until=${until} zoom=${zoom} shift=${shift}
          picked=${picked} pick=${setPicked} revision=${revision} />
        ${seen.length >= MOST ? html`<p class="quiet">Only the ${MOST} newest episodes of this time are
          shown; zoom in for the others.</p>` : null}
        ${seen.length === 0 ? html`<p>No episode in this time. ${follows ? "" : html`<button type="button"
          onClick=${() => choose({ from: "", until: "" })}>Show the last 24 hours</button>`}
          <${Newest} path=${path} show=${show} /></p>` : null}
        <div class="columns"><${Share} share=${got.share} />
          <${Episodes} episodes=${seen} picked=${picked} pick=${setPicked} /></div>`}
    ${picked ? html`<${Rejecting} episode=${picked} may=${may} done=${() => {
      setPicked(null);
      setRejected(rejected + 1);
    }} />` : null}
    <${Rejections} device=${device} may=${may} key=${rejected} />
  </section>`;
}

/** Episodes of a time, newest first, with those around it, so that it can be dragged: as many as one picture takes. */
async function readAround(path, { from, until }) {
  const read = (span) => all(withQuery(`${path}/episodes`, { ...span, newest_first: true }), { most: MOST });
  const length = until - from;
  if (length <= AROUND_US) {
    const found = await read({ from: Math.max(0, from - length), until: until + length });
    if (found.length < MOST) return found;
  }
  return read({ from, until });
}

/** A way to what was done last, however long ago. */
function Newest({ path, show }) {
  const last = useAnswer(`${path} newest`, async () =>
    (await ask(withQuery(`${path}/episodes`, { newest_first: true, limit: 1 }))).items[0] ?? null);
  if (!last.value) return null;
  const end = last.value.end_us;
  return html`<button type="button" onClick=${() => show(end - DAY_US, end + 60e6)}>Go to ${full(end)}</button>`;
}

function Share({ share }) {
  const all_ = share.reduce((sum, one) => sum + one.seconds, 0);
  if (!share.length) return null;
  return html`<table class="plain"><caption>Share of this time</caption><thead><tr><th scope="col">What</th>
    <th scope="col">How long</th><th scope="col">Share</th></tr></thead><tbody>${share.map((one) => html`<tr>
      <td><${ClusterName} cluster=${one.cluster} told=${one.name} /></td><td>${duration(one.seconds)}</td>
      <td><${Meter} value=${one.seconds / all_} label="share" /></td></tr>`)}</tbody></table>`;
}

function Episodes({ episodes, picked, pick }) {
  if (!episodes.length) return null;
  const newest = episodes.slice(-12).reverse();
  return html`<table class="plain"><caption>Newest episodes of it</caption><thead><tr><th scope="col">What</th>
    <th scope="col">From</th><th scope="col">How long</th><th scope="col"><span class="unseen">Correct</span></th></tr></thead>
    <tbody>${newest.map((one) => html`<tr class=${same(one, picked) ? "picked" : ""}>
      <td><${ClusterName} cluster=${one.cluster} told=${one.name} /></td>
      <td><time title=${full(one.begin_us)}>${clock(one.begin_us)}</time></td>
      <td>${duration((one.end_us - one.begin_us) / 1e6)}${one.goes_on ? " …" : ""}</td>
      <td><button type="button" aria-label=${`Wrong? ${nameOf(one.cluster, one.name)}, ${clock(one.begin_us)}`}
        disabled=${one.cluster < 0} onClick=${() => pick(one)}>Wrong?</button></td></tr>`)}</tbody></table>`;
}

const same = (one, other) => other !== null && one.begin_us === other.begin_us && one.cluster === other.cluster;

function Strip({ episodes, seen, from, until, zoom, shift, picked, pick, revision }) {
  const canvas = useRef(null);
  const drag = useRef({ at: null, by: 0, frame: 0 }); // where it began, and how far it is, as shares of what is seen
  const [hint, setHint] = useState("");
  const at = (event) => (event.clientX - canvas.current.getBoundingClientRect().left) / canvas.current.clientWidth;
  const under = (event) => {
    const time = from + at(event) * (until - from);
    return episodes.find((one) => one.begin_us <= time && time < one.end_us) ?? null;
  };
  const paint = useMemo(() => () => {
    const by = drag.current.by * (until - from);
    if (canvas.current) drawDay(canvas.current, episodes, from + by, until + by, picked);
  }, [episodes, from, until, picked, revision]);
  const move = (event) => { // the picture follows the pointer at once, the address when it is let go
    drag.current.by = drag.current.at - at(event);
    cancelAnimationFrame(drag.current.frame);
    drag.current.frame = requestAnimationFrame(paint);
  };
  useEffect(() => {
    if (drag.current.at === null) drag.current.by = 0;
    paint();
    const watcher = new ResizeObserver(paint);
    watcher.observe(canvas.current);
    addEventListener("themed", paint);
    return () => {
      watcher.disconnect();
      removeEventListener("themed", paint);
    };
  }, [paint]);
  useEffect(() => {
    const wheel = (event) => {
      if (!event.ctrlKey && !event.shiftKey) return; // the wheel alone scrolls the page
      event.preventDefault();
      if (event.shiftKey) shift(Math.sign(event.deltaY || event.deltaX) * 0.1);
      else zoom(event.deltaY > 0 ? 1.25 : 0.8, at(event));
    };
    const element = canvas.current;
    element.addEventListener("wheel", wheel, { passive: false });
    return () => element.removeEventListener("wheel", wheel);
  }, [from, until]);
  const keys = { ArrowLeft: () => shift(-0.1), ArrowRight: () => shift(0.1), "+": () => zoom(0.5), "-": () => zoom(2) };
  return html`<canvas ref=${canvas} class="day" tabindex="0" role="img"
      aria-label=${`Episodes from ${full(from)} to ${full(until)}: ${inWords(seen)}. Arrow keys move, + and − zoom.`}
      title=${hint}
      onKeyDown=${(event) => keys[event.key] && (event.preventDefault(), keys[event.key]())}
      onPointerDown=${(event) => {
        drag.current.at = at(event);
        drag.current.by = 0;
        canvas.current.setPointerCapture(event.pointerId);
      }}
      onPointerMove=${(event) => {
        if (drag.current.at !== null) return move(event);
        const one = under(event);
        setHint(one ? `${nameOf(one.cluster, one.name)}: ${full(one.begin_us)}, ${duration((one.end_us - one.begin_us) / 1e6)}` : "");
      }}
      onPointerUp=${(event) => {
        const moved = drag.current.at === null ? 0 : drag.current.at - at(event);
        cancelAnimationFrame(drag.current.frame);
        drag.current.at = null;
        if (Math.abs(moved) > 0.01) return shift(moved);
        drag.current.by = 0;
        paint();
        if (under(event)?.cluster >= 0) pick(under(event));
      }}
      onPointerCancel=${() => {
        cancelAnimationFrame(drag.current.frame);
        drag.current = { at: null, by: 0, frame: 0 };
        paint();
      }}></canvas>
    <p class="quiet small">Drag to move; hold Ctrl and turn the wheel to zoom; choose an episode to correct it.</p>`;
}

function inWords(episodes) {
  if (episodes.length === 0) return "none";
  const said = episodes.slice(-4).reverse().map((one) => `${nameOf(one.cluster, one.name)} from ${clock(one.begin_us)}`);
  return `${episodes.length}, newest first: ${said.join(", ")}`;
}

const STEPS_US = [10e6, 60e6, 300e6, 900e6, 3600e6, 3 * 3600e6, 6 * 3600e6, DAY_US, 7 * DAY_US];

function drawDay(canvas, episodes, from, until, picked) {
  const ratio = devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  const [wide_, tall_] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide_) canvas.width = wide_; // setting it, even to the same, makes a new picture
  if (canvas.height !== tall_) canvas.height = tall_;
  const g = canvas.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, width, height);
  const css = getComputedStyle(canvas);
  const x = (us) => ((us - from) / (until - from)) * width;
  const tall = height - 18;
  g.fillStyle = css.getPropertyValue("--track");
  g.fillRect(0, 0, width, tall);
  g.font = "600 12px system-ui, sans-serif";
  g.textBaseline = "middle";
  for (const one of episodes) {
    if (one.end_us <= from || one.begin_us >= until) continue;
    const left = Math.max(0, x(one.begin_us));
    const wide = Math.min(width, x(one.end_us)) - left;
    if (wide <= 0) continue;
    if (wide < 4) {
      g.fillStyle = colour(one.cluster);
      g.fillRect(left, 0, Math.max(1, wide), tall);
      continue;
    }
    fill(g, one.cluster, left, 0, wide - 0.5, tall);
    g.fillStyle = inkOn(one.cluster);
    const text = wide > 70 ? nameOf(one.cluster, one.name) : sign(one.cluster);
    if (wide > 14) g.fillText(text, left + 4, tall / 2, wide - 6);
    if (same(one, picked)) {
      g.strokeStyle = css.getPropertyValue("--ink");
      g.lineWidth = 3;
      g.strokeRect(left + 1.5, 1.5, wide - 3, tall - 3);
    }
  }
  g.font = "11px system-ui, sans-serif";
  g.fillStyle = css.getPropertyValue("--quiet");
  const step = STEPS_US.find((one) => x(from + one) >= 64) ?? 7 * DAY_US;
  const zone = new Date(from / 1000).getTimezoneOffset() * 60e6;
  for (let t = Math.ceil((from - zone) / step) * step + zone; t < until; t += step) {
    const text = step >= DAY_US ? day(t) : step < 60e6 ? clock(t) : hourMinute(t);
    g.fillRect(x(t), tall, 1, 4);
    if (x(t) < width - 50) g.fillText(text, x(t) + 3, height - 7);
  }
}
