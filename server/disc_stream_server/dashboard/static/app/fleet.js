// All devices in a table of which only what is seen is in the page.
import { html, useEffect, useLayoutEffect, useRef, useState } from "../vendor/htm-preact.js";
import { FILTERS, arrange, isOffline, takeLabel } from "./fleetdata.js";
import { FleetList } from "./fleetlist.js";
import { listen, live } from "./live.js";
import { Ago, ClusterName, Empty, Failure, Loading, Meter } from "./parts.js";
import { batteryWords, clockWords, gapWords, rateWords } from "./reception.js";
import { address, choose } from "./router.js";
import { nowUs, number, sentence } from "./words.js";

const ROW = 48; // pixels; as in app.css, where a phone has more
const PHONE_ROW = 96;
const MARGIN = 6; // rows beyond those that are seen
const FRESH_MS = 5000; // at least, between two readings of all devices
const SHARE = 20; // and so many times as long as one reading took
const EACH_MS = 0.5; // for each device at least: with 20,000 of them every ten seconds
const ORDER_MS = 1000; // between two sortings, at least
const COLUMNS = [["device", "Device"], ["label", "Label"], ["confidence", "Confidence"], ["since", "Since"],
  ["seen", "Last seen"]];
const FACTS = { rate: ["Rate", rateWords], gaps: ["Gaps", gapWords], battery: ["Battery", batteryWords],
  clock: ["Clock", clockWords] }; // columns that are shown if they are chosen

/** All devices: read anew from time to time; what is seen follows the live feed. */
function useDevices(facts) {
  const list = useRef(new FleetList());
  const [state, setState] = useState({ loaded: false, error: null, tick: 0, reading: 0 });
  useEffect(() => {
    let timer = 0;
    const gone = new AbortController();
    const read = async () => {
      const begun = performance.now();
      try {
        if (!document.hidden) {
          await (facts ? list.current.readFacts(gone.signal) : list.current.read(gone.signal));
          setState((old) => ({ loaded: true, error: null, tick: old.tick + 1, reading: old.reading + 1 }));
        }
      } catch (error) {
        if (gone.signal.aborted) return;
        setState((old) => ({ ...old, error, tick: old.tick + 1 }));
      }
      timer = setTimeout(read, Math.max(FRESH_MS, EACH_MS * list.current.rows.size, SHARE * (performance.now() - begun)));
    };
    read();
    let due = false;
    const soon = () => {
      if (due) return;
      due = true;
      setTimeout(() => {
        due = false;
        setState((old) => ({ ...old, tick: old.tick + 1 }));
      }, 200);
    };
    const deaf = [
      listen("labels", ({ labels }) => {
        for (const label of labels) {
          const row = list.current.rows.get(label.device);
          if (row) takeLabel(row, label, nowUs());
        }
        soon();
      }),
      listen("problem", ({ device, problem }) => {
        const row = list.current.rows.get(device);
        if (row) row.problem = problem;
        soon();
      }),
    ];
    return () => {
      gone.abort();
      clearTimeout(timer);
      deaf.forEach((stop) => stop());
      live.look([]);
    };
  }, [facts]);
  return { ...state, rows: list.current.rows };
}

export function Fleet({ route, server }) {
  const { q = "", only = "all", sort = "device", group = "", tag = "", down = "", cols = "" } = route.query;
  const more = Object.keys(FACTS).filter((name) => cols.split(",").includes(name));
  const { rows, loaded, error, reading } = useDevices(more.length > 0);
  const shown = useRef({ key: "", lines: [], matching: 0, tags: [], due: 0 });
  const key = JSON.stringify([route.query, reading, server.revision]);
  const began = performance.now();
  if (shown.current.key !== key || began > shown.current.due) {
    const arranged = arrange(rows.values(), { q, only, sort, group, tag, down: down === "1" }, nowUs());
    const took = performance.now() - began; // of many devices it is long: what is seen changes more often than its order
    const tags = [...new Set([...rows.values()].flatMap((row) => row.tags))].sort();
    shown.current = { key, ...arranged, tags, due: began + Math.max(ORDER_MS, SHARE * took) };
  }
  const { lines, matching, tags } = shown.current;
  if (!loaded && error?.status === 503) return html`<h1>Fleet</h1><${Nothing} health=${server.health} />`;
  if (!loaded) return error ? html`<${Failure} error=${error} />` : html`<h1>Fleet</h1><${Loading} what="devices" />`;
  if (rows.size === 0) return html`<h1>Fleet</h1><${Nothing} health=${server.health} />`;
  return html`<div class="fleet">
    <div class="tools" role="search"><h1>Fleet</h1>
      <label>Search <input type="search" id="search" value=${q} placeholder="device, label, tag or problem"
        autocomplete="off" spellcheck="false" onInput=${(event) => choose({ q: event.target.value })} /></label>
      <label>Show <select id="only" value=${only} onChange=${(event) => choose({ only: event.target.value })}>
        ${Object.entries(FILTERS).map(([value, [words]]) => html`<option value=${value}>${words}</option>`)}
      </select></label>
      <label>Tag <select id="tag" value=${tag} onChange=${(event) => choose({ tag: event.target.value })}>
        <option value="">any</option>${tags.map((one) => html`<option value=${one}>${one}</option>`)}</select></label>
      <label>Group by <select id="group" value=${group} onChange=${(event) => choose({ group: event.target.value })}>
        <option value="">nothing</option><option value="tag">tag</option><option value="label">label</option>
      </select></label>
      <${Choose} more=${more} sort=${sort} />
      <label class="phone">Sort by <select value=${sort} onChange=${(event) => choose({ sort: event.target.value })}>
        ${COLUMNS.map(([value, words]) => html`<option value=${value}>${words}</option>`)}</select></label>
      <span class="quiet" id="shown" role="status">${matching === rows.size ? `${number(rows.size)} devices`
        : `${number(matching)} of ${number(rows.size)} devices`}</span>
    </div>
    <${Failure} error=${error} />
    ${matching === 0 ? html`<${Empty} title="No device matches"><p><button type="button"
        onClick=${() => choose({ q: "", only: "", tag: "" })}>Show all devices</button></p><//>`
      : html`<${Table} lines=${lines} sort=${sort} down=${down === "1"} more=${more} />`}
  </div>`;
}

/** Which of the further columns are shown. On a phone they stand on each device's own page. */
function Choose({ more, sort }) {
  const turn = (name) => {
    const cols = more.includes(name) ? more.filter((one) => one !== name) : [...more, name];
    choose({ cols: cols.join(","), ...(sort === name ? { sort: "", down: "" } : {}) });
  };
  return html`<details class="choose"><summary>Columns</summary><fieldset><legend class="unseen">Further columns</legend>
    ${Object.entries(FACTS).map(([name, [words]]) => html`<label><input type="checkbox" id=${`col-${name}`}
      checked=${more.includes(name)} onChange=${() => turn(name)} /> ${words}</label>`)}</fieldset></details>`;
}

function Nothing({ health }) {
  return html`<${Empty} title="No device has sent anything yet">
    <p>Devices appear here as soon as their first message arrives on
      ${" "}<code>${`${health?.prefix ?? "ds/v1"}/<device>/raw`}</code>${health ? html` at <code>${health.broker}</code>` : ""}.</p>
    <p>To see it work without a wearable, let three simulated ones publish:</p>
    <pre><code>disc-stream edge publish --broker ${health?.broker ?? "mqtt://127.0.0.1:1883"} --devices 3</code></pre><//>`;
}

function Table({ lines, sort, down, more }) {
  const box = useRef(null);
  const [place, setPlace] = useState({ top: 0, height: 800, width: innerWidth });
  useLayoutEffect(() => {
    const measure = () => setPlace({
      top: box.current.scrollTop, height: box.current.clientHeight || 600, width: innerWidth });
    measure();
    const watcher = new ResizeObserver(measure);
    watcher.observe(box.current);
    box.current.addEventListener("scroll", measure, { passive: true });
    return () => watcher.disconnect();
  }, []);
  const row = place.width <= 600 ? PHONE_ROW : ROW;
  const first = Math.max(0, Math.floor(place.top / row) - MARGIN);
  const last = Math.min(lines.length, Math.ceil((place.top + place.height) / row) + MARGIN);
  const seen = lines.slice(first, last);
  const names = [...new Set(seen.filter((one) => one.id).map((one) => one.id))].sort();
  useEffect(() => live.look(names), [names.join(" ")]);
  const turn = (name) => choose({ sort: name, down: sort === name && !down ? "1" : "" });
  const columns = [...COLUMNS, ...more.map((name) => [name, FACTS[name][0]])];
  return html`<div class=${`table${more.length ? " many" : ""}`} role="table" aria-label="Devices" aria-rowcount=${lines.length + 1}
      style=${{ "--more": more.map(() => "82px").join(" ") || null }}>
    <div class="head" role="row" aria-rowindex="1">${columns.map(([name, words]) => html`<span role="columnheader"
      class=${name in FACTS ? "extra" : name} aria-sort=${sort === name ? (down ? "descending" : "ascending") : "none"}><button type="button"
      onClick=${() => turn(name)}>${words}${sort === name ? (down ? " ▼" : " ▲") : ""}</button></span>`)}
      <span role="columnheader" class="model">Model</span><span role="columnheader" class="note">Tags, problem</span></div>
    <div class="body" ref=${box} tabindex="0" role="rowgroup" aria-label="All devices; scroll with the arrow keys">
      <div class="all" role="presentation" style=${{ height: `${lines.length * row}px` }}>
        ${seen.map((line, i) => html`<${Line} key=${line.id ? `${line.id} ${first + i}` : `# ${line.heading}`}
          line=${line} more=${more} at=${first + i} top=${(first + i) * row} />`)}</div></div></div>`;
}

function Line({ line, at, top, more }) {
  const style = { transform: `translateY(${top}px)` };
  if (line.heading !== undefined) {
    return html`<div class="line group" role="row" aria-rowindex=${at + 2} style=${style}><span role="cell">
      <b>${line.heading}</b> <span class="quiet">${number(line.count)}</span></span></div>`;
  }
  const off = isOffline(line, nowUs());
  return html`<div class=${`line${off ? " off" : ""}`} role="row" aria-rowindex=${at + 2} style=${style}
      data-device=${line.id}>
    <span role="cell" class="device"><a href=${address("device", line.id)}>${line.id}</a></span>
    <span role="cell" class="label">${line.cluster === null ? html`<span class="quiet">${line.problem
      ? "no label" : "no label yet"}</span>` : html`<${ClusterName} cluster=${line.cluster} told=${line.told} />`}</span>
    <span role="cell" class="confidence">${line.confidence === null ? "–"
      : html`<${Meter} value=${line.confidence} />`}</span>
    <span role="cell" class="since"><${Ago} us=${line.since} /></span>
    <span role="cell" class="seen">${off ? html`<b class="sign">offline</b> ` : ""}<${Ago} us=${line.seen} /></span>
    ${more.map((name) => html`<span role="cell" class="extra">${FACTS[name][1](line.facts, line.problem)}</span>`)}
    <span role="cell" class="model quiet" title=${line.model}>${line.model.slice(0, 8)}</span>
    <span role="cell" class="note">${line.tags.map((one) => html`<span class="tag">${one}</span>`)}${line.problem
      ? html`<span class="why" title=${sentence(line.problem.remedy)}>${sentence(line.problem.words)}</span>` : ""}</span>
  </div>`;
}
