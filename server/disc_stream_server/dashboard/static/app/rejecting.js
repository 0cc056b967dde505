// "This is wrong": what the next retraining obeys.
import { html, useState } from "../vendor/htm-preact.js";
import { all, ask, withQuery } from "./api.js";
import { Act, Asking, ClusterName, Failure, useAnswer } from "./parts.js";
import { knownClusters } from "./palette.js";
import { clock, duration, full } from "./words.js";

export function Rejecting({ episode, may, done }) {
  const others = knownClusters().filter((one) => !one.retired && one.id !== episode.cluster);
  const send = (form) => ask("/rejections", { method: "POST", body: {
    device: episode.device, from_us: episode.begin_us, until_us: episode.end_us, cluster: episode.cluster,
    instead: form.get("instead") === "" ? null : Number(form.get("instead")), note: form.get("note") } });
  return html`<${Asking} title="This is wrong" verb="Say that it is wrong" act=${send} done=${done}>
    <p><${ClusterName} cluster=${episode.cluster} told=${episode.name} /> from ${full(episode.begin_us)},
      ${" "}${duration((episode.end_us - episode.begin_us) / 1e6)}</p>
    <label>It should be <select name="instead" disabled=${!may}><option value="">something else</option>
      ${others.map((one) => html`<option value=${one.id}>${one.label}</option>`)}</select></label>
    <label>Note <input name="note" maxlength="200" disabled=${!may} /></label>
    <p class="quiet">The next retraining does not learn from these windows as ${episode.name}${
      ""}; what was published stays as it is.${may ? "" : " This needs the role operator."}</p><//>`;
}

export function Rejections({ device, may }) {
  const [turn, setTurn] = useState(0);
  const path = withQuery("/rejections", { device });
  const answer = useAnswer(`${path} ${turn}`, () => all(path, { most: 1000 }));
  const standing = (answer.value ?? []).filter((one) => one.withdrawn_us === null).reverse();
  if (answer.error) return html`<${Failure} error=${answer.error} />`;
  if (!standing.length) return null;
  const withdraw = async (number) => {
    await ask(`/rejections/${number}`, { method: "DELETE" });
    setTurn(turn + 1);
  };
  return html`<table class="plain" id="rejections"><caption>Said to be wrong</caption><thead><tr><th scope="col">What</th>
    <th scope="col">When</th><th scope="col">Instead</th><th scope="col">By</th><th scope="col"><span class="unseen">Do</span></th></tr></thead>
    <tbody>${standing.slice(0, 20).map((one) => html`<tr><td><${ClusterName} cluster=${one.cluster} /></td>
      <td title=${full(one.from_us)}>${clock(one.from_us)} – ${clock(one.until_us)}</td>
      <td>${one.instead === null ? "–" : html`<${ClusterName} cluster=${one.instead} />`}</td><td>${one.who}</td>
      <td><${Act} act=${() => withdraw(one.number)} may=${may}>Take back<//></td></tr>`)}</tbody></table>`;
}
