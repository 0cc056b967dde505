// What is drawn on a card's two canvases.
import { fill, inkOn, inWords, sign } from "./palette.js";

const DASHES = [[], [6, 3], [2, 2]]; // the three axes differ in dash and in colour
const TOP = 14; // pixels above the trace for its range
const CELL = 13; // pixels per window in the strip

function prepare(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const g = canvas.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, width, height);
  return { g, width, height };
}

// The smallest 1, 2 or 5 times a power of ten that covers the values.
function niceRange(points) {
  let largest = 0;
  for (const point of points) for (const v of point) if (v !== null) largest = Math.max(largest, Math.abs(v));
  if (largest === 0) return 1;
  const power = 10 ** Math.floor(Math.log10(largest));
  return power * [1, 2, 5, 10].find((m) => m * power >= largest);
}

export function drawTrace(canvas, trace) {
  const { g, width, height } = prepare(canvas);
  if (width === 0) return;
  const style = getComputedStyle(canvas);
  g.font = "11px system-ui, sans-serif";
  if (trace === null || trace.points.length === 0) {
    g.fillStyle = style.getPropertyValue("--quiet");
    g.fillText(trace === null ? "no trace" : "waiting for samples", 4, height / 2);
    return;
  }
  const range = niceRange(trace.points);
  const gutter = 12; // for the axes' letters at the right
  const x = (i) => ((trace.size - trace.points.length + i) / (trace.size - 1)) * (width - gutter);
  const middle = (TOP + height) / 2;
  const y = (v) => middle - (v / range) * (middle - TOP);
  g.strokeStyle = style.getPropertyValue("--line");
  g.lineWidth = 1;
  g.beginPath();
  g.moveTo(0, y(0));
  g.lineTo(width - gutter, y(0));
  g.stroke();
  trace.names.forEach((name, axis) => drawAxis(g, style, trace.points, axis, x, y));
  drawLetters(g, style, trace, y, width, height);
  g.fillStyle = style.getPropertyValue("--quiet");
  g.fillText(`±${range} ${trace.unit}`, 2, 11);
}

function drawAxis(g, style, points, axis, x, y) {
  g.strokeStyle = style.getPropertyValue(`--trace-${axis + 1}`);
  g.lineWidth = 1.5;
  g.setLineDash(DASHES[axis]);
  g.beginPath();
  let pen = false;
  points.forEach((point, i) => {
    const v = point[axis];
    if (v === null) {
      pen = false;
    } else if (pen) {
      g.lineTo(x(i), y(v));
    } else {
      g.moveTo(x(i), y(v));
      pen = true;
    }
  });
  g.stroke();
  g.setLineDash([]);
}

// The axes' letters beside their last values, pushed apart where they would overlap.
function drawLetters(g, style, trace, y, width, height) {
  const last = trace.points[trace.points.length - 1];
  const letters = trace.names
    .map((name, axis) => ({ text: name.slice(-1), axis, y: y(last[axis] ?? 0) + 4 }))
    .sort((a, b) => a.y - b.y);
  let floor = TOP;
  for (const letter of letters) {
    letter.y = Math.max(letter.y, floor);
    floor = letter.y + 11;
  }
  let ceiling = height - 2;
  for (const letter of letters.reverse()) {
    letter.y = Math.min(letter.y, ceiling);
    ceiling = letter.y - 11;
    g.fillStyle = style.getPropertyValue(`--trace-${letter.axis + 1}`);
    g.fillText(letter.text, width - 9, letter.y);
  }
}

// Labels of the last windows, newest at the right; equal neighbours share one box with one number.
export function drawStrip(canvas, windows) {
  const { g, width, height } = prepare(canvas);
  const shown = windows.slice(-Math.floor(width / CELL));
  g.font = "600 11px system-ui, sans-serif";
  g.textAlign = "center";
  g.textBaseline = "middle";
  let right = width;
  for (let end = shown.length; end > 0; ) {
    let start = end - 1;
    while (start > 0 && shown[start - 1] === shown[start]) start -= 1;
    const cluster = shown[start];
    const boxWidth = (end - start) * CELL;
    fill(g, cluster, right - boxWidth, 0, boxWidth - 1, height);
    g.fillStyle = inkOn(cluster);
    g.fillText(sign(cluster), right - boxWidth / 2, height / 2 + 1, boxWidth - 1);
    right -= boxWidth;
    end = start;
  }
}

// "cluster 3 for 12 windows, before that cluster 1 for 4": the strip in words.
export function stripInWords(windows) {
  const runs = [];
  for (const cluster of windows.slice(-24).reverse()) {
    const run = runs[runs.length - 1];
    if (run && run.cluster === cluster) run.count += 1;
    else runs.push({ cluster, count: 1 });
  }
  if (runs.length === 0) return "no labels yet";
  const said = runs.slice(0, 4).map((r) => `${inWords(r.cluster)} for ${r.count} window${r.count > 1 ? "s" : ""}`);
  return `recent labels, newest first: ${said.join(", then ")}`;
}
