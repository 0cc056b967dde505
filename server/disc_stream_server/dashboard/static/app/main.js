// The shell: navigation, connection, who one is, and the view that the address names.
import { html, render, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { all, ask } from "./api.js";
import { Clusters } from "./clusters.js";
import { Device } from "./device.js";
import { Fleet } from "./fleet.js";
import { Health } from "./health.js";
import { listen, live } from "./live.js";
import { Models } from "./models.js";
import { setClusters } from "./palette.js";
import { Failure } from "./parts.js";
import { address, useRoute } from "./router.js";
import { sentence, setServerTime } from "./words.js";

const TITLES = { fleet: "Fleet", clusters: "Clusters", models: "Models", health: "Health" };
const SHOWN = { fleet: Fleet, device: Device, clusters: Clusters, models: Models, health: Health };
const ASK_MS = 5000;
const RANK = { viewer: 0, operator: 1, admin: 2 };
const THEMES = { auto: "as the system", light: "light", dark: "dark" };

function App() {
  const route = useRoute();
  const server = useServer();
  const View = SHOWN[route.view];
  const main = useRef(null);
  const first = useRef(true);
  useEffect(() => {
    document.title = `${route.id || TITLES[route.view]} · disc-stream`;
    if (!first.current) main.current.focus({ preventScroll: true }); // a screen reader begins with the new view
    first.current = false;
    scrollTo(0, 0);
  }, [route.view, route.id]);
  const may = (role) => RANK[server.me?.role] >= RANK[role];
  return html`
    <a class="skip" href="#view" onClick=${(event) => {
      event.preventDefault();
      main.current.focus();
    }}>Skip to the content</a>
    <header>
      <strong class="brand">disc-stream</strong>
      <nav aria-label="Views">${Object.entries(TITLES).map(
        ([view, title]) => html`<a href=${address(view)}
          aria-current=${view === route.view || (view === "fleet" && route.view === "device") ? "page" : null}>${
          title}</a>`)}</nav>
      <${Connection} server=${server} />
      <${Theme} />
    </header>
    <div class="banners" role="status" aria-live="polite">${server.trouble
      ? html`<p class="banner">${server.trouble}</p>` : null}</div>
    ${route.view === "fleet" && server.health?.notice ? html`<aside class="about" aria-label="About this server">
      ${server.health.notice} <a href="cards">Cards</a></aside>` : null}
    <main ref=${main} tabindex="-1" id="view">
      ${server.error && !server.health ? html`<${Failure} error=${server.error} retry=${server.again} />`
        : html`<${View} key=${`${route.view}/${route.id}`} route=${route} server=${server} may=${may} />`}
    </main>`;
}

/** What the server says of itself, with the names of all clusters. */
function useServer() {
  const [state, setState] = useState({ health: null, me: null, error: null, up: live.up, revision: 0 });
  const put = (changes) => setState((old) => ({ ...old, ...changes }));
  const who = useRef(null); // asked once, and anew with each connection: a role seldom changes
  const again = async () => {
    try {
      const [health, me] = await Promise.all([ask("/health"), who.current ?? ask("/me")]);
      who.current = me;
      setServerTime(health.now_us);
      put({ health, me, error: null });
    } catch (error) {
      put({ error });
    }
  };
  const readClusters = async () => {
    try {
      setClusters(await all("/clusters?retired=true"));
      setState((old) => ({ ...old, revision: old.revision + 1 }));
    } catch {
      // names of the labels themselves are shown until it goes
    }
  };
  useEffect(() => {
    live.start();
    again();
    readClusters();
    const timers = [setInterval(() => document.hidden || again(), ASK_MS),
      setInterval(() => document.hidden || readClusters(), 6 * ASK_MS)];
    const connected = () => {
      who.current = null;
      put({ up: live.up });
      again();
    };
    live.addEventListener("connection", connected);
    const deaf = listen("status", (status) => setState((old) => old.health
      ? { ...old, health: { ...old.health, status } } : old));
    return () => {
      timers.forEach(clearInterval);
      live.removeEventListener("connection", connected);
      deaf();
    };
  }, []);
  return { ...state, again, readClusters, trouble: troubleOf(state) };
}

/** What somebody who looks must know, worst first; "" if all is well. */
function troubleOf({ health, error, up }) {
  if (error) return `${sentence(error.message)} ${sentence(error.remedy)}`;
  if (health === null) return "";
  if (!up) return "No connection to the live feed; it is tried again. What is shown may be old.";
  const { status } = health;
  if (status.connected === false) return "The server has lost its broker and is reconnecting: nothing new can come.";
  if (health.waits_for) return `The server waits for ${health.waits_for}. The broker keeps what devices send meanwhile.`;
  if (status.backlog > 1000) {
    return `The server is behind: ${status.backlog} messages wait to be labelled. None is lost.`;
  }
  return "";
}

function Connection({ server }) {
  const good = server.up && !server.error && server.health?.ready;
  const words = server.health === null ? "connecting" : !server.up || server.error ? "offline"
    : good ? "live" : "not ready";
  return html`<span class=${`connection ${good ? "good" : "bad"}`} role="status"><i aria-hidden="true"></i>${words}</span>
    ${server.me ? html`<span class="me quiet">${server.me.name} (${server.me.role})</span>` : null}`;
}

function Theme() {
  const [theme, setTheme] = useState(document.documentElement.dataset.theme);
  const set = (event) => {
    const next = event.target.value;
    document.documentElement.dataset.theme = next;
    localStorage.setItem("disc-stream-theme", next);
    setTheme(next);
    dispatchEvent(new Event("themed"));
  };
  return html`<label class="theme"><span class="unseen">Colours</span><select value=${theme} onChange=${set}>
    ${Object.entries(THEMES).map(([value, words]) => html`<option value=${value}>${words}</option>`)}</select></label>`;
}

render(html`<${App} />`, document.getElementById("app"));
