// The view, and what is chosen in it, stand in the address behind #: it can be shared, and survives a reload.
import { useEffect, useState } from "../vendor/htm-preact.js";

export const VIEWS = ["fleet", "device", "clusters", "models", "health"];

/** @returns {{view: string, id: string, query: Record<string, string>}} */
export function readRoute() {
  const [path, search = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, ...rest] = path.split("/");
  let id = rest.join("/");
  try {
    id = decodeURIComponent(id);
  } catch {
    id = "";
  }
  return { view: VIEWS.includes(view) ? view : "fleet", id, query: Object.fromEntries(new URLSearchParams(search)) };
}

export function address(view, id = "", query = {}) {
  const kept = Object.entries(query).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  const search = new URLSearchParams(kept.map(([name, value]) => [name, String(value)])).toString();
  return `#/${view}${id === "" ? "" : `/${encodeURIComponent(id)}`}${search ? `?${search}` : ""}`;
}

/** Change what is chosen in the view; no entry in the browser's history, so that Back leaves the view. */
export function choose(changes) {
  const { view, id, query } = readRoute();
  history.replaceState(null, "", address(view, id, { ...query, ...changes }));
  dispatchEvent(new Event("routed"));
}

export function useRoute() {
  const [route, setRoute] = useState(readRoute);
  useEffect(() => {
    const read = () => setRoute(readRoute());
    addEventListener("hashchange", read);
    addEventListener("routed", read);
    return () => {
      removeEventListener("hashchange", read);
      removeEventListener("routed", read);
    };
  }, []);
  return route;
}
