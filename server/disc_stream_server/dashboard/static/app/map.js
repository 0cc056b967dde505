// The embedding on a plane: what the model learned from, and where the windows of now lie.
import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { ask } from "./api.js";
import { colour, inkOn, nameOf, sign } from "./palette.js";
import { ClusterName, Failure, Loading, useAnswer } from "./parts.js";
import { address } from "./router.js";
import { number } from "./words.js";

const LIVE_MS = 1500;
const HEIGHT = 420;
const EDGE = 0.08; // of the picture, around what is in it
const NEAR = 12; // pixels, between the pointer and a point

export function EmbeddingMap({ model }) {
  const whole = useAnswer(`map ${model}`, () => ask(`/models/${model || "current"}/map`));
  const live = useAnswer(`live map ${model}`, () => ask("/live-map"), LIVE_MS);
  const told = whole.value;
  if (!told) return whole.error ? html`<${Failure} error=${whole.error} retry=${whole.again} />` : html`<${Loading} what="the map" />`;
  if (!told.points.length) {
    return html`<p class="quiet">${told.kept === "unreadable" ? "The examples of this model are damaged, so there is no map of it."
      : "This model keeps no examples, so there is no map of it. Exports and retrainings keep them unless they are told not to."}</p>`;
  }
  const devices = live.value?.model === told.model ? live.value.items : [];
  return html`<div class="map"><div><${Plane} told=${told} devices=${devices} />
    <p class="quiet small">Small: ${number(told.points.length)} windows that the model learned from. Large, with a rim: the last window of
      ${" "}${number(devices.length)} devices. The numbers stand at the centres of the clusters. It is one plane through what the model sees, the one
      that keeps the clusters apart best; what lies far apart in it is different, what lies together need not be alike.</p></div>
    <div class="wide"><${Table} told=${told} devices=${devices} /></div></div>`;
}

function Table({ told, devices }) {
  const near = (one) => told.clusters.filter((other) => other.id !== one.id)
    .map((other) => [Math.hypot(other.x - one.x, other.y - one.y), other]).sort(([a], [b]) => a - b)[0]?.[1];
  return html`<table class="plain"><caption class="unseen">The map as a table</caption><thead><tr><th scope="col">Cluster</th><th scope="col" class="place">Place</th><th scope="col">Next to it</th>
    <th scope="col">Windows</th><th scope="col">Devices now</th></tr></thead><tbody>${told.clusters.map((one) => html`<tr>
      <td><${ClusterName} cluster=${one.id} told=${one.name} /></td><td class="place">${one.x.toFixed(2)}, ${one.y.toFixed(2)}</td>
      <td>${near(one) ? html`<${ClusterName} cluster=${near(one).id} told=${near(one).name} />` : "–"}</td>
      <td>${number(told.points.filter((point) => point.cluster === one.id).length)}</td>
      <td>${number(devices.filter((device) => device.cluster === one.public_id).length)}</td></tr>`)}</tbody></table>`;
}

function Plane({ told, devices }) {
  const canvas = useRef(null);
  const [size, setSize] = useState(/** @type {[number, number]} */ ([600, HEIGHT]));
  const [at, setAt] = useState(null);
  const [, turn] = useState(0);
  useEffect(() => {
    const again = () => turn((n) => n + 1);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const watcher = new ResizeObserver(() => setSize([canvas.current.clientWidth, HEIGHT]));
    watcher.observe(canvas.current);
    addEventListener("themed", again);
    dark.addEventListener("change", again);
    return () => {
      watcher.disconnect();
      removeEventListener("themed", again);
      dark.removeEventListener("change", again);
    };
  }, []);
  const place = placing([...told.points, ...told.clusters, ...devices], size);
  useEffect(() => draw(canvas.current, size, told, devices, place));
  const look = (event) => {
    const box = canvas.current.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = null;
    let least = NEAR;
    for (const one of [...told.points, ...devices]) {
      const [px, py] = place(one);
      const far = Math.hypot(px - x, py - y);
      if (far <= least) [least, best] = [far, one];
    }
    setAt(best);
  };
  const words = at === null ? "" : `${at.device ?? (at.border ? "Training window, at the border" : "Training window")}: ${
    nameOf(at.cluster, told.clusters.find((one) => one.id === at.cluster)?.name)}`;
  const go = () => {
    if (at?.device) location.hash = address("device", at.device);
    else if (at) location.hash = address("clusters", at.cluster);
  };
  return html`<canvas ref=${canvas} class=${`plane${at ? " over" : ""}`} role="img" onPointerMove=${look} onPointerLeave=${() => setAt(null)}
      onPointerDown=${look} onClick=${go}
      aria-label=${`Map of ${told.clusters.length} clusters with ${told.points.length} training windows and ${devices.length} devices; a table of it follows`}></canvas>
    <p class="pointed" aria-hidden="true">${words || html`<span class="quiet">Point at a window to see what it is.</span>`}</p>`;
}

/** From places of the plane to pixels; both axes alike. */
function placing(all, [width, height]) {
  const xs = all.map((one) => one.x);
  const ys = all.map((one) => one.y);
  const [left, right, low, high] = [least(xs), -least(xs.map((x) => -x)), least(ys), -least(ys.map((y) => -y))];
  const scale = Math.min(width / Math.max(right - left, 1e-6), height / Math.max(high - low, 1e-6)) * (1 - 2 * EDGE);
  return ({ x, y }) => [width / 2 + (x - (left + right) / 2) * scale, height / 2 - (y - (low + high) / 2) * scale];
}

const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);

function draw(canvas, [width, height], told, devices, place) {
  const dense = devicePixelRatio || 1;
  canvas.width = Math.round(width * dense);
  canvas.height = Math.round(height * dense);
  const g = canvas.getContext("2d");
  const css = getComputedStyle(document.documentElement);
  const [ink, card] = ["--ink", "--card"].map((name) => css.getPropertyValue(name).trim());
  g.scale(dense, dense);
  const dot = (one, cluster, radius) => {
    const [x, y] = place(one);
    g.beginPath();
    g.arc(x, y, radius, 0, 2 * Math.PI);
    g.fillStyle = colour(cluster);
    g.fill();
  };
  g.globalAlpha = 0.7;
  told.points.forEach((one) => dot(one, one.cluster, one.border ? 2.5 : 3.5));
  g.globalAlpha = 1;
  g.font = "bold 13px system-ui, sans-serif";
  g.textAlign = "center";
  g.textBaseline = "middle";
  for (const one of told.clusters) {
    const [x, y] = place(one);
    const half = Math.max(10, g.measureText(sign(one.id)).width / 2 + 5);
    g.fillStyle = colour(one.id);
    g.strokeStyle = card;
    g.lineWidth = 2;
    g.beginPath();
    g.roundRect(x - half, y - 10, 2 * half, 20, 5);
    g.fill();
    g.stroke();
    g.fillStyle = inkOn(one.id);
    g.fillText(sign(one.id), x, y + 1);
  }
  for (const one of devices) { // above the numbers: a device is near its cluster's
    dot(one, one.cluster, 6);
    g.lineWidth = 2;
    g.strokeStyle = ink;
    g.stroke();
  }
}
