// A device: node publish.mjs mqtt://HOST:PORT DEVICE SECONDS [SPEED]
//
// Written from docs/reference/wire.md: batches of samples in CBOR, with QoS 1, over MQTT 5.

import { Encoder } from "cbor-x";
import mqtt from "mqtt";

const [url, device, seconds, speed = "1"] = process.argv.slice(2);
if (!seconds) {
  console.error("usage: node publish.mjs mqtt://HOST:PORT DEVICE SECONDS [SPEED]");
  process.exit(2);
}

const FS = 50; // Hz
const ROWS = 25; // in a message
const ACC = 1 / 2048, GYRO = 1 / 16; // g and deg/s of one count
const CHANNELS = ["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"];
const META = {
  schema: "disc-stream.meta/1",
  fs: FS,
  channels: CHANNELS,
  units: ["g", "g", "g", "deg/s", "deg/s", "deg/s"],
  scale: [ACC, ACC, ACC, GYRO, GYRO, GYRO],
  model: "examples/javascript",
};

// Plain maps with text keys; a typed array becomes the one of RFC 8746 (Int16Array: tag 77).
const cbor = new Encoder({ useRecords: false, variableMapSize: true });

const boot = Math.floor(Date.now() / 1000); // another number whenever seq begins again
const topic = (kind) => `ds/v1/${device}/${kind}`;
const status = (state, since) => JSON.stringify({ schema: "disc-stream.status/1", state, boot, since });
const microseconds = () => Date.now() * 1000;

const client = mqtt.connect(url, {
  protocolVersion: 5,
  clientId: `ds-v1-${device}`,
  // The broker says this for us when we fall silent; it cannot know when that will be.
  will: { topic: topic("status"), payload: status("offline", null), qos: 1, retain: true },
});

// After each connect, because the broker may have published the last will meanwhile.
client.on("connect", () => {
  client.publish(topic("meta"), JSON.stringify(META), { qos: 1, retain: true });
  client.publish(topic("status"), status("online", microseconds()), { qos: 1, retain: true });
});
client.on("error", (error) => console.error(`${url}: ${error.message}`)); // mqtt.js connects again by itself

/** Rows of counts from row `first` on: somebody walks. */
function samples(first) {
  const counts = new Int16Array(ROWS * CHANNELS.length);
  for (let row = 0; row < ROWS; row++) {
    const t = (first + row) / FS;
    const acc = [0.1 * Math.sin(6 * t), 0.2 * Math.cos(5 * t), 1 + 0.3 * Math.sin(12 * t)];
    const gyro = [20 * Math.sin(6 * t), 10 * Math.cos(5 * t), 5 * Math.sin(3 * t)];
    const values = [...acc.map((g) => g / ACC), ...gyro.map((dps) => dps / GYRO)];
    counts.set(values.map(Math.round), row * CHANNELS.length);
  }
  return counts;
}

const start = microseconds();
const unconfirmed = new Set();
for (let seq = 0; (seq * ROWS) / FS < Number(seconds); seq++) {
  const batch = { boot, seq, t0: start + Math.round((seq * ROWS * 1e6) / FS), fs: FS, samples: samples(seq * ROWS) };
  await new Promise((resolve) => setTimeout(resolve, (ROWS / FS / Number(speed)) * 1000)); // until it is measured
  const sent = client.publishAsync(topic("raw"), cbor.encode(batch), {
    qos: 1,
    properties: { contentType: "application/cbor" },
  });
  unconfirmed.add(sent);
  sent.finally(() => unconfirmed.delete(sent));
}
await Promise.all(unconfirmed); // PUBACK: the broker has them
await client.publishAsync(topic("status"), status("offline", microseconds()), { qos: 1, retain: true });
await client.endAsync(); // DISCONNECT: no last will
