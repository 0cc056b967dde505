// The last seconds of a device's signal with its labels below, on one axis of time: that of the device's clock.
import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { listen } from "./live.js";
import { colour, fill, inkOn, nameOf, sign } from "./palette.js";

const SECONDS = 10;
const FRAME_MS = 66; // 15 pictures a second
const HEIGHT = 220;

/** What has come of a trace, kept a little longer than it is shown. */
class Points {
  constructor() {
    this.names = [];
    this.clear();
  }

  clear() {
    this.t = [];
    this.values = [];
    this.end = null; // device time of the newest, in seconds
  }

  take(trace) {
    if (trace.restarted || trace.names.join() !== this.names.join()) this.clear();
    this.names = trace.names;
    this.unit = trace.unit;
    const end = trace.until_us / 1e6;
    const n = trace.points.length;
    trace.points.forEach((point, i) => {
      this.t.push(end - (n - i) / trace.rate);
      this.values.push(point);
    });
    this.end = end;
    const cut = this.t.findIndex((t) => t >= end - SECONDS - 3);
    if (cut > 0) {
      this.t.splice(0, cut);
      this.values.splice(0, cut);
    }
  }
}

export function Signal({ device }) {
  const box = useRef(null);
  const strip = useRef(null);
  const [shape, setShape] = useState("");
  const kept = useRef(null);
  kept.current ??= { points: new Points(), labels: [] };
  useEffect(() => {
    const { points } = kept.current;
    const deaf = [
      listen("trace", (trace) => {
        if (trace.device !== device) return;
        points.take(trace);
        setShape(trace.names.join() + trace.unit);
      }),
      listen("labels", ({ labels }) => {
        kept.current.labels.push(...labels.filter((one) => one.device === device && !one.deferred));
        kept.current.labels.splice(0, kept.current.labels.length - 60);
      }),
    ];
    return () => deaf.forEach((stop) => stop());
  }, [device]);
  useEffect(() => (shape ? draw(box.current, strip.current, kept.current) : undefined), [shape]);
  return html`<div class="signal">
    ${shape ? html`<p class="keys" aria-hidden="true">${kept.current.points.names.map((name, i) => html`<span class=${`k${i}`}>${name}</span>`)}</p>` : null}
    ${shape ? null : html`<p class="quiet waiting">Waiting for samples …</p>`}
    <div ref=${box} role="img" aria-label="Acceleration of the last ten seconds"></div>
    <canvas ref=${strip} class="strip" role="img" aria-label="Labels of the same ten seconds"></canvas></div>`;
}

function draw(box, strip, kept) {
  const { points } = kept;
  const css = getComputedStyle(document.documentElement);
  const ink = (name) => css.getPropertyValue(name).trim();
  const DASHES = [[], [6, 3], [2, 2]]; // axes differ in dash and in colour
  const make = () => new uPlot({
    width: box.clientWidth, height: HEIGHT, cursor: { show: false }, legend: { show: false },
    scales: { x: { time: false, range: () => window_ }, y: { range: (_, low, high) => wide(low, high) } },
    axes: [
      { stroke: ink("--quiet"), grid: { stroke: ink("--line"), width: 1 }, space: 60,
        values: (_, ticks) => ticks.map((t) => `${Math.round(t - window_[1])} s`),
        splits: () => [...Array(SECONDS / 2 + 1).keys()].map((i) => window_[0] + 2 * i) },
      { stroke: ink("--quiet"), grid: { stroke: ink("--line"), width: 1 }, label: points.unit, size: 50, labelSize: 18 },
    ],
    series: [{}, ...points.names.map((name, i) => ({
      label: name, stroke: ink(`--trace-${i + 1}`), width: 1.5, dash: DASHES[i], points: { show: false } }))],
  }, [[], ...points.names.map(() => [])], box);
  /** @type {[number, number]} */
  let window_ = [0, SECONDS];
  let plot = make();
  let shownUntil = points.end;
  let at = performance.now();
  let frame = 0;
  let range = 0;
  function wide(low, high) {
    const largest = Math.max(Math.abs(low ?? 0), Math.abs(high ?? 0), 0.1);
    if (largest > range || largest < range / 2.5) range = largest * 1.1; // no flicker of the axis
    return [-range, range];
  }
  const step = (time) => {
    frame = requestAnimationFrame(step);
    if (time - at < FRAME_MS || document.hidden) return;
    // Samples come in batches; the picture runs on between them, a little behind the newest.
    const ahead = points.end - shownUntil;
    shownUntil = ahead > 4 || ahead < -4 ? points.end : Math.min(points.end, shownUntil + ((time - at) / 1000) * (ahead > 1.5 ? 1.2 : 1));
    at = time;
    window_ = [shownUntil - SECONDS, shownUntil];
    plot.setData([points.t, ...points.names.map((_, i) => points.values.map((value) => value[i]))]);
    drawStrip(strip, kept.labels, window_, plot);
  };
  frame = requestAnimationFrame(step);
  const resized = new ResizeObserver(() => plot.setSize({ width: box.clientWidth, height: HEIGHT }));
  resized.observe(box);
  const again = () => {
    plot.destroy();
    plot = make();
  };
  addEventListener("themed", again);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", again);
  return () => {
    cancelAnimationFrame(frame);
    resized.disconnect();
    removeEventListener("themed", again);
    dark.removeEventListener("change", again);
    plot.destroy();
  };
}

// Labels below the signal: the newer of two windows that overlap is on top; the height of the bar is the confidence.
function drawStrip(canvas, labels, [begin, end], plot) {
  const ratio = devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== Math.round(width * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const g = canvas.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, width, height);
  const left = plot.bbox.left / ratio;
  const across = plot.bbox.width / ratio;
  g.save();
  g.beginPath();
  g.rect(left, 0, across, height);
  g.clip();
  g.font = "600 11px system-ui, sans-serif";
  g.textBaseline = "middle";
  const shown = labels.filter((one) => one.t1_us / 1e6 > begin && one.t0_us / 1e6 < end);
  const at = (us) => left + ((us / 1e6 - begin) / (end - begin)) * across;
  let runFrom = 0;
  shown.forEach((one, i) => {
    const next = shown[i + 1];
    const from = at(one.t0_us);
    const until = at(Math.min(one.t1_us, next?.t0_us ?? one.t1_us));
    const tall = Math.max(3, height * one.confidence);
    fill(g, one.cluster, from, height - tall, Math.max(1, until - from - 1), tall);
    if (shown[i - 1]?.cluster !== one.cluster) runFrom = Math.max(from, left);
    if (next?.cluster === one.cluster) return;
    const text = sign(one.cluster); // once for neighbours that are equal
    const wide = g.measureText(text).width + 8;
    if (until - runFrom < wide) return;
    const middle = (runFrom + until) / 2;
    g.fillStyle = colour(one.cluster);
    g.fillRect(middle - wide / 2, height - 20, wide, 16);
    g.fillStyle = inkOn(one.cluster);
    g.fillText(text, middle - wide / 2 + 4, height - 11);
  });
  g.restore();
  const last = shown[shown.length - 1];
  const said = last ? `Labels of the same ten seconds; the last is ${nameOf(last.cluster, last.name)}` : "No label in these ten seconds";
  if (canvas.getAttribute("aria-label") !== said) canvas.setAttribute("aria-label", said);
}
