/* Batches in the packed encoding (docs/reference/wire.md), a queue that keeps them until they are confirmed, and
 * frames for a serial line such as the Nordic UART. For Espruino; knows no sensor and no radio. */

const HEADER = 24;

/* One batch at a time, int16, in the same memory: channels, rows, samples a second. */
function Batch(channels, rows, fs) {
  this.size = HEADER + channels * rows * 2;
  this.bytes = new Uint8Array(this.size);
  this.view = new DataView(this.bytes.buffer);
  this.channels = channels;
  this.at = HEADER;
  this.bytes[0] = 0xD5;
  this.bytes[1] = 0x10;
  this.bytes[2] = channels;
  this.view.setFloat32(4, fs, true);
}

/* Begin batch number `seq`; `t0` is the clock at its first sample, in whole microseconds. */
Batch.prototype.begin = function (boot, seq, t0) {
  const view = this.view;
  view.setUint32(8, boot, true);
  view.setUint32(12, seq, true);
  view.setUint32(16, t0 % 4294967296, true);
  view.setUint32(20, Math.floor(t0 / 4294967296), true);
  this.at = HEADER;
};

/* Take one count; beyond the range it becomes its end. */
Batch.prototype.add = function (count) {
  this.view.setInt16(this.at, Math.max(-32768, Math.min(32767, Math.round(count))), true);
  this.at += 2;
};

Batch.prototype.full = function () {
  return this.at === this.size;
};

/* `slots` batches of `size` bytes, oldest first. The first `flying` are on their way, the first `doubtful` were ever
 * sent; those never give way, so each batch is confirmed or counted in `lost`, never both. */
function Queue(slots, size) {
  this.slots = slots;
  this.size = size;
  this.memory = new Uint8Array(slots * size);
  this.order = new Uint16Array(slots);
  for (let i = 0; i < slots; i++) this.order[i] = i;
  this.head = this.count = this.flying = this.doubtful = this.lost = 0;
}

Queue.prototype.slot = function (k) {
  return this.order[(this.head + k) % this.slots];
};

/* The k-th oldest; a view, good until the next `put`. */
Queue.prototype.get = function (k) {
  return new Uint8Array(this.memory.buffer, this.slot(k) * this.size, this.size);
};

Queue.prototype.seq = function (k) {
  return new DataView(this.memory.buffer, this.slot(k) * this.size + 12, 4).getUint32(0, true);
};

Queue.prototype.put = function (bytes) {
  if (this.count === this.slots) {
    this.lost++;
    if (this.doubtful === this.count) return false;
    this.remove(this.doubtful);
  }
  this.memory.set(bytes, this.slot(this.count) * this.size);
  this.count++;
  return true;
};

Queue.prototype.sent = function () {
  this.flying++;
  this.doubtful = Math.max(this.doubtful, this.flying);
};

Queue.prototype.down = function () {
  this.flying = 0;
};

/* The receiver has batch `seq`. */
Queue.prototype.confirm = function (seq) {
  for (let k = 0; k < this.flying; k++) {
    if (this.seq(k) !== seq) continue;
    this.remove(k);
    this.flying--;
    this.doubtful--;
    return true;
  }
  return false;
};

Queue.prototype.remove = function (k) {
  const free = this.slot(k), n = this.slots;
  for (; k > 0; k--) this.order[(this.head + k) % n] = this.slot(k - 1);
  this.order[this.head] = free;
  this.head = (this.head + 1) % n;
  this.count--;
};

/* CRC-16/CCITT-FALSE. */
function crc16(bytes, crc) {
  for (let i = 0; i < bytes.length; i++) {
    crc ^= bytes[i] << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1 ^ 0x1021) & 0xFFFF : crc << 1 & 0xFFFF;
  }
  return crc;
}

/* A7 5D, length, payload, checksum of length and payload. */
function frame(payload) {
  const n = payload.length, out = new Uint8Array(n + 6);
  out[0] = 0xA7;
  out[1] = 0x5D;
  out[2] = n & 255;
  out[3] = n >> 8;
  out.set(payload, 4);
  const crc = crc16(new Uint8Array(out.buffer, 2, n + 2), 0xFFFF);
  out[n + 4] = crc & 255;
  out[n + 5] = crc >> 8;
  return out;
}

/* Acknowledgements from the other side: 06, boot, seq, and the exclusive or of these nine. */
function Acks(boot, onAck) {
  const bytes = new Uint8Array(10), view = new DataView(bytes.buffer);
  let n = 0;
  this.take = function (text) {
    for (let i = 0; i < text.length; i++) {
      bytes[n++] = text.charCodeAt(i);
      while (n && bytes[0] !== 6) shift(bytes, n--);
      if (n < 10) continue;
      let sum = 0;
      for (let k = 0; k < 9; k++) sum ^= bytes[k];
      if (sum !== bytes[9]) {
        shift(bytes, n--);
        continue;
      }
      n = 0;
      if (view.getUint32(1, true) === boot) onAck(view.getUint32(5, true));
    }
  };
}

function shift(bytes, n) {
  for (let i = 1; i < n; i++) bytes[i - 1] = bytes[i];
}

exports.Batch = Batch;
exports.Queue = Queue;
exports.Acks = Acks;
exports.frame = frame;
