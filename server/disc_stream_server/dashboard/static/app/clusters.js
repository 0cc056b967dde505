// Clusters: what is new, what each is, and what people make of them. Every change can be undone.
import { html, useState } from "../vendor/htm-preact.js";
import { all, ask } from "./api.js";
import { Act, Ago, Asking, Badge, ClusterName, Empty, Failure, Loading, useAnswer } from "./parts.js";
import { colour } from "./palette.js";
import { EmbeddingMap } from "./map.js";
import { address, choose } from "./router.js";
import { ClusterWindows } from "./windows.js";
import { duration, number, percent } from "./words.js";

const FRESH_MS = 10_000;
const SEEN = "disc-stream-seen-transitions"; // what somebody at this browser has looked at
const CHANGES = { split: "was split", absorb: "took in another cluster", survive: "has changed" };
const SHOWN = 12; // clusters of the inbox whose windows are shown at once
const SURE = 0.9; // share of its windows that a cluster keeps if it stays as it is

export function Clusters({ route, server, may }) {
  const retired = route.query.retired === "1";
  const found = useAnswer(`clusters ${retired}`, () => all(retired ? "/clusters?retired=true" : "/clusters"), FRESH_MS);
  const events = useAnswer("cluster events", async () => (await ask("/cluster-events?limit=200")).items, FRESH_MS);
  const [, look] = useState(0);
  const changed = async () => {
    await Promise.all([found.again(), events.again(), server.readClusters()]);
  };
  if (!found.value) return found.error ? html`<${Failure} error=${found.error} retry=${found.again} />`
    : html`<h1>Clusters</h1><${Loading} what="clusters" />`;
  const clusters = found.value;
  const registry = server.health?.registry ?? false;
  const model = server.health?.model ?? "";
  const can = may("operator") && registry;
  if (route.id !== "") {
    const one = clusters.find((cluster) => String(cluster.id) === route.id);
    return one ? html`<${Cluster} one=${one} clusters=${clusters} can=${can} changed=${changed} model=${model} />`
      : html`<${Missing} id=${route.id} retired=${retired} />`;
  }
  const changes = changesOf(events.value ?? []);
  const inbox = clusters.filter((one) => isNew(one) || (changes.has(one.id) && !one.retired));
  const rest = clusters.filter((one) => !inbox.includes(one));
  const seen = (one) => {
    localStorage.setItem(SEEN, JSON.stringify([...seenBefore(), changes.get(one.id).mark].slice(-500)));
    look((n) => n + 1);
  };
  const whole = clusters.reduce((sum, one) => sum + one.size, 0);
  if (!clusters.length) {
    return html`<h1>Clusters</h1><${Empty} title="No model has been trained yet"><p>Clusters appear with the first
      model. While devices send, <a href="#/models">a retraining</a> learns one from what they sent.</p><//>`;
  }
  return html`<div class="title"><h1>Clusters</h1>
      <label><input type="checkbox" checked=${retired} onChange=${(event) =>
        choose({ retired: event.target.checked ? "1" : "" })} /> also those of older models</label></div>
    ${registry ? null : html`<p class="banner soft">This server runs a bundle and no registry, so nothing can be changed
      here. Start it with <code>--models</code>.</p>`}
    <${Failure} error=${found.error} />
    <section aria-labelledby="inbox"><h2 id="inbox">Inbox <span class="count">${inbox.length}</span></h2>
      ${inbox.length ? html`<p class="quiet">Nobody has named these yet, or the last retraining has changed them. Take a
        proposed name, give another one, merge them into a cluster that you know, or mute them.</p>
        <ul class="cards wider">${inbox.map((one, i) => html`<${Card} key=${one.id} one=${one} whole=${whole} can=${can}
          changed=${changed} model=${model} windows=${i < SHOWN} change=${changes.get(one.id)} seen=${seen} />`)}</ul>`
        : html`<p class="quiet">Nothing new: every cluster is named, merged or muted.</p>`}
    </section>
    <section aria-labelledby="map"><h2 id="map">Map</h2><${EmbeddingMap} model=${model} /></section>
    ${rest.length ? html`<section aria-labelledby="known"><h2 id="known">Known</h2><ul class="cards">${rest.map(
      (one) => html`<${Card} key=${one.id} one=${one} whole=${whole} can=${can} changed=${changed} />`)}</ul></section>` : null}
    <${Events} events=${events} can=${can} changed=${changed} />`;
}

/** What the last retraining has made of clusters, as far as nobody has looked at it yet: by own id. */
function changesOf(events) {
  const transitions = events.filter((event) => event.what === "transition" && event.deployment !== null);
  const last = Math.max(0, ...transitions.map((event) => event.deployment));
  const seen = new Set(seenBefore());
  const changes = new Map();
  for (const event of transitions.filter((one) => one.deployment === last)) {
    const { kind, from, to, into, share } = event.detail;
    if (!(kind in CHANGES) || (kind === "survive" && share >= SURE)) continue;
    for (const id of kind === "absorb" ? [into] : to) {
      const mark = `${event.number}/${id}`;
      if (id !== null && !seen.has(mark)) changes.set(id, { words: CHANGES[kind], from, share, mark, at_us: event.at_us });
    }
  }
  return changes;
}

function seenBefore() {
  try {
    const found = JSON.parse(localStorage.getItem(SEEN) ?? "[]");
    return Array.isArray(found) ? found : [];
  } catch {
    return [];
  }
}

const isNew = (one) => one.name === "" && one.merged_into === null && !one.muted && !one.retired;

function Missing({ id, retired }) {
  return html`<${Empty} title=${`There is no cluster ${id}`}>${retired ? null : html`<p><a href=${address("clusters", id,
    { retired: "1" })}>Look among those of older models</a></p>`}<p><a href="#/clusters">See all clusters</a></p><//>`;
}

const change = (one, body) => ask(`/clusters/${one.id}`, { method: "PATCH", body, match: one.revision });

function Card({ one, whole, can, changed, model, windows = false, change: was = null, seen = null }) {
  const state = [one.merged_into === null ? "" : `published as ${one.merged_into}`, one.muted ? "muted" : "",
    one.retired ? "of an older model" : ""].filter(Boolean).join(", ");
  return html`<li class="card" data-cluster=${one.id}><h3><${Badge} cluster=${one.public_id} />
      <a href=${address("clusters", one.id)}>${one.label}</a>${state ? html` <span class="state">${state}</span>` : ""}</h3>
    <p>${one.description || html`<span class="quiet">No description.</span>`}</p>
    <p class="quiet">${number(one.size)} training windows${whole > 0 ? ` (${percent(one.size / whole)})` : ""}${
      one.born ? `, since version ${one.born}` : ""}</p>
    ${was ? html`<p class="row"><b class="sign">By the last retraining it ${was.words}${was.from === null || was.from === one.id ? ""
      : ` (from ${was.from})`}</b><button type="button" onClick=${() => seen(one)}>Seen</button></p>` : null}
    ${windows ? html`<${ClusterWindows} cluster=${one} few=${10} model=${model} />` : null}
    ${isNew(one) && one.proposals.length ? html`<${Proposals} one=${one} can=${can} changed=${changed} />` : null}</li>`;
}

function Proposals({ one, can, changed }) {
  const take = async (name) => {
    await change(one, { name });
    await changed();
  };
  const refuse = async (name) => {
    await ask(`/clusters/${one.id}/reject-name`, { method: "POST", body: { name }, match: one.revision });
    await changed();
  };
  return html`<ul class="proposals">${one.proposals.map(({ name, evidence }) => html`<li><b>${name}</b>?
    ${" "}<span class="quiet">${evidence}</span><span class="row">
      <${Act} act=${() => take(name)} may=${can} aria-label=${`Take it: call cluster ${one.id} ${name}`}>Take it<//>
      <${Act} act=${() => refuse(name)} may=${can} aria-label=${`Not this: cluster ${one.id} is not ${name}`}>Not this<//></span></li>`)}</ul>`;
}

function Cluster({ one, clusters, can, changed, model }) {
  const [asking, setAsking] = useState("");
  const others = clusters.filter((other) => other.id !== one.id && other.merged_into === null && !other.retired);
  const merged = clusters.filter((other) => other.merged_into === one.id);
  const history = useAnswer(`history ${one.id} ${one.revision}`, async () =>
    (await ask(`/clusters/${one.id}/history?limit=50`)).items);
  const devices = useAnswer(`devices ${one.public_id}`, () => all(`/devices?cluster=${one.public_id}`, { most: 1000 }), 10_000);
  const save = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    const body = { name: form.get("name"), note: form.get("note"),
      colour: form.get("own") ? form.get("colour") : "" };
    await change(one, body);
    await changed();
  };
  return html`<p class="crumbs"><a href="#/clusters">Clusters</a> ›</p>
    <div class="title"><h1><${Badge} cluster=${one.public_id} /> ${one.label}</h1>
      <span class="quiet">id ${one.id}${one.parent === null ? "" : `, split from ${one.parent}`}</span></div>
    <p>${one.description}</p>
    <p class="quiet">${number(one.size)} training windows${one.born ? `, since version ${one.born}` : ""}${
      one.muted ? ", muted: its labels are made, and marked as muted" : ""}${one.retired ? ", not in the model of now" : ""}</p>
    ${one.proposals.length ? html`<h2>Proposed names</h2><${Proposals} one=${one} can=${can} changed=${changed} />` : null}
    <${Form} one=${one} can=${can} save=${save} />
    <p class="row">
      <${Act} may=${can} id="mute" act=${() => change(one, { muted: !one.muted }).then(changed)}>${one.muted ? "Unmute" : "Mute"}<//>
      <button type="button" id="merge" disabled=${!can || !others.length} onClick=${() => setAsking("merge")}>Merge into …</button>
      <button type="button" id="split" disabled=${!can || !merged.length} onClick=${() => setAsking("split")}>Split back …</button>
      <button type="button" disabled=${!can || !others.length} onClick=${() => setAsking("not")}>It is not …</button></p>
    ${merged.length ? html`<p>Also published under this id: ${merged.map((other) => html`<${ClusterName} cluster=${other.id}
      told=${other.label} /> `)}</p>` : null}
    ${asking === "merge" ? html`<${Asking} title="Merge" verb="Merge" done=${() => setAsking("")} act=${(form) =>
      ask(`/clusters/${one.id}/merge`, { method: "POST", body: { into: Number(form.get("other")) }, match: one.revision }).then(changed)}>
      <p>Labels of ${one.label} are published under the id and name of the other one, from the next label on. What is
        stored stays, and it can be undone.</p><${Others} others=${others} words="Merge into" /><//>` : null}
    ${asking === "split" ? html`<${Asking} title="Split back" verb="Split" done=${() => setAsking("")} act=${(form) =>
      ask(`/clusters/${one.id}/split`, { method: "POST", body: { ids: form.getAll("id").map(Number) }, match: one.revision }).then(changed)}>
      <p>These get their own ids again:</p>${merged.map((other) => html`<label><input type="checkbox" name="id"
        value=${other.id} checked /> ${other.id}${other.name ? ` (${other.name})` : ""}</label>`)}<//>` : null}
    ${asking === "not" ? html`<${Asking} title="It is not …" verb="Say so" done=${() => setAsking("")} act=${(form) =>
      ask(`/clusters/${one.id}/reject`, { method: "POST", body: { other: Number(form.get("other")) }, match: one.revision }).then(changed)}>
      <p>The two are never merged, nor given one another's id by a retraining.</p>
      <${Others} others=${others} words="It is not" /><//>` : null}
    <section aria-labelledby="windows"><h2 id="windows">Windows that the model learned from</h2><${ClusterWindows} cluster=${one} model=${model} /></section>
    <${Typical} cluster=${one} />
    <section><h2>Devices that do it now</h2>${devices.value === null ? html`<${Loading} what="devices" />`
      : devices.value.length ? html`<ul class="inline">${devices.value.slice(0, 50).map((device) =>
        html`<li><a href=${address("device", device.id)}>${device.id}</a></li>`)}</ul>
        <p class="quiet">${number(devices.value.length)} in all</p>` : html`<p class="quiet">None.</p>`}</section>
    <${Events} events=${history} can=${can} changed=${changed} title="What happened to it" />`;
}

/** At which hours, and by which devices, over the last week. */
function Typical({ cluster }) {
  const path = `/clusters/${cluster.id}/activity?zone_s=${-60 * new Date().getTimezoneOffset()}`;
  const answer = useAnswer(path, () => ask(path));
  const told = answer.value;
  if (!told) return answer.error ? answer.error.status === 503 ? null : html`<${Failure} error=${answer.error} /> `
    : html`<${Loading} what="its hours" />`;
  const most = Math.max(...told.hours, 1e-9);
  return html`<section aria-labelledby="typical"><h2 id="typical">When and by whom <span class="quiet small">episodes of the last 7 days that have ended</span></h2>
    ${told.seconds === 0 ? html`<p class="quiet">No device has done it for long enough.</p>` : html`
    <p>${duration(told.seconds)} by ${number(told.devices)} devices${told.complete ? "" : "; there are more episodes than were counted"}.</p>
    <div class="hours" role="img" aria-label=${`Most at ${told.hours.indexOf(Math.max(...told.hours))} o'clock`}>${told.hours.map((seconds, hour) =>
      html`<span title=${`${hour}–${hour + 1} h: ${duration(seconds)}`}><i style=${{ height: `${(100 * seconds) / most}%` }}></i><b>${hour % 6 === 0 ? hour : ""}</b></span>`)}</div>
    <ul class="inline">${told.most.map((one) => html`<li><a href=${address("device", one.device)}>${one.device}</a>
      ${" "}<span class="quiet">${duration(one.seconds)}</span></li>`)}</ul>`}</section>`;
}

function Others({ others, words }) {
  return html`<label>${words} <select name="other">${others.map((other) => html`<option value=${other.id}>${other.id}: ${
    other.label}</option>`)}</select></label>`;
}

function Form({ one, can, save }) {
  const [own, setOwn] = useState(one.colour !== "");
  const [error, setError] = useState(null);
  const send = (event) => {
    setError(null);
    save(event).catch(setError);
  };
  return html`<form class="row" onSubmit=${send} key=${one.revision}>
    <label>Name <input name="name" id="name" maxlength="64" defaultValue=${one.name} disabled=${!can} /></label>
    <label>Note <input name="note" maxlength="200" defaultValue=${one.note} disabled=${!can} /></label>
    <label><input type="checkbox" name="own" checked=${own} disabled=${!can} onChange=${(event) =>
      setOwn(event.target.checked)} /> own colour</label>
    <label class=${own ? "" : "gone"}><span class="unseen">Colour</span><input type="color" name="colour"
      defaultValue=${one.colour || colour(one.public_id)} disabled=${!can || !own} /></label>
    <button class="main" id="save" disabled=${!can}>Save</button><${Failure} error=${error} /></form>`;
}

function Events({ events, can, changed, title = "What was changed" }) {
  if (events.error) return events.error.status === 409 ? null : html`<${Failure} error=${events.error} />`;
  if (!events.value?.length) return null;
  const undo = async (event) => {
    await ask("/cluster-events/undo", { method: "POST", body: { event } });
    await Promise.all([changed(), events.again()]);
  };
  const undone = new Set(events.value.map((one) => one.undoes));
  return html`<section><h2>${title}</h2><table class="plain events"><thead><tr><th scope="col">When</th><th scope="col">Who</th>
    <th scope="col">What</th><th scope="col"><span class="unseen">Undo</span></th></tr></thead>
    <tbody>${events.value.slice(0, 50).map((one) => html`<tr><td><${Ago} us=${one.at_us} /></td><td>${one.who}</td>
      <td>${inWords(one)}</td><td>${one.changes.length === 0 || one.what === "born" ? "" : undone.has(one.number) ? html`<span class="quiet">undone</span>`
        : html`<${Act} act=${() => undo(one.number)} may=${can} aria-label=${`Undo: ${inWords(one)}`}>Undo<//>`}</td></tr>`)}
    </tbody></table></section>`;
}

function inWords(event) {
  const facts = event.changes.filter(({ field }) => field !== "parent").slice(0, 4)
    .map(({ id, field, after }) => `${field.replaceAll("_", " ")} of ${id}: ${after === null || after === "" ? "none" : String(after)}`);
  const what = event.undoes === null ? event.what.replaceAll("_", " ") : `undo of ${event.undoes}`;
  return `${what} ${event.ids.length > 6 ? `${event.ids.length} clusters` : event.ids.join(", ")}${
    facts.length && event.ids.length <= 6 ? ` (${facts.join("; ")})` : ""}`;
}
