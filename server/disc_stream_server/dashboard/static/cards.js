// One card per device. Only cards on the screen are drawn; the others keep their data.
import { drawStrip, drawTrace, stripInWords } from "./draw.js";
import { colour, inkOn, isState, sign } from "./palette.js";

const STRIP = 120;
const SILENT_S = 10;
const LATE_S = 2;

class Card {
  constructor(template, device) {
    this.device = device;
    this.item = template.content.firstElementChild.cloneNode(true);
    this.parts = {};
    for (const name of ["device", "age", "badge", "label", "percent", "window", "novelty", "trace", "strip", "note", "problem"]) {
      this.parts[name] = this.item.querySelector(`.${name}`);
    }
    this.parts.meter = this.item.querySelector(".meter");
    this.parts.device.textContent = device;
    this.parts.device.title = device;
    this.visible = false;
    this.dirty = true;
    this.trace = null;
    this.windows = [];
    this.label = null;
    this.note = "";
    this.problem = null;
    this.seen = performance.now();
  }

  replace(state) {
    this.trace = state.trace;
    this.windows = state.windows;
    this.label = state.label;
    this.note = state.note;
    this.problem = state.problem;
    this.seen = performance.now() - state.age_s * 1000;
    this.dirty = true;
  }

  change(change) {
    this.seen = performance.now();
    if ("trace" in change) this.trace = change.trace;
    if ("problem" in change) this.problem = change.problem;
    if (change.points && this.trace) {
      this.trace.points.push(...change.points);
      this.trace.points.splice(0, this.trace.points.length - this.trace.size);
    }
    if (change.label) {
      this.label = change.label;
      this.note = change.note;
      this.windows.push(...change.windows);
      this.windows.splice(0, this.windows.length - STRIP);
    }
    this.dirty = true;
  }

  draw() {
    this.dirty = false;
    drawTrace(this.parts.trace, this.trace);
    drawStrip(this.parts.strip, this.windows);
    this.parts.note.hidden = this.note === "";
    setText(this.parts.note, this.note);
    this.drawProblem();
    this.drawLabel();
  }

  drawProblem() {
    const { problem } = this;
    const box = this.parts.problem;
    box.hidden = problem === null;
    this.item.classList.toggle("troubled", problem !== null);
    if (problem === null) return;
    box.title = problem.code;
    setText(box.querySelector(".why"), sentence(problem.words));
    const remedy = box.querySelector(".remedy");
    remedy.hidden = problem.remedy === "";
    setText(remedy, sentence(problem.remedy));
    const since = new Date(problem.since_us / 1000);
    const often = problem.count > 1 ? `${problem.count} times, ` : "";
    setText(box.querySelector(".since"), `${often}since ${since.toLocaleTimeString()}`);
  }

  drawLabel() {
    const { badge, label, percent, window, novelty, meter, strip } = this.parts;
    const labelled = this.label !== null;
    this.item.classList.toggle("unlabelled", !labelled);
    badge.hidden = percent.hidden = !labelled;
    if (!labelled) {
      setText(label, this.problem === null ? "no label yet" : "no label");
      strip.setAttribute("aria-label", stripInWords([]));
      return;
    }
    const { smoothed, best, soft } = this.label;
    setText(badge, sign(smoothed.label));
    badge.style.background = colour(smoothed.label);
    badge.style.color = inkOn(smoothed.label);
    setText(label, smoothed.name);
    // How much of the last window speaks for it. The filter's own probability is nearly always close to 1: it
    // says which cluster, given all that was seen, and not how much the motion is like that cluster.
    const now = soft.find((s) => s.label === smoothed.label);
    const state = isState(smoothed.label);
    const share = state ? smoothed.confidence : now ? now.confidence : soft.at(-1).confidence;
    percent.hidden = meter.hidden = state;
    setText(percent, `${now ? "" : "below "}${inPercent(share)}`);
    meter.firstElementChild.style.width = `${share * 100}%`;
    meter.setAttribute("aria-valuenow", String(Math.round(share * 100)));
    const others = soft.slice(1, 2).map((s) => `, ${s.name} ${inPercent(s.confidence)}`);
    const first = isState(best.label) ? `nearest: ${soft[0].name} ${inPercent(soft[0].confidence)}` : `last window: ${best.name} ${inPercent(best.confidence)}`;
    const adapted = this.label.adapted > 0 ? `; adapted by ${this.label.adapted.toFixed(1)} σ` : "";
    setText(window, `${first}${others.join("")}${adapted}`);
    const unusual = this.label.novelty > 1;
    novelty.hidden = !unusual;
    this.item.classList.toggle("unusual", unusual);
    strip.setAttribute("aria-label", stripInWords(this.windows));
  }

  drawAge(now) {
    const seconds = (now - this.seen) / 1000;
    const silent = seconds > SILENT_S;
    this.item.classList.toggle("silent", silent);
    setText(this.parts.age, seconds < LATE_S ? "live" : silent ? `silent ${ago(seconds)}` : `${ago(seconds)} ago`);
  }
}

export class Cards {
  constructor(grid, template) {
    this.grid = grid;
    this.template = template;
    this.cards = new Map();
    this.order = new Intl.Collator("en", { numeric: true });
    this.watcher = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const card = this.cards.get(entry.target.dataset.device);
        if (card) card.visible = entry.isIntersecting;
      }
    }, { rootMargin: "200px" });
    new ResizeObserver(() => this.markAll()).observe(grid);
  }

  get size() {
    return this.cards.size;
  }

  replaceAll(devices) {
    const there = new Set(devices.map((d) => d.id));
    for (const device of [...this.cards.keys()]) if (!there.has(device)) this.remove(device);
    for (const state of devices) this.replace(state);
  }

  update(changed, gone) {
    for (const change of changed) {
      if ("age_s" in change) this.replace(change);
      else this.cards.get(change.id)?.change(change);
    }
    for (const device of gone) this.remove(device);
  }

  replace(state) {
    let card = this.cards.get(state.id);
    if (!card) {
      card = new Card(this.template, state.id);
      card.item.dataset.device = state.id;
      this.cards.set(state.id, card);
      this.insert(card);
      this.watcher.observe(card.item);
    }
    card.replace(state);
  }

  insert(card) {
    const items = this.grid.children;
    let low = 0;
    let high = items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.order.compare(items[middle].dataset.device, card.device) < 0) low = middle + 1;
      else high = middle;
    }
    this.grid.insertBefore(card.item, items[low] || null);
  }

  remove(device) {
    const card = this.cards.get(device);
    if (!card) return;
    this.watcher.unobserve(card.item);
    card.item.remove();
    this.cards.delete(device);
  }

  markAll() {
    for (const card of this.cards.values()) card.dirty = true;
  }

  draw() {
    const now = performance.now();
    for (const card of this.cards.values()) {
      if (!card.visible) continue;
      if (card.dirty) card.draw();
      card.drawAge(now);
    }
  }
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// With a capital and a full stop, since it may be followed by another one.
function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return begun === "" || /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

function inPercent(confidence) {
  return `${Math.round(confidence * 100)} %`;
}

function ago(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}
