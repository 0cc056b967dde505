// Colour, hatch and name of each cluster. Colours stay with a cluster: its own if somebody gave it one, else one of
// eight that stay apart for colour-blind eyes (Okabe & Ito, 2008), by its id. Every further eight clusters have
// another hatch, and the number is always written too.
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#9aa3ad"];
const HATCHES = [null, [1, 0], [0, 1], [1, 1], [1, -1]];
const STATES = {
  "-1": { colour: "#5c6670", sign: "?", words: "unknown" },
  "-2": { colour: "#d5dadf", sign: "–", words: "not worn" },
};

/** @type {Map<number, any>} by public id, as the API tells them */
let known = new Map();

/** Take the names and colours of all clusters. */
export function setClusters(clusters) {
  known = new Map(clusters.filter((one) => one.merged_into === null).map((one) => [one.id, one]));
}

export function knownClusters() {
  return [...known.values()];
}

export function isState(cluster) {
  return cluster < 0;
}

export function sign(cluster) {
  return STATES[cluster]?.sign ?? String(cluster);
}

/** What a cluster is called; ``told`` is what the server has called it in an answer. */
export function nameOf(cluster, told = "") {
  return STATES[cluster]?.words ?? (known.get(cluster)?.label || told || `cluster ${cluster}`);
}

export function colour(cluster) {
  return STATES[cluster]?.colour ?? (known.get(cluster)?.colour || COLOURS[cluster % COLOURS.length]);
}

export function inkOn(cluster) {
  const [r, g, b] = [1, 3, 5].map((i) => {
    const c = parseInt(colour(cluster).slice(i, i + 2), 16) / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}

function hatchOf(cluster) {
  return isState(cluster) ? null : HATCHES[Math.floor(cluster / COLOURS.length) % HATCHES.length];
}

/** Name of a class with the hatch, for boxes that are elements. */
export function hatchClass(cluster) {
  const hatch = hatchOf(cluster);
  return hatch === null ? "" : `hatch-${HATCHES.indexOf(hatch)}`;
}

/** Fill a box of a canvas with a cluster's colour and hatch. */
export function fill(g, cluster, x, y, width, height) {
  g.fillStyle = colour(cluster);
  g.fillRect(x, y, width, height);
  const hatch = hatchOf(cluster);
  if (hatch === null || width < 4) return;
  g.save();
  g.beginPath();
  g.rect(x, y, width, height);
  g.clip();
  g.strokeStyle = inkOn(cluster);
  g.globalAlpha = 0.35;
  g.lineWidth = 1.5;
  g.beginPath();
  const [dx, dy] = hatch;
  if (dx !== 0 && dy === 0) {
    for (let py = y + 3; py < y + height; py += 6) g.moveTo(x, py), g.lineTo(x + width, py);
  } else {
    const lean = dx * dy * height;
    for (let px = x - Math.abs(lean); px < x + width + Math.abs(lean); px += 6) {
      g.moveTo(px, y + height);
      g.lineTo(px + lean, y);
    }
  }
  g.stroke();
  g.restore();
}
