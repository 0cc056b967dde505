"""What the receiving process is told, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass, field

from disc_stream.wire.limits import HEADER_BYTES, MAX_PACKET_BYTES
from disc_stream_server.receiving.ratelimiter import DeviceLimits


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """What the receiving process is told; plain values, for they cross a pipe.

    Args:
        broker: URL; it may hold a password, so it is never logged.
        prefix: of the topics.
        client_id: fixed, the broker keeps our queue under it.
        session_expiry_s: how long it does.
        receive_maximum: unacknowledged messages in flight to us.
        spool: folder of the spool.
        max_file_bytes: size from which on the spool begins a new file.
        max_delay_s: longest wait for further messages to commit together.
        floor: position that is known to have been given away, even if the spool has been removed since.
        idle_s: for so long after the last message, rows are written that say that time has passed.
        max_payload_bytes: larger payloads are refused by whoever reads the spool; of those, a byte more than
            this is spooled.
        limits: what each device may send.
    """

    broker: str = field(repr=False)
    prefix: str
    client_id: str
    session_expiry_s: int
    receive_maximum: int
    spool: str
    max_file_bytes: int
    max_delay_s: float
    floor: int = 0
    idle_s: float = 11.0
    max_payload_bytes: int = 262_144
    limits: DeviceLimits = DeviceLimits()  # noqa: RUF009 - frozen

    @property
    def max_packet_bytes(self) -> int:
        """What the broker may send us at most; the one of `disc-stream broker config` takes no more."""
        return max(MAX_PACKET_BYTES, self.max_payload_bytes + HEADER_BYTES)


@dataclass(slots=True)
class ReceiverCounts:
    """Totals since the process began.

    Args:
        received: messages, repetitions included.
        received_bytes: their payloads.
        groups: transactions they were committed in.
        takeovers: connections that ended because another client connected with our id.
        turned_away: messages of QoS 0 that came faster than they could be committed.
        probes: messages of the server to itself, which are not spooled.
        sessions_lost: connections on which the broker had no queue for us though there had been one before:
            what was published while we were away is lost.
        retries: commits that failed for want of space.
        retained: samples that the broker had kept from before; they are passed over.
        empty: samples without a byte. That is also what removes a retained message, perhaps of a device that
            was erased, so nothing is kept of them.
        limited: messages that had to wait, for their device had sent more than it may.
        over_quota: messages that were refused, for too many of their device waited already.
        waiting: messages that wait now.
        cpu_us_spool: processor time of committing, microseconds.
        cpu_us_receive: processor time of everything else in this process.
    """

    received: int = 0
    received_bytes: int = 0
    groups: int = 0
    takeovers: int = 0
    turned_away: int = 0
    probes: int = 0
    sessions_lost: int = 0
    retries: int = 0
    retained: int = 0
    empty: int = 0
    limited: int = 0
    over_quota: int = 0
    waiting: int = 0
    cpu_us_spool: int = 0
    cpu_us_receive: int = 0
