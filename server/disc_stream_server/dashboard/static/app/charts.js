// Lines over a number or a time, small enough to need no library; each has its numbers as a table for those who cannot see it.
import { html } from "../vendor/htm-preact.js";

const [WIDTH, HEIGHT, LEFT, FOOT] = [520, 170, 46, 22];
const KEYS = ["c0", "c1", "c2", "c3"]; // of the style sheet: colour and dash of each line

/**
 * @param {{title: string, lines: {name: string, points: [number, number][]}[], x: (value: number) => any,
 *   y: (value: number) => any, marks?: {at: number, words: string}[], zero?: boolean, level?: {at: number, words: string}|null}} props
 */
export function Chart({ title, lines, x, y, marks = [], zero = false, level = null }) {
  const points = lines.flatMap((line) => line.points);
  if (!points.length) return null;
  const [left, right] = ends(points.map(([at]) => at));
  let [low, high] = ends([...points.map(([, value]) => value), ...(level ? [level.at] : [])]);
  if (zero) low = Math.min(0, low);
  if (high - low < 1e-12) high = low + (Math.abs(low) || 1);
  high += 0.06 * (high - low); // so that what is written at the top has room
  const px = (at) => LEFT + ((WIDTH - LEFT - 8) * (at - left)) / Math.max(right - left, 1e-9);
  const py = (value) => 8 + ((HEIGHT - FOOT - 14) * (high - value)) / (high - low);
  const ticks = [low, (low + high) / 2, high];
  return html`<figure class="chart"><figcaption>${title}${lines.length > 1 ? html`<span class="keys">${lines.map((line, i) =>
      html`<span class=${KEYS[i % KEYS.length]}>${line.name}</span>`)}</span>` : ""}</figcaption>
    <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label=${`${title}: ${lines.map((line) =>
      `${line.name} from ${y(line.points[0][1])} to ${y(line.points[line.points.length - 1][1])}`).join("; ")}`}>
      ${ticks.map((tick) => html`<line class="grid" x1=${LEFT} x2=${WIDTH - 8} y1=${py(tick)} y2=${py(tick)} />
        <text x=${LEFT - 6} y=${py(tick) + 4} text-anchor="end">${y(tick)}</text>`)}
      ${marks.map((mark) => html`<line class="mark" x1=${px(mark.at)} x2=${px(mark.at)} y1="4" y2=${HEIGHT - FOOT}><title>${mark.words}</title></line>`)}
      ${level ? html`<line class="level" x1=${LEFT} x2=${WIDTH - 8} y1=${py(level.at)} y2=${py(level.at)} />
        <text class="level" x=${WIDTH - 10} y=${py(level.at) - 4} text-anchor="end">${level.words}</text>` : null}
      ${lines.map((line, i) => line.points.length > 1
        ? html`<polyline class=${KEYS[i % KEYS.length]} points=${line.points.map(([at, value]) => `${px(at).toFixed(1)},${py(value).toFixed(1)}`).join(" ")} />`
        : html`<circle class=${KEYS[i % KEYS.length]} cx=${px(line.points[0][0])} cy=${py(line.points[0][1])} r="3" />`)}
      <text x=${LEFT} y=${HEIGHT - 5}>${x(left)}</text><text x=${WIDTH - 8} y=${HEIGHT - 5} text-anchor="end">${right > left ? x(right) : ""}</text>
    </svg></figure>`;
}

function ends(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return [low, high];
}

/** Bars of a histogram. @param {{title: string, bars: {name: string, count: number}[], words: (count: number) => string}} props */
export function Bars({ title, bars, words }) {
  const most = Math.max(...bars.map((bar) => bar.count), 1e-9);
  return html`<table class="plain histogram"><caption>${title}</caption><tbody>${bars.map((bar) => html`<tr><th scope="row">${bar.name}</th>
    <td><span class="bar" aria-hidden="true"><i style=${{ width: `${(100 * bar.count) / most}%` }}></i></span></td>
    <td>${words(bar.count)}</td></tr>`)}</tbody></table>`;
}
