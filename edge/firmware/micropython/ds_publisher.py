"""A device: samples in, batches out, in order, with QoS 1, and nothing lost within the outbox.

Use::

publisher = Publisher("watch-1", CHANNELS, "g", 50, outbox, host="broker", boot=next_boot("queue"))
while True:
    publisher.sample(counts)  # whenever the sensor has one
    publisher.poll()  # as often as possible; never waits
"""

import json
import random
import time

import ds_mqtt
import ds_packed

WINDOW = 8


class Clock:
    """Microseconds since the start, from a counter that begins again every few minutes."""

    def __init__(self):
        self._last = time.ticks_us()
        self._sum = 0

    def now(self):
        """The time; to be asked more often than the counter begins again."""
        ticks = time.ticks_us()
        self._sum += time.ticks_diff(ticks, self._last)
        self._last = ticks
        return self._sum


class Publisher:
    """Publishes one sensor.

    Args:
        device: its id.
        channels: names, such as "acc_x".
        units: one for all, or a list.
        fs: sampling rate in Hz.
        outbox: a `Ring` or `Flash`, whose `size` is at least that of a batch (`batch_size`).
        boot: a number that it never had before, such as that of `next_boot`.
        scale: physical value of a count, one for all or a list; None if the samples are physical values.
        rows: samples of a batch.
        kind: type of the samples; see `ds_packed`.
        prefix: of the topics.
        about: more for `meta`, such as {"placement": "left wrist"}.
        **broker: arguments of `ds_mqtt.Client`: host, port, user, password, tls, keepalive.
    """

    def __init__(
        self, device, channels, units, fs, outbox, boot, scale=None, rows=25, kind=ds_packed.INT16,
        prefix="ds/v1", about=None, **broker
    ):  # fmt: skip
        self.outbox = outbox
        self.seq = 0
        self.sent = 0  # PUBLISHes of batches, repetitions among them
        self.bytes = 0  # of their payloads
        self.batch = ds_packed.Batch(len(channels), rows, fs, kind)
        size = batch_size(len(channels), rows, kind)
        if size > outbox.size:
            raise ValueError("a batch has %d bytes, and the outbox takes %d" % (size, outbox.size))
        self._boot = boot
        self._fs = fs
        self._clock = Clock()
        self._begun = False
        self._meta = {
            "schema": "disc-stream.meta/1",
            "fs": fs,
            "channels": channels,
            "units": units,
            "firmware": "micropython",
        }
        if scale is not None:
            self._meta["scale"] = scale
        self._meta["lost"] = 0
        self._meta.update(about or {})
        self._topic = tuple(
            ("%s/%s/%s" % (prefix, device, what)).encode() for what in ("raw", "meta", "status")
        )
        will = (self._topic[2], self._status("offline"))
        room = max(size, 1024) + len(self._topic[2]) + 16
        client_id = prefix.replace("/", "-") + "-" + device
        self.client = ds_mqtt.Client(client_id=client_id, will=will, on_ack=self._acked, room=room, **broker)
        self._packets = [0] * WINDOW
        self._born = 0  # 0, then 1 once meta is published, 2 once status is
        self._again = time.ticks_ms()
        self._delay = 0

    def sample(self, values, t_us=None):
        """Take a sample; True if a batch went into the outbox with it.

        Args:
            values: one per channel.
            t_us: the sensor's own time of it, else now; matters for the first sample of a batch.
        """
        batch = self.batch
        if not self._begun:
            batch.begin(self._boot, self.seq, self._clock.now() if t_us is None else t_us)
            self._begun = True
        if not batch.add(values):
            return False
        self._put()
        return True

    def gap(self):
        """Samples were lost before this: leave a number out, so that no window spans the place."""
        self.flush()
        self.seq += 1

    def flush(self):
        """End the batch that is not full."""
        if self._begun and not self.batch.empty:
            self._put()
        self._begun = False

    def poll(self):
        """Connect, publish and hear what can be; call it as often as possible."""
        client = self.client
        if not client.step():
            self._reconnect()
            return
        if client.state != ds_mqtt.UP:
            return
        if self._born < 2:
            self._birth()
            return
        outbox = self.outbox
        while outbox.flying < WINDOW:
            payload = outbox.peek()
            if payload is None:
                if not outbox.flying and self._meta["lost"] != outbox.lost:
                    self._say_meta()  # it is known now how much the outage has cost
                return
            packet = client.publish(self._topic[0], payload)
            if not packet:
                return
            self._packets[outbox.flying] = packet
            self.sent += 1
            self.bytes += len(payload)
            outbox.sent()

    def wait(self, ms):
        """Sleep until the broker says something, at most so long."""
        self.client.wait(ms)

    def close(self, ms=5000):
        """Send what waits, say that the device goes, and disconnect. True if nothing waits any more."""
        self.flush()
        end = time.ticks_add(time.ticks_ms(), ms)
        while (self.outbox.count or self._meta["lost"] != self.outbox.lost) and time.ticks_diff(
            end, time.ticks_ms()
        ) > 0:
            self.poll()
            self.wait(20)
        client = self.client
        while client.state == ds_mqtt.UP and time.ticks_diff(end, time.ticks_ms()) > 0:
            if client.publish(self._topic[2], self._status("offline"), retain=True, qos=0):
                while client.busy and client.step():
                    self.wait(20)
                break
            client.step()
            self.wait(20)
        client.close(politely=True)
        return not self.outbox.count

    def _put(self):
        """The batch into the outbox, which counts it if it is lost."""
        self.outbox.put(self.batch.payload)
        self.seq += 1
        self._begun = False

    def _birth(self):
        """`meta` and `status` before the samples, at each connection."""
        if self._born == 0:
            if self._say_meta():
                self._born = 1
        elif self.client.publish(self._topic[2], self._status("online"), retain=True):
            self._born = 2
            self._delay = 0

    def _say_meta(self):
        lost = self.outbox.lost
        said = self.client.publish(
            self._topic[1], json.dumps(dict(self._meta, lost=lost)).encode(), retain=True
        )
        if said:
            self._meta["lost"] = lost
        return said

    def _status(self, state):
        said = {"schema": "disc-stream.status/1", "state": state, "boot": self._boot, "since": None}
        return json.dumps(said).encode()

    def _acked(self, packet):
        packets = self._packets
        for k in range(self.outbox.flying):
            if packets[k] == packet:
                self.outbox.confirm(k)
                while k < WINDOW - 1:
                    packets[k] = packets[k + 1]
                    k += 1
                return

    def _reconnect(self):
        """Again after half a delay to all of it, at random: a fleet must not come back in step."""
        if self._born or self.outbox.flying:
            self._born = 0
            self.outbox.down()
        now = time.ticks_ms()
        if time.ticks_diff(now, self._again) < 0:
            return
        self._delay = min(30000, self._delay * 2 or 500)
        self._again = time.ticks_add(now, self._delay // 2 + random.getrandbits(15) % (self._delay // 2))
        self._born = 0
        self.outbox.down()
        self.client.connect()


def batch_size(channels, rows, kind=ds_packed.INT16):
    """Bytes of a full batch."""
    return ds_packed.HEADER + rows * channels * (2 if kind == ds_packed.INT16 else 4)


def broker_of(device):
    """Arguments for `Publisher` from the module that `broker add-device --header ds_device.py` wrote."""
    import tls as library  # under `ssl`, which not every build has

    tls = library.SSLContext(library.PROTOCOL_TLS_CLIENT)
    tls.verify_mode = library.CERT_REQUIRED
    tls.load_verify_locations(_der(device.CA))
    if hasattr(device, "KEY"):
        tls.load_cert_chain(_der(device.CERTIFICATE), _der(device.KEY))
        return {"host": device.HOST, "port": device.PORT, "tls": tls}
    return {
        "host": device.HOST,
        "port": device.PORT,
        "tls": tls,
        "user": device.USER,
        "password": device.PASSWORD,
    }


def _der(pem):
    """Boards' TLS reads DER; PEM only where it was built in."""
    import binascii

    lines = pem.strip().split("\n")
    return binascii.a2b_base64("".join(lines[1:-1]))
