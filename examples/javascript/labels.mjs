// A reader: node labels.mjs mqtt://HOST:PORT [NUMBER]
//
// Prints the labels of all devices, and what keeps devices from getting some; ends after NUMBER labels.

import mqtt from "mqtt";

const [url, number = "Infinity"] = process.argv.slice(2);
if (!url) {
  console.error("usage: node labels.mjs mqtt://HOST:PORT [NUMBER]");
  process.exit(2);
}

const client = mqtt.connect(url, { protocolVersion: 5 });
client.on("error", (error) => console.error(`${url}: ${error.message}`));
client.on("connect", async () => {
  await client.subscribeAsync(["ds/v1/+/label", "ds/v1/+/problem"], { qos: 1 });
  console.error("listening");
});

const seen = new Set(); // QoS 1 may deliver a label twice; (device, boot, window, model) is unique
client.on("message", async (topic, payload, packet) => {
  const [device, kind] = topic.split("/").slice(-2);
  if (payload.length === 0) return; // a problem that is over, or a device that is forgotten
  const message = JSON.parse(payload);
  if (kind === "problem") {
    console.log(`${device}: ${message.code}: ${message.words}. ${message.remedy ?? ""}`);
    return;
  }
  if (message.schema !== "disc-stream.label/1" || packet.retain) return; // of before we came
  const key = [message.device, message.boot, message.window, message.model].join();
  if (seen.has(key)) return;
  seen.add(key);
  const { label, name } = message.smoothed;
  console.log(`${device}: window ${message.window}: ${name} (${label}), ${message.confidence.toFixed(2)}`);
  if (seen.size >= Number(number)) await client.endAsync();
});
