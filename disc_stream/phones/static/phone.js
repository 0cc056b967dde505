// Sends the browser's DeviceMotion events, some at a time, and shows what comes of them.
"use strict";

const EVERY_MS = 400;
const MOST_WAITING = 6000; // samples: 100 s at 60 Hz; older ones are given up, and counted
const MOST_SENT = 600;
const NOTHING_MS = 3000;

const $ = (id) => document.getElementById(id);
const session = Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, "0")).join("");
// Every WebKit on iOS turns the sign of acceleration. Who asks for permission tells nothing: Chromium does, too.
const turned = navigator.vendor.startsWith("Apple");
const asks = typeof DeviceMotionEvent !== "undefined" && typeof DeviceMotionEvent.requestPermission === "function";

let waiting = [];
let number = 0;
let givenUp = 0;
let sending = false;
let startedAt = 0;
let seen = 0;
let lock = null;
let own = []; // problems that only this page knows
let known = []; // problems that the server told

function axes(v, names) {
  return names.map((name) => (v && Number.isFinite(v[name]) ? v[name] : null));
}

function onMotion(event) {
  const values = [
    ...axes(event.accelerationIncludingGravity, ["x", "y", "z"]),
    ...axes(event.acceleration, ["x", "y", "z"]),
    ...axes(event.rotationRate, ["alpha", "beta", "gamma"]),
  ];
  if (values.every((value) => value === null)) return; // what a browser without sensors gives
  seen += 1;
  waiting.push([event.timeStamp, ...values]);
  if (waiting.length > MOST_WAITING) {
    givenUp += waiting.length - MOST_WAITING;
    waiting = waiting.slice(-MOST_WAITING);
  }
}

async function send() {
  if (sending || waiting.length === 0) return;
  sending = true;
  const samples = waiting.slice(0, MOST_SENT);
  const body = { format: "disc-stream.motion/1", session, number, origin: performance.timeOrigin, turned, samples };
  try {
    const answer = await fetch("push/page", { method: "POST", body: JSON.stringify(body) });
    if (answer.ok) {
      show(await answer.json());
    } else if (answer.status === 404) {
      own = ["The code that this page came from is no longer valid. Scan the new one."];
    } else {
      own = [await answer.text()];
    }
    if (answer.ok || answer.status === 400 || answer.status === 413) {
      waiting = waiting.slice(samples.length);
      number += 1;
    }
    if (answer.ok) own = [];
  } catch {
    own = ["disc-stream cannot be reached. Is this phone in the same network, and does the command still run?"];
  } finally {
    sending = false;
    showProblems();
  }
}

function show(state) {
  $("device").textContent = state.device;
  if (state.label) {
    $("label").textContent = state.label.name;
    $("detail").textContent = `${Math.round(state.label.confidence * 100)} % sure, ${state.labels} labels`;
  } else {
    $("detail").textContent = state.model ? `${state.model} listens` : "collected without labels: there is no model yet";
  }
  const rate = state.rate ? `${state.rate.toFixed(1)} Hz` : "rate not known yet";
  const lost = givenUp + state.dropped ? `, ${givenUp} samples and ${state.dropped} batches lost` : "";
  $("facts").textContent = `${seen} samples, ${rate}${lost}`;
  known = state.problems.map((p) => (p.remedy ? `${p.words}. ${p.remedy}.` : p.words));
}

function showProblems() {
  const texts = [...own, ...known];
  const list = $("problems");
  if ([...list.children].map((item) => item.textContent).join("\n") === texts.join("\n")) return;
  list.replaceChildren(
    ...texts.map((text) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    }),
  );
}

async function ask() {
  // The state as long as nothing is sent, and why nothing is.
  try {
    const answer = await fetch("state");
    own = [];
    if (answer.ok) show(await answer.json());
    else own = ["The code that this page came from is no longer valid. Scan the new one."];
  } catch {
    own = ["disc-stream cannot be reached."];
  }
  if (startedAt && seen === 0 && performance.now() - startedAt > NOTHING_MS) {
    own = ["This browser gives no motion: the phone has no sensor, or its settings forbid it."];
  }
  showProblems();
}

async function keepAwake() {
  if (!("wakeLock" in navigator) || document.visibilityState !== "visible" || !startedAt) return;
  try {
    lock = await navigator.wakeLock.request("screen");
  } catch {
    lock = null; // as when the battery is low
  }
}

async function start() {
  if (!window.isSecureContext) {
    own = ["A browser gives motion to pages over https alone. Open the https address that disc-stream phone shows."];
    return showProblems();
  }
  if (typeof DeviceMotionEvent === "undefined") {
    own = ["This browser has no DeviceMotion."];
    return showProblems();
  }
  if (asks && (await DeviceMotionEvent.requestPermission()) !== "granted") {
    own = ["Motion was not allowed. Close this page, open it again, and allow it."];
    return showProblems();
  }
  startedAt = performance.now();
  own = [];
  window.addEventListener("devicemotion", onMotion);
  $("start").hidden = true;
  setInterval(send, EVERY_MS);
  await keepAwake();
}

document.addEventListener("visibilitychange", keepAwake);
$("start").addEventListener("click", () => {
  start().catch((error) => {
    own = [`This browser refuses motion: ${error.message}`];
    showProblems();
  });
});
setInterval(() => { if (waiting.length === 0) ask(); }, 1000);
ask();
