// The connection to the server: states and updates, and whether it is alive.

const DEAF_AFTER_MS = 4000; // the server speaks at least once a second
const RETRY_MS = 1500;

// Returns a function that changes what is asked for: the query part of the address.
export function connect(firstQuery, { onState, onUpdate, onUp, onDown }) {
  let source = null;
  let query = firstQuery;
  let retry = null;
  let lastHeard = performance.now();
  let up = false;

  function heard() {
    lastHeard = performance.now();
    if (!up) {
      up = true;
      onUp();
    }
  }

  function lost() {
    if (source) source.close();
    source = null;
    if (up) {
      up = false;
      onDown();
    }
  }

  function openLater() {
    clearTimeout(retry);
    retry = setTimeout(open, RETRY_MS);
  }

  function open() {
    clearTimeout(retry);
    if (source) source.close();
    lastHeard = performance.now();
    source = new EventSource(`api/stream${query}`);
    source.addEventListener("state", (event) => {
      heard();
      onState(JSON.parse(event.data));
    });
    source.addEventListener("update", (event) => {
      heard();
      onUpdate(JSON.parse(event.data));
    });
    source.addEventListener("error", () => {
      up = true; // the first failure counts as a loss too
      lost();
      openLater();
    });
  }

  open();
  setInterval(() => {
    if (source && performance.now() - lastHeard > DEAF_AFTER_MS) {
      up = true;
      lost();
      openLater();
    }
  }, 1000);

  return (next) => {
    if (next === query) return;
    query = next;
    open();
  };
}
