"""MQTT 3.1.1 with QoS 1, as a device needs it: nothing blocks, and every confirmation is told.

`umqtt.simple` waits for each PUBACK without a limit, and `umqtt.robust` sends again only what the call at
hand publishes. Here the caller keeps its messages until `on_ack`, and calls `step` from its loop.
"""

import errno
import select
import socket
import time

OFF = 0
DIALLING = 1
GREETING = 2
UP = 3


class Client:
    """One connection at a time.

    Args:
        host: name or address of the broker.
        port: its port.
        client_id: the same at each connection.
        user: name, or None.
        password: of the user.
        tls: an `ssl.SSLContext`, or None for plain TCP.
        will: (topic, payload) that the broker publishes, retained, when the device falls silent.
        on_ack: called with the packet id of each PUBACK.
        keepalive: seconds; a broker that is silent for one and a half of these is gone.
        room: bytes of the largest packet, topic and header included.
    """

    def __init__(
        self, host, port, client_id, user=None, password=None, tls=None, will=None, on_ack=None,
        keepalive=30, room=1024,
    ):  # fmt: skip
        self._address = None
        self._host = host
        self._port = port
        self._tls = tls
        self._keepalive = keepalive
        self._connect = _connect_packet(client_id, user, password, will, keepalive)
        self._on_ack = on_ack
        self._out = bytearray(max(room, len(self._connect)))
        self._view = memoryview(self._out)
        self._from = self._to = 0
        self._in = bytearray(256)
        self._got = 0
        self._packet = 0
        self._socket = self._raw = None
        self._poll = select.poll()
        self.state = OFF
        self.refused = 0  # the code of the last CONNACK; 4 and 5 mean user or password

    # -- what the caller does --------------------------------------------------------------------

    def connect(self):
        """Begin to connect. A name is looked up here, which may take a while; nothing else waits."""
        self.close()
        self.state = DIALLING
        self._heard = self._said = time.ticks_ms()
        try:
            if self._address is None:
                self._address = socket.getaddrinfo(self._host, self._port, 0, socket.SOCK_STREAM)[0][-1]
            self._raw = socket.socket()
            self._raw.setblocking(False)
            self._poll.register(self._raw, select.POLLIN | select.POLLOUT)
            try:
                self._raw.connect(self._address)
            except OSError as error:
                if error.args[0] not in (errno.EINPROGRESS, 119):
                    raise
        except OSError:
            self.close()

    def publish(self, topic, payload, retain=False, qos=1):
        """Publish, if there is room now: the packet id (1 for QoS 0), or 0 to try again later."""
        if self.state != UP or self._to:
            return 0
        n = 2 + len(topic) + (2 if qos else 0) + len(payload)
        view = self._view
        out = self._out
        out[0] = 0x30 | qos << 1 | (1 if retain else 0)
        at = _length(out, 1, n)
        if at + n > len(out):
            raise ValueError("the packet has more bytes than the client has room for")
        at = _text(out, at, topic)
        packet = 1
        if qos:
            self._packet = packet = self._packet % 65535 + 1
            out[at] = packet >> 8
            out[at + 1] = packet & 255
            at += 2
        view[at : at + len(payload)] = payload
        self._to = at + len(payload)
        self._flush()
        return packet

    def step(self):
        """Do what can be done without waiting. True while there is a connection, or one is being made."""
        if self.state == OFF:
            return False
        try:
            if self.state == DIALLING:
                self._dialled()
            if self.state >= GREETING:
                self._flush()
                self._read()
                self._alive()
        except OSError:
            self.close()
        return self.state != OFF

    def wait(self, ms):
        """Sleep until something comes, at most so long."""
        if self.state == OFF:
            time.sleep_ms(ms)
            return
        wanted = select.POLLIN | (select.POLLOUT if self._to or self.state == DIALLING else 0)
        self._poll.modify(self._raw, wanted)
        self._poll.poll(ms)

    def close(self, politely=False):
        """End the connection; politely, the broker does not publish the will."""
        if politely and self.state == UP and not self._to:
            self._out[0] = 0xE0
            self._out[1] = 0
            self._to = 2
            try:
                self._flush()
            except OSError:
                pass
        if self._raw is not None:
            self._poll.unregister(self._raw)
            for one in (self._socket, self._raw):
                try:
                    if one is not None:
                        one.close()
                except OSError:
                    pass
        if self.state in (DIALLING, GREETING):
            self._address = None  # it may have another one by now
        self._socket = self._raw = None
        self._from = self._to = self._got = 0
        self.state = OFF

    @property
    def busy(self):
        """Whether a packet is not yet written."""
        return self._to > 0

    # -- inside ----------------------------------------------------------------------------------

    def _dialled(self):
        for _, events in self._poll.ipoll(0):
            if events & (select.POLLERR | select.POLLHUP):
                raise OSError(errno.ECONNREFUSED)
            if events & select.POLLOUT:
                self._socket = self._raw
                if self._tls is not None:
                    self._socket = self._tls.wrap_socket(
                        self._raw, server_hostname=self._host, do_handshake_on_connect=False
                    )
                self._view[: len(self._connect)] = self._connect
                self._to = len(self._connect)
                self.state = GREETING
                return
        if time.ticks_diff(time.ticks_ms(), self._said) > 10000:
            raise OSError(errno.ETIMEDOUT)

    def _flush(self):
        while self._to:
            n = self._socket.write(self._view[self._from : self._to])
            if not n:
                return
            self._from += n
            if self._from == self._to:
                self._from = self._to = 0
                self._said = time.ticks_ms()

    def _read(self):
        while True:
            n = self._socket.readinto(memoryview(self._in)[self._got :])
            if n is None:
                return
            if n == 0:
                raise OSError(errno.ECONNRESET)
            self._heard = time.ticks_ms()
            self._got += n
            while self._take():
                pass

    def _take(self):
        """One packet of those that have come; all that a device gets is short. True if there was one."""
        got = self._in
        if self._got < 2 or self._got < 2 + got[1]:
            return False
        if got[1] > 120:
            raise OSError(errno.EIO)
        kind = got[0]
        packet = got[2] << 8 | got[3]
        if kind == 0x20:
            self.refused = got[3]
            if got[3]:
                raise OSError(errno.EACCES)
            self.state = UP
        elif kind == 0x40 and self._on_ack is not None:
            self._on_ack(packet)
        if self.state == OFF:  # closed by `on_ack`
            return False
        n = 2 + got[1]
        got[: self._got - n] = got[n : self._got]
        self._got -= n
        return True

    def _alive(self):
        now = time.ticks_ms()
        if time.ticks_diff(now, self._heard) > self._keepalive * 1500:
            raise OSError(errno.ETIMEDOUT)
        quiet = max(time.ticks_diff(now, self._said), time.ticks_diff(now, self._heard))
        if self.state == UP and not self._to and quiet > self._keepalive * 500:
            self._out[0] = 0xC0
            self._out[1] = 0
            self._to = 2
            self._said = now
            self._flush()


def _length(out, at, n):
    while True:
        byte = n & 127
        n >>= 7
        out[at] = byte | 128 if n else byte
        at += 1
        if not n:
            return at


def _text(out, at, text):
    n = len(text)
    out[at] = n >> 8
    out[at + 1] = n & 255
    out[at + 2 : at + 2 + n] = text
    return at + 2 + n


def _field(value):
    data = value if isinstance(value, bytes) else value.encode()
    return bytes((len(data) >> 8, len(data) & 255)) + data


def _connect_packet(client_id, user, password, will, keepalive):
    flags = 2  # a clean session: what waits is kept by the device
    body = _field(client_id)
    if will is not None:
        flags |= 4 | 1 << 3 | 32
        body += _field(will[0]) + _field(will[1])
    if user is not None:
        flags |= 128
        body += _field(user)
        if password is not None:
            flags |= 64
            body += _field(password)
    body = b"\x00\x04MQTT\x04" + bytes((flags, keepalive >> 8, keepalive & 255)) + body
    head = bytearray(5)
    head[0] = 0x10
    return bytes(head[: _length(head, 1, len(body))]) + body
