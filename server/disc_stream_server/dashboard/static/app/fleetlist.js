// All devices by `/fleet`: in columns, whole at first, and then what has changed.
import { all, ask, withQuery } from "./api.js";
import { orderOf, rowOf } from "./fleetdata.js";

const NO_TAGS = [];

export class FleetList {
  constructor() {
    /** @type {Map<string, import("./fleetdata.js").Row>} by device */
    this.rows = new Map();
    this._mark = "";
    this._tags = {};
  }

  /** Take in what is new. @param {AbortSignal} signal */
  async read(signal) {
    const found = await ask(withQuery("/fleet", { since: this._mark }), { signal });
    this.take(found);
  }

  /** Read all of them with how their samples come, which the columns do not have. @param {AbortSignal} signal */
  async readFacts(signal) {
    const found = await all("/devices?facts=true", { signal });
    this._mark = ""; // the columns begin anew afterwards
    this.rows = new Map(found.map((one) => [one.id, rowOf(one)]));
  }

  /** @param {any} found as the API tells it */
  take(found) {
    this._mark = found.mark;
    const old = this.rows;
    if (found.whole) this.rows = new Map();
    if (found.tags !== null) this._tags = found.tags;
    found.id.forEach((id, i) => {
      const cluster = found.cluster[i];
      const model = found.model[i];
      this.rows.set(id, {
        id, order: old.get(id)?.order ?? orderOf(id), tags: this._tags[id] ?? NO_TAGS,
        seen: at(found.now_us, found.seen_ms[i]) ?? 0, since: at(found.now_us, found.since_ms[i]),
        cluster, told: cluster === null ? "" : (found.names[cluster] ?? ""), confidence: found.confidence[i],
        model: model === null ? "" : found.models[model], problem: found.problems[id] ?? null,
        live: found.confidence[i] !== null,
      });
    });
    if (found.tags !== null && !found.whole) {
      for (const row of this.rows.values()) row.tags = this._tags[row.id] ?? NO_TAGS;
    }
  }
}

const at = (nowUs, ms) => (ms === null ? null : nowUs - 1000 * ms);
