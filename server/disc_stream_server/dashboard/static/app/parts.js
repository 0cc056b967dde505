// Small parts that all views share.
import { html, useCallback, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { colour, hatchClass, inkOn, isState, nameOf, sign } from "./palette.js";
import { ago, full, percent, sentence } from "./words.js";

/** A cluster's number on its colour; its name stands beside it. */
export function Badge({ cluster }) {
  const style = { background: colour(cluster), color: inkOn(cluster) };
  return html`<span class=${`badge ${hatchClass(cluster)}`} style=${style} aria-hidden="true"
    ><b>${sign(cluster)}</b></span>`;
}

export function ClusterName({ cluster, told }) {
  const name = nameOf(cluster, told);
  const numbered = isState(cluster) || name.match(/\d+/)?.[0] === String(cluster);
  return html`<span class="named"><${Badge} cluster=${cluster} /><span class="name">${name}${
    numbered ? "" : html`<span class="unseen"> (cluster ${cluster})</span>`}</span></span>`;
}

export function Meter({ value, label = "confidence" }) {
  const shown = Math.round(value * 100);
  return html`<span class="meter" role="meter" aria-label=${label} aria-valuemin="0" aria-valuemax="100"
    aria-valuenow=${shown} aria-valuetext=${percent(value)}><i style=${{ width: `${shown}%` }}></i></span>
    <span class="percent" aria-hidden="true">${percent(value)}</span>`;
}

export function Ago({ us }) {
  return us ? html`<time datetime=${new Date(us / 1000).toISOString()} title=${full(us)}>${ago(us)}</time>` : "–";
}

/** What went wrong, and what to do; nothing without an error. */
export function Failure({ error, retry }) {
  if (!error) return null;
  return html`<div class="failure" role="alert"><p><b>${sentence(error.message)}</b></p>
    ${error.remedy ? html`<p>${sentence(error.remedy)}</p>` : null}
    ${retry ? html`<button type="button" onClick=${retry}>Try again</button>` : null}</div>`;
}

export function Loading({ what }) {
  return html`<p class="quiet loading" role="status">Loading ${what} …</p>`;
}

export function Empty({ title, children }) {
  return html`<div class="empty"><h2>${title}</h2>${children}</div>`;
}

/**
 * What a request answers, anew whenever the key changes, and every so many milliseconds.
 * @returns {{value: any, error: any, again: () => Promise<void>}}
 */
export function useAnswer(key, make, everyMs = 0) {
  const [state, setState] = useState({ key: null, value: null, error: null });
  const current = useRef(key);
  current.current = key;
  const again = useCallback(async () => {
    try {
      const value = await make();
      if (current.current === key) setState({ key, value, error: null });
    } catch (error) {
      if (current.current === key) setState((old) => ({ key, value: old.key === key ? old.value : null, error }));
    }
  }, [key]);
  useEffect(() => {
    let timer = 0;
    let gone = false;
    const turn = async () => {
      if (!document.hidden) await again();
      if (everyMs && !gone) timer = setTimeout(turn, everyMs);
    };
    turn();
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [again, everyMs]);
  const fresh = state.key === key;
  return { value: fresh ? state.value : null, error: fresh ? state.error : null, again };
}

/** The time, again every second while the page is seen. */
export function useClock(everyMs = 1000) {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || tick((n) => n + 1), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
}

/**
 * A button that does something at the server. It says what failed beside itself, and cannot be pressed twice.
 * @param {{act: () => Promise<any>, may?: boolean, needs?: string, children?: any, [more: string]: any}} props
 */
export function Act({ act, may = true, needs = "operator", children, ...rest }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const press = async () => {
    setBusy(true);
    setError(null);
    try {
      await act();
    } catch (failed) {
      setError(failed);
    }
    setBusy(false);
  };
  return html`<span class="act"><button type="button" ...${rest} disabled=${busy || !may || rest.disabled}
      title=${may ? rest.title : `Only for the role ${needs}`} onClick=${press}>${children}</button>
    <${Failure} error=${error} /></span>`;
}

/**
 * A dialog that asks before something is done.
 * @param {{title: string, act: (form: FormData) => Promise<any>, done: () => void, verb: string, children?: any}} props
 */
export function Asking({ title, act, done, verb, children }) {
  const dialog = useRef(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => dialog.current.showModal(), []);
  const send = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await act(new FormData(event.target));
      done();
    } catch (failed) {
      setError(failed);
      setBusy(false);
    }
  };
  return html`<dialog ref=${dialog} aria-labelledby="asking" onClose=${done}>
    <form onSubmit=${send}><h2 id="asking">${title}</h2>${children}<${Failure} error=${error} />
      <p class="row"><button class="main" disabled=${busy}>${verb}</button>
        <button type="button" onClick=${done}>Cancel</button></p></form></dialog>`;
}
