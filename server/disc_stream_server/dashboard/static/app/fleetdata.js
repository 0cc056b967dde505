// All devices, searched, sorted and grouped. Nothing here touches the page.
import { nameOf } from "./palette.js";

export const LOW = 0.5; // confidence
export const OFFLINE_US = 60e6; // since its last message
const COLLATOR = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/**
/**
 * @typedef {{id: string, order: string, tags: string[], seen: number, cluster: number|null, told: string, confidence: number|null,
 *   since: number|null, model: string, problem: any, live: boolean, facts?: any}} Row
 */

/** @returns {Row} of a device as `/devices` tells it */
export function rowOf(device) {
  const { current, before, problem } = device;
  return {
    id: device.id,
    order: orderOf(device.id),
    tags: device.tags,
    seen: device.seen_us ?? before?.last_us ?? 0,
    cluster: current?.cluster ?? before?.cluster ?? null,
    told: current?.name ?? before?.name ?? "",
    confidence: current?.confidence ?? null,
    since: device.since_us ?? before?.since_us ?? null,
    model: current?.model ?? before?.model ?? "",
    problem,
    live: current !== null,
    facts: device.facts,
  };
}

/** What a device is sorted by: 2 stands before 10. @param {string} id */
export function orderOf(id) {
  return id.toLowerCase().replace(/\d+/g, (digits) => digits.padStart(20, "0"));
}

/** Take a label of the live feed into a row. @param {Row} row */
export function takeLabel(row, label, now) {
  if (row.cluster !== label.cluster || row.since === null) row.since = label.begin_us ?? label.published_us;
  row.cluster = label.cluster;
  row.told = label.name;
  row.confidence = label.confidence;
  row.model = label.model;
  row.seen = now;
  row.live = true;
}

export const isOffline = (row, now) => now - row.seen > OFFLINE_US;

export const FILTERS = {
  all: ["all", () => true],
  offline: ["offline", isOffline],
  notworn: ["not worn", (row) => row.cluster === -2],
  unknown: ["unknown", (row) => row.cluster === -1],
  low: ["low confidence", (row) => row.confidence !== null && row.confidence < LOW],
  unlabelled: ["without labels", (row) => row.problem !== null || row.cluster === null],
  clock: ["clock at fault", (row) => row.problem?.code.startsWith("clock") ?? false],
};

const KEYS = {
  device: (row) => row.order,
  label: (row) => (row.cluster === null ? "\uffff" : nameOf(row.cluster, row.told)),
  confidence: (row) => row.confidence ?? -1,
  since: (row) => row.since ?? 0,
  seen: (row) => row.seen,
  rate: (row) => row.facts?.measured ?? -1,
  gaps: (row) => row.facts?.gaps ?? -1,
  battery: (row) => row.facts?.description?.battery ?? 2, // what does not say comes last
  clock: (row) => Math.abs(row.facts?.clock_offset_us ?? Number.MAX_SAFE_INTEGER),
};

// A number is looked for as a whole: "cluster 3" does not find wearable-013, whose label is cluster 1.
function matcher(word) {
  if (!/^\d+$/.test(word)) return (text) => text.includes(word);
  const whole = new RegExp(`(^|\\D)0*${word.replace(/^0+(?=\d)/, "")}(\\D|$)`);
  return (text) => whole.test(text);
}

/** Whether all words stand in one and the same thing that a row says of itself. */
export function search(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean).slice(0, 8).map(matcher);
  if (words.length === 0) return () => true;
  return (row) => {
    const said = [row.id, row.cluster === null ? "no label" : nameOf(row.cluster, row.told), ...row.tags];
    if (row.cluster !== null && row.cluster >= 0) said.push(`cluster ${row.cluster}`);
    if (row.problem) said.push(row.problem.words);
    return said.some((one) => words.every((word) => word(one.toLowerCase())));
  };
}

/**
 * The rows to show, in order; with groups, a heading before each.
 * @param {Iterable<Row>} rows
 * @returns {{lines: any[], matching: number}}
 */
export function arrange(rows, { q = "", only = "all", sort = "device", down = false, group = "", tag = "" }, now) {
  const wanted = search(q);
  const [, fits] = FILTERS[only] ?? FILTERS.all;
  const found = [...rows].filter((row) => (!tag || row.tags.includes(tag)) && fits(row, now) && wanted(row));
  const key = keysOf(found, sort);
  const keyed = found.map((row) => [key(row), row]);
  const turn = down ? -1 : 1;
  keyed.sort(([a, one], [b, other]) => {
    if (a !== b) return a < b ? -turn : turn;
    return one.order < other.order ? -1 : 1;
  });
  const sorted = keyed.map(([, row]) => row);
  return { lines: group ? grouped(sorted, group) : sorted, matching: found.length };
}

/** What to sort by, such that < says it: names, of which there are few, are ordered by the reader's language before. */
function keysOf(rows, sort) {
  const key = KEYS[sort] ?? KEYS.device;
  if (sort !== "label") return key;
  const names = [...new Set(rows.map(key))].sort(COLLATOR.compare);
  const ranks = new Map(names.map((name, rank) => [name, rank]));
  return (row) => ranks.get(key(row));
}

function grouped(rows, by) {
  const groups = new Map();
  for (const row of rows) {
    const names = by === "label" ? [row.cluster === null ? "no label" : nameOf(row.cluster, row.told)]
      : row.tags.length ? row.tags : ["without a tag"];
    for (const name of names) {
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(row);
    }
  }
  return [...groups.entries()]
    .sort(([a], [b]) => COLLATOR.compare(a, b))
    .flatMap(([name, members]) => [{ heading: name, count: members.length }, ...members]);
}
