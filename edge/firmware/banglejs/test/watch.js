/* The app in node: only what Espruino has and node has not is here. Lines of JSON come in, lines go out.
 *
 * {"accel": [[x, y, z], ...]}   samples, 20 ms apart
 * {"data": "hex"}               bytes over the radio to the watch
 * {"connect": bool}             the radio; what is written without it is gone
 * {"wait": seconds}             time passes
 * Each is answered by {"out": "hex"}, what the watch has sent. */
const fs = require("fs"), path = require("path"), vm = require("vm"), readline = require("readline");

const home = path.join(__dirname, ".."), stored = process.argv[2];
let now = 1700000000, up = false, out = [];
const handlers = {};
const on = name => (event, run) => { handlers[name + event] = run; };

const storage = {
  readJSON: name => { try { return JSON.parse(fs.readFileSync(path.join(stored, name))); } catch (e) { return undefined; } },
  writeJSON: (name, value) => fs.writeFileSync(path.join(stored, name), JSON.stringify(value))
};

function load(name) {
  const exports = {};
  vm.runInNewContext(fs.readFileSync(path.join(home, name), "utf8"), { exports, ...espruino, require: undefined });
  return exports;
}

const espruino = {
  Uint8Array, Uint16Array, DataView, Math, JSON,
  getTime: () => now,
  Bangle: { on: on("bangle"), setOptions() {}, setPollInterval(ms) { if (ms !== 20) throw new Error("poll " + ms); } },
  NRF: { on: on("nrf") },
  Bluetooth: { on: on("bluetooth"), write: bytes => { if (up) out.push(Buffer.from(bytes)); } },
  E: { setConsole() {}, showMessage() {} },
  setInterval() {},
  require: name => name === "Storage" ? storage : load(name + ".js")
};

vm.runInNewContext(fs.readFileSync(path.join(home, "app.js"), "utf8"), espruino);

readline.createInterface({ input: process.stdin }).on("line", line => {
  const said = JSON.parse(line);
  for (const [x, y, z] of said.accel || []) {
    handlers.bangleaccel({ x, y, z });
    now = Math.round((now + 0.02) * 1000) / 1000;
  }
  if (said.wait) now += said.wait;
  if (said.connect !== undefined) {
    if (up && !said.connect) handlers.nrfdisconnect();
    up = said.connect;
  }
  if (said.data) handlers.bluetoothdata(Buffer.from(said.data, "hex").toString("latin1"));
  process.stdout.write(JSON.stringify({ out: Buffer.concat(out).toString("hex") }) + "\n");
  out = [];
});
