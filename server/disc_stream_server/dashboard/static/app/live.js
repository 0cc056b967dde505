// The live feed: one WebSocket for the whole page, which is told what the view on it looks at.
const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const BETWEEN_MS = 300; // two filters; the server takes five a second
const NOBODY = ["0.nobody"]; // an empty list of devices would mean all of them

class Live extends EventTarget {
  constructor() {
    super();
    this.up = false;
    this.status = {};
    this._wanted = { devices: NOBODY, tags: [], clusters: [], traces: [] };
    this._socket = null;
    this._tries = 0;
    this._timer = 0;
    this._sentAt = 0;
  }

  start() {
    this._open();
    window.addEventListener("online", () => this._again(0));
  }

  /** Which devices' labels and signals are wanted; nothing of the others is sent. */
  look(devices, traces = []) {
    const next = { devices: devices.length ? devices.slice(0, 500) : NOBODY, tags: [], clusters: [], traces };
    if (JSON.stringify(next) === JSON.stringify(this._wanted)) return;
    this._wanted = next;
    this._tell();
  }

  _tell() {
    clearTimeout(this._timer);
    const wait = this._sentAt + BETWEEN_MS - performance.now();
    if (wait > 0) {
      this._timer = setTimeout(() => this._tell(), wait);
    } else if (this._socket?.readyState === WebSocket.OPEN) {
      this._sentAt = performance.now();
      this._socket.send(JSON.stringify(this._wanted));
    }
  }

  _open() {
    const where = new URL("api/v1/live/ws", document.baseURI);
    where.protocol = where.protocol.replace("http", "ws");
    where.searchParams.append("device", NOBODY[0]);
    const socket = (this._socket = new WebSocket(where));
    socket.onopen = () => {
      this._tries = 0;
      this._set(true);
      this._sentAt = 0;
      this._tell();
    };
    socket.onmessage = (message) => {
      const { event, data } = JSON.parse(message.data);
      if (event === "status") this.status = data;
      this.dispatchEvent(new CustomEvent(event, { detail: data }));
    };
    socket.onclose = () => {
      if (this._socket !== socket) return;
      this._set(false);
      this._again(RETRY_MS[Math.min(this._tries++, RETRY_MS.length - 1)]);
    };
  }

  _again(wait) {
    if (this.up) return;
    clearTimeout(this._retry);
    this._retry = setTimeout(() => {
      const old = this._socket;
      this._socket = null;
      old?.close();
      this._open();
    }, wait);
  }

  _set(up) {
    if (this.up === up && this._told) return;
    this.up = up;
    this._told = true;
    this.dispatchEvent(new Event("connection"));
  }
}

export const live = new Live();

/** Listen until the returned function is called. */
export function listen(name, act) {
  const handle = (event) => act(event.detail);
  live.addEventListener(name, handle);
  return () => live.removeEventListener(name, handle);
}
