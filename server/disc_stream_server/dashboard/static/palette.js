// Colour, hatch and text colour of each cluster. Eight colours that stay apart for colour-blind eyes
// (Okabe & Ito, 2008); every further eight clusters get another hatch. The number is always written too.
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#9aa3ad"];
const HATCHES = [null, [1, 0], [0, 1], [1, 1], [1, -1]];

// In the place of a cluster: a window far from all of them, and a device that is not worn.
const STATES = { "-1": { colour: "#5c6670", sign: "?", words: "unknown" }, "-2": { colour: "#d5dadf", sign: "–", words: "not worn" } };

export function isState(cluster) {
  return cluster < 0;
}

// What stands in a box of the strip and in the badge.
export function sign(cluster) {
  return isState(cluster) ? STATES[cluster].sign : String(cluster);
}

export function inWords(cluster) {
  return isState(cluster) ? STATES[cluster].words : `cluster ${cluster}`;
}

export function colour(cluster) {
  if (isState(cluster)) return STATES[cluster].colour;
  return COLOURS[cluster % COLOURS.length];
}

export function inkOn(cluster) {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(colour(cluster).slice(i, i + 2), 16) / 255);
  const [lr, lg, lb] = [r, g, b].map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * lr + 0.7152 * lg + 0.0722 * lb > 0.179 ? "#000000" : "#ffffff";
}

// Fill a box of the canvas with a cluster's colour and hatch.
export function fill(g, cluster, x, y, width, height) {
  g.fillStyle = colour(cluster);
  g.fillRect(x, y, width, height);
  if (isState(cluster)) return;
  const hatch = HATCHES[Math.floor(cluster / COLOURS.length) % HATCHES.length];
  if (hatch === null) return;
  g.save();
  g.beginPath();
  g.rect(x, y, width, height);
  g.clip();
  g.strokeStyle = inkOn(cluster);
  g.globalAlpha = 0.35;
  g.lineWidth = 1.5;
  g.beginPath();
  const [dx, dy] = hatch;
  const reach = width + height;
  for (let s = -reach; s < 2 * reach; s += 6) {
    const [px, py] = dx === 0 ? [x + s, y] : [x, y + s];
    g.moveTo(px - dx * reach, py - dy * reach);
    g.lineTo(px + dx * reach, py + dy * reach);
  }
  g.stroke();
  g.restore();
}
