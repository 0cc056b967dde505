// How a device's samples come: rate, gaps, battery, clock. In words, for the fleet's columns and for its own page.
import { html } from "../vendor/htm-preact.js";
import { duration, full, number, nowUs, percent, rate } from "./words.js";

const LOW = 0.2; // of a battery
const OFF = 0.02; // of the declared rate, from which on it is worth a word
const RIGHT_US = 5e6; // a clock that shows the time of day may be off by so much without a word
const DAY_US = 86_400e6;

export function rateWords(facts) {
  if (!facts?.rate) return "–";
  if (facts.measured === null) return html`<span class="quiet">${rate(facts.rate)} Hz?</span>`;
  const off = Math.abs(facts.measured / facts.rate - 1) > OFF;
  return off ? html`<b class="sign">${rate(facts.measured)} Hz</b>` : `${rate(facts.measured)} Hz`;
}

export function gapWords(facts) {
  if (!facts?.messages) return "–";
  return facts.gaps ? html`${number(facts.gaps)} <span class="quiet">(${number(facts.missing)})</span>` : "none";
}

export function batteryWords(facts) {
  const left = facts?.description?.battery ?? null;
  if (left === null) return "–";
  return left < LOW ? html`<b class="sign">low: ${percent(left)}</b>` : percent(left);
}

export function clockWords(facts, problem) {
  if (problem?.code.startsWith("clock")) return html`<b class="sign">at fault</b>`;
  const offset = facts?.clock_offset_us ?? null;
  if (offset === null) return "–";
  if (Math.abs(offset) <= RIGHT_US) return "right";
  return Math.abs(offset) < DAY_US ? html`<b class="sign">off by ${duration(Math.abs(offset) / 1e6)}</b>` : "its own";
}

/** The same in full, on the page of the device. */
export function Reception({ device }) {
  const { facts, problem } = device;
  if (!facts) return null;
  const told = facts.description;
  const offset = facts.clock_offset_us;
  const rows = [
    ["Rate as measured", html`${rateWords(facts)}${facts.rate && facts.measured !== null
      ? html` <span class="quiet">of ${rate(facts.rate)} Hz declared</span>` : ""}`],
    ["Messages", number(facts.messages)],
    ["Gaps", facts.gaps ? `${number(facts.gaps)}, ${number(facts.missing)} messages missing` : gapWords(facts)],
    ["Battery", batteryWords(facts)],
    ["Clock", offset !== null && Math.abs(offset) >= DAY_US && offset < nowUs() && !problem?.code.startsWith("clock")
      ? html`its own, from ${full(offset)} on` : clockWords(facts, problem)],
    ...(told ? [["Worn at", told.placement], ["Hardware", told.model], ["Firmware", told.firmware]] : []),
  ].filter(([, value]) => value !== "");
  return html`<section aria-labelledby="reception"><h2 id="reception">Reception${" "}
      <span class="quiet small">since the server was started</span></h2>
    <dl class="facts">${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl></section>`;
}
