// Asks the API. Every answer that is no success becomes an ApiError, whose words are those of the server.
const ROOT = "api/v1";
const TIMEOUT_MS = 30_000;

export class ApiError extends Error {
  /** @param {number} status @param {string} message @param {string} remedy */
  constructor(status, message, remedy) {
    super(message);
    this.status = status;
    this.remedy = remedy;
  }
}

/**
 * One request.
 * @param {string} path below that of the API
 * @param {{method?: string, body?: unknown, match?: number|null, signal?: AbortSignal}} [options]
 * @returns {Promise<any>} the answer; null if it is empty
 */
export async function ask(path, { method = "GET", body, match = null, signal } = {}) {
  /** @type {Record<string, string>} */
  const headers = {};
  if (body !== undefined) headers["content-type"] = "application/json";
  if (match !== null) headers["if-match"] = `"${match}"`;
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  let answer;
  try {
    answer = await fetch(`${ROOT}${path}`, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "the server does not answer", "Is it running? What is shown is from before.");
  }
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  throw await problemOf(answer);
}

async function problemOf(answer) {
  let told = {};
  try {
    told = await answer.json();
  } catch {
    // no problem in JSON: from a proxy, or the login that has ended
  }
  if (answer.status === 401) {
    return new ApiError(401, "you are not logged in", "Open this page with its token again: /?token=…");
  }
  return new ApiError(answer.status, told.detail || told.title || `answer ${answer.status}`, told.remedy || "");
}

/**
 * All items of a list, page by page.
 * @param {string} path may have a query
 * @param {{most?: number, signal?: AbortSignal}} [options]
 */
export async function all(path, { most = 20_000, signal } = {}) {
  const items = [];
  let cursor = "";
  do {
    const limit = Math.min(1000, most - items.length);
    const page = await ask(withQuery(path, { limit, cursor }), { signal });
    items.push(...page.items);
    cursor = page.next ?? "";
  } while (cursor && items.length < most);
  return items;
}

/** Add what is given to the query of a path; what is empty is left out. */
export function withQuery(path, query) {
  const pairs = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  if (pairs.length === 0) return path;
  const text = new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
  return `${path}${path.includes("?") ? "&" : "?"}${text}`;
}

/** The address of a file that the API makes. */
export function fileAddress(path, query) {
  return withQuery(`${ROOT}${path}`, query);
}
