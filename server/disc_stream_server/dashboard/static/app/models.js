// Versions of the model: where each comes from, what the acceptance gate said, and what goes into production.
import { html, useState } from "../vendor/htm-preact.js";
import { all, ask } from "./api.js";
import { Act, Ago, Asking, Empty, Failure, Loading, useAnswer } from "./parts.js";
import { address } from "./router.js";
import { Drift, Training } from "./training.js";
import { full, number } from "./words.js";

const FRESH_MS = 5000;

export function Models({ route, server, may }) {
  const found = useAnswer("models", () => all("/models"), FRESH_MS);
  const deployed = useAnswer("deployments", async () => (await ask("/deployments?limit=50")).items, FRESH_MS);
  const [asking, setAsking] = useState(null);
  const again = () => Promise.all([found.again(), deployed.again(), server.again(), server.readClusters()]);
  if (found.error?.status === 409) {
    return html`<h1>Models</h1><p>Model in use: <code>${server.health?.model}</code></p><${Failure} error=${found.error} />
      <${Retraining} server=${server} may=${may} again=${again} />`;
  }
  if (!found.value) return found.error ? html`<${Failure} error=${found.error} retry=${found.again} />`
    : html`<h1>Models</h1><${Loading} what="models" />`;
  const versions = found.value;
  const one = versions.find((version) => String(version.number) === route.id)
    ?? versions.find((version) => version.state === "in production") ?? versions[0];
  return html`<div class="title"><h1>Models</h1>
      <button type="button" id="rollback" disabled=${!may("admin") || (deployed.value?.length ?? 0) < 2}
        title=${may("admin") ? "" : "Only for the role admin"} onClick=${() => setAsking({ kind: "rollback" })}>Roll back …</button></div>
    <${Failure} error=${found.error} />
    <${Retraining} server=${server} may=${may} again=${again} />
    ${versions.length === 0 ? html`<${Empty} title="No version yet"><p>The first retraining makes one.</p><//>` : html`
    <div class="columns"><section><h2>Versions</h2><table class="plain"><thead><tr><th scope="col">Version</th>
      <th scope="col">State</th><th scope="col">Clusters</th><th scope="col">Made</th></tr></thead>
      <tbody>${versions.map((version) => html`<tr class=${version === one ? "picked" : ""}>
        <td><a href=${address("models", version.number)} aria-current=${version === one ? "true" : null}>${version.number}</a>
          ${" "}<code class="quiet">${version.version.slice(0, 8)}</code></td>
        <td>${version.state === "in production" ? html`<b>in production</b>` : version.state}</td>
        <td>${version.clusters}</td><td><${Ago} us=${version.added_us} /></td></tr>`)}</tbody></table></section>
      <${Version} one=${one} versions=${versions} may=${may} ask_=${setAsking} /></div>`}
    <${Drift} />
    <${Deployments} deployed=${deployed} />
    ${asking ? html`<${Question} ...${asking} done=${() => {
      setAsking(null);
      again();
    }} />` : null}`;
}

function Question({ kind, one, done }) {
  const why = html`<label>Why <input name="why" maxlength="200" required=${kind !== "pardon"} /></label>`;
  const post = (path, body) => ask(path, { method: "POST", body });
  if (kind === "rollback") {
    return html`<${Asking} title="Roll back" verb="Roll back" done=${done} act=${(form) =>
      post("/deployments/rollback", { why: form.get("why") })}><p>The version before goes into production again, with
      its clusters; names stay as they are.</p>${why}<//>`;
  }
  if (kind === "reject") {
    return html`<${Asking} title=${`Reject version ${one.number}`} verb="Reject" done=${done} act=${(form) =>
      post(`/models/${one.number}/reject`, { why: form.get("why") })}><p>It is not promoted any more unless somebody says
      so in spite of this.</p>${why}<//>`;
  }
  const failed = one.lineage.gate.filter((check) => !check.passed);
  return html`<${Asking} title=${`Promote version ${one.number}`} verb="Promote" done=${done} act=${(form) =>
    post(`/models/${one.number}/promote`, { why: form.get("why"), even_rejected: form.get("even") === "on" })}>
    <p>The server follows within moments, between two batches.</p>
    ${failed.length ? html`<p class="banner">The acceptance gate did not let it pass: ${failed.map((c) => c.measure).join(", ")}.</p>` : null}
    ${one.state === "rejected" ? html`<label><input type="checkbox" name="even" /> although it was rejected: ${
      one.rejected}</label>` : null}${why}<//>`;
}

function Version({ one, versions, may, ask_ }) {
  const { lineage } = one;
  const parent = versions.find((version) => version.version === lineage.parent);
  const facts = [
    ["Made", full(one.added_us)], ["Method", lineage.method || "–"],
    ["Learned from", `${number(lineage.windows)} windows${lineage.devices ? ` of ${number(lineage.devices)} devices` : ""}`],
    ["Begun from", parent ? html`<a href=${address("models", parent.number)}>version ${parent.number}</a>` : lineage.parent?.slice(0, 8) ?? "nothing"],
    ["Clusters", one.ids === null ? one.clusters : html`${one.ids.map((id) => html`<a href=${address("clusters", id, { retired: "1" })}>${id}</a> `)}`],
    ["Hash", html`<code>${one.version}</code>`], ...(lineage.note ? [["Note", lineage.note]] : []),
    ...(one.rejected ? [["Rejected", one.rejected]] : []), ...(one.marked ? [["Marked", one.marked]] : []),
  ];
  const may_ = may("admin");
  return html`<section aria-labelledby="version"><h2 id="version">Version ${one.number}</h2>
    <dl class="facts">${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    <p class="row"><button type="button" class="main" id="promote" disabled=${!may_ || one.state === "in production" || one.state === "pruned"}
        title=${may_ ? "" : "Only for the role admin"} onClick=${() => ask_({ kind: "promote", one })}>Promote …</button>
      <button type="button" disabled=${!may_ || one.state === "in production" || one.state === "rejected"}
        onClick=${() => ask_({ kind: "reject", one })}>Reject …</button></p>
    <${Lineage} one=${one} versions=${versions} />
    <${Gate} gate=${lineage.gate} />
    <${Training} version=${one.version} />
    <${Numbers} title="Measured at the end of training" values=${lineage.metrics} />
    <${Numbers} title="Settings" values=${lineage.settings} /></section>`;
}

/** The versions that it was begun from, the oldest first, and those that were begun from it. */
function Lineage({ one, versions }) {
  const by = new Map(versions.map((version) => [version.version, version]));
  const line = [one];
  while (line.length < 20) {
    const before = by.get(line[0].lineage.parent ?? "");
    if (!before || line.includes(before)) break;
    line.unshift(before);
  }
  const after = versions.filter((version) => version.lineage.parent === one.version && version !== one);
  if (line.length === 1 && !after.length) return null;
  const link = (version) => html`<a href=${address("models", version.number)} aria-current=${version === one ? "true" : null}
    class=${version === one ? "here" : ""}>${version.number}</a><span class="quiet small"> ${version.clusters} clusters${
    version.state === "in production" ? ", in production" : version.state === "rejected" ? ", rejected" : ""}</span>`;
  return html`<h3>Lineage</h3><ol class="lineage">${line.map((version) => html`<li>${link(version)}</li>`)}
    ${after.length ? html`<li class="after">${after.map((version) => html`<span>${link(version)}</span>`)}</li>` : null}</ol>`;
}

/** The gate's report: each measure beside the limit that it was held against. */
function Gate({ gate }) {
  if (!gate.length) return html`<p class="quiet">It was added without an acceptance gate.</p>`;
  return html`<table class="plain gate"><caption>Acceptance gate: ${gate.every((one) => one.passed) ? "passed"
    : `${gate.filter((one) => !one.passed).length} of ${gate.length} checks failed`}</caption><thead><tr><th scope="col">Measure</th>
    <th scope="col">Value</th><th scope="col">Limit</th><th scope="col">Result</th></tr></thead>
    <tbody>${gate.map((check) => html`<tr class=${check.passed ? "" : "failed"}><td>${check.measure}<br />
      <span class="quiet small">${check.reason}</span></td>
      <td>${shown(check.value)}<${Against} ...${check} /></td><td>${shown(check.limit)}</td>
      <td>${check.passed ? "✓ passed" : "✗ failed"}</td></tr>`)}</tbody></table>`;
}

function Against({ value, limit }) {
  if (value === null || limit === null || !(Math.max(Math.abs(value), Math.abs(limit)) > 0)) return null;
  const most = Math.max(Math.abs(value), Math.abs(limit)) * 1.1;
  return html`<span class="against" aria-hidden="true"><i style=${{ width: `${(100 * Math.abs(value)) / most}%` }}></i>
    <u style=${{ left: `${(100 * Math.abs(limit)) / most}%` }}></u></span>`;
}

const shown = (value) => (typeof value === "number" ? (Number.isInteger(value) ? number(value) : value.toPrecision(4)) : "–");

function Numbers({ title, values }) {
  const rows = Object.entries(values ?? {}).filter(([, value]) => typeof value !== "object" || value === null);
  if (!rows.length) return null;
  return html`<details><summary>${title} (${rows.length})</summary><dl class="facts">${rows.map(([name, value]) =>
    html`<div><dt>${name.replaceAll("_", " ")}</dt><dd>${typeof value === "number" ? shown(value) : String(value)}</dd></div>`)}</dl></details>`;
}

function Retraining({ server, may, again }) {
  const answer = useAnswer("retraining", () => ask("/retraining"), 2000);
  const decisions = useAnswer("decisions", async () => (await ask("/retraining/history?limit=20")).items, FRESH_MS);
  if (!answer.value) return html`<${Failure} error=${answer.error} />`;
  const told = server.health?.status.retraining; // comes with each status, so sooner than the answer
  const now = { ...answer.value, ...(told ?? {}) };
  const runs = now.phase !== "idle" && now.phase !== "";
  const start = async () => {
    await ask("/retraining", { method: "POST", body: { why: "asked for on the page" } });
    await Promise.all([answer.again(), decisions.again(), again()]);
  };
  return html`<section aria-labelledby="retraining"><h2 id="retraining">Retraining</h2>
    ${now.possible ? html`<p class="row"><span><b>${now.phase || "idle"}</b>${now.words ? html` <span class="quiet">${now.words}</span>` : ""}
        ${now.due_us > 0 ? html` <span class="quiet">next: ${full(now.due_us)}</span>` : ""}</span>
      <${Act} id="retrain" act=${start} may=${may("operator")} disabled=${runs}>Retrain now<//></p>
      ${now.total > 0 ? html`<progress max=${now.total} value=${now.done} aria-label=${now.phase}></progress>
        <span class="quiet">${number(now.done)} of ${number(now.total)}</span>` : null}`
      : html`<p class="quiet">This server does not retrain. Give it a mapping <code>retrain</code> in its${" "}
        <code>--config</code>, or run <code>disc-stream retrain</code>.</p>`}
    ${now.last ? html`<p class="quiet">Last: ${now.last}</p>` : null}
    ${decisions.value?.length ? html`<details><summary>What was decided (${decisions.value.length} newest)</summary>
      <table class="plain"><tbody>${decisions.value.map((one) => html`<tr><td><${Ago} us=${one.at_us} /></td><td>${one.event}</td>
        <td class="quiet">${Object.entries(one.facts).filter(([, value]) => typeof value !== "object").slice(0, 6)
          .map(([name, value]) => `${name}: ${typeof value === "number" ? shown(value) : value}`).join(", ")}</td></tr>`)}</tbody></table>
      </details>` : null}</section>`;
}

function Deployments({ deployed }) {
  if (!deployed.value?.length) return null;
  return html`<section><h2>In production</h2><table class="plain"><thead><tr><th scope="col">When</th><th scope="col">Version</th>
    <th scope="col">How</th><th scope="col">Who</th><th scope="col">Why</th></tr></thead><tbody>${deployed.value.map((one) => html`<tr>
      <td><${Ago} us=${one.at_us} /></td><td><a href=${address("models", one.version_number)}>${one.version_number}</a></td>
      <td>${one.kind}</td><td>${one.who}</td><td>${one.why}</td></tr>`)}</tbody></table></section>`;
}
