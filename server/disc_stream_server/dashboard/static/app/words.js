// Times and numbers in the reader's own language and time zone.
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const SHORT = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const AGO = new Intl.RelativeTimeFormat(undefined, { numeric: "always", style: "narrow" });
const NUMBER = new Intl.NumberFormat();
const RATE = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });

let skewUs = 0; // of the server's clock against this browser's

export function setServerTime(nowUs) {
  skewUs = nowUs - Date.now() * 1000;
}

/** Now by the server's clock, in Unix microseconds. */
export function nowUs() {
  return Math.round(Date.now() * 1000 + skewUs);
}

export const clock = (us) => CLOCK.format(us / 1000);
export const hourMinute = (us) => SHORT.format(us / 1000);
export const day = (us) => DAY.format(us / 1000);
export const full = (us) => FULL.format(us / 1000);
export const number = (value) => NUMBER.format(value);
export const rate = (value) => RATE.format(value);
export const percent = (share) => `${Math.round(share * 100)} %`;

export function ago(us, now = nowUs()) {
  const seconds = Math.max(0, (now - us) / 1e6);
  if (seconds < 1.5) return "now";
  if (seconds < 100) return AGO.format(-Math.round(seconds), "second");
  if (seconds < 6000) return AGO.format(-Math.round(seconds / 60), "minute");
  if (seconds < 48 * 3600) return AGO.format(-Math.round(seconds / 3600), "hour");
  return AGO.format(-Math.round(seconds / 86_400), "day");
}

export function duration(seconds) {
  if (seconds < 60) return `${rate(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) (count /= 1024), (unit += 1);
  return `${rate(count)} ${units[unit]}`;
}

/** With a capital and a full stop. */
export function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return begun === "" || /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
