/* Streams the accelerometer of a Bangle.js to `disc-stream edge publish --ble`. Needs ds.js in the watch's storage
 * as "ds". What cannot be sent waits, up to SLOTS batches; what gives way leaves out its number. */
{
  const RATE = 50, ROWS = 25, SLOTS = 300, WINDOW = 8, PATIENCE_MS = 10000;
  const COUNTS = 8192; /* of 1 g: the sensor's own */
  const ds = require("ds"), storage = require("Storage");

  const before = storage.readJSON("ds.boot.json", true) || { boot: 0 };
  const boot = Math.max(before.boot + 1, Math.floor(getTime())); /* also after the storage was erased */
  storage.writeJSON("ds.boot.json", { boot: boot });

  const batch = new ds.Batch(3, ROWS, RATE);
  const queue = new ds.Queue(SLOTS, batch.size);
  let seq = 0, begun = false, connected = false, heard = 0;

  function meta() {
    const text = JSON.stringify({
      schema: "disc-stream.meta/1", fs: RATE, channels: ["acc_x", "acc_y", "acc_z"], units: "g", scale: 1 / COUNTS,
      placement: "wrist", model: "Bangle.js", lost: queue.lost, boot: boot
    });
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  }

  function send() {
    if (!connected) return;
    const now = getTime() * 1000;
    if (queue.flying && now - heard > PATIENCE_MS) queue.down(); /* what came is sent again, and is known there */
    if (!queue.flying) heard = now;
    while (queue.flying < WINDOW && queue.flying < queue.count) {
      Bluetooth.write(ds.frame(queue.get(queue.flying)));
      queue.sent();
    }
  }

  const acks = new ds.Acks(boot, function (number) {
    heard = getTime() * 1000;
    if (queue.confirm(number)) send();
  });

  Bangle.on("accel", function (a) {
    if (!begun) {
      batch.begin(boot, seq, Math.round(getTime() * 1000000));
      begun = true;
    }
    batch.add(a.x * COUNTS);
    batch.add(a.y * COUNTS);
    batch.add(a.z * COUNTS);
    if (!batch.full()) return;
    queue.put(batch.bytes);
    seq++;
    begun = false;
    send();
  });

  /* The gateway says "?" once it listens. */
  Bluetooth.on("data", function (text) {
    const at = text.indexOf("?");
    if (!connected && at >= 0) {
      connected = true;
      queue.down();
      Bluetooth.write(ds.frame(meta()));
      text = text.substr(at + 1);
      send();
    }
    if (connected) acks.take(text);
  });

  NRF.on("disconnect", function () {
    connected = false;
    queue.down();
  });

  E.setConsole(null, { force: true }); /* the serial line is ours */
  Bangle.setOptions({ powerSave: false });
  Bangle.setPollInterval(1000 / RATE);

  function draw() {
    E.showMessage(
      (connected ? "connected" : "waiting") + "\n" + queue.count + " kept\n" + queue.lost + " lost", "disc-stream");
  }
  draw();
  setInterval(draw, 5000);
}
