"""What windows to cut where no model says it: those of the first device's stream."""

from __future__ import annotations

from pathlib import Path

from disc_stream.errors import DataError, PayloadError, TopicError
from disc_stream.signal.units import si_unit
from disc_stream.stream.sessions import StreamSpec
from disc_stream.types import Channel, DeviceMeta, WindowSpec
from disc_stream.wire.codecs import decode_batch
from disc_stream.wire.meta import decode_meta
from disc_stream.wire.topics import Kind, Topics
from disc_stream_server.janitor import SPOOL
from disc_stream_server.storage.rows import Row
from disc_stream_server.storage.spool import SpoolReader

_ROWS = 1_024
_MAX_BYTES = 10**9


def spec_of_collected(state: Path, prefix: str, window_s: float) -> StreamSpec:
    """Channels and rate of the first batch that can be decoded, in SI units, and windows of a length.

    Raises:
        DataError: if there is none.
    """
    reader = SpoolReader(state / SPOOL)
    topics, position = Topics(prefix), 0
    metas: dict[str, DeviceMeta] = {}
    try:
        while rows := reader.read(position, _ROWS):
            position = rows[-1].position
            for row in rows:
                found = _describe(row, topics, metas)
                if found is not None:
                    return _spec(*found, window_s)
    finally:
        reader.close()
    raise DataError(
        f"nothing that can be decoded has been received in {str(state)!r} under the prefix {prefix!r}",
        remedy="Name the folder and the prefix that the server was started with",
    )


def _describe(
    row: Row, topics: Topics, metas: dict[str, DeviceMeta]
) -> tuple[tuple[Channel, ...], float] | None:
    try:
        device, kind = topics.parse(row.topic)
        if kind is Kind.META and row.payload:
            metas[device] = decode_meta(row.payload)
        if kind is not Kind.RAW:
            return None
        batch = decode_batch(
            row.payload,
            device=device,
            content_type=row.content_type,
            meta=metas.get(device),
            max_bytes=_MAX_BYTES,
        )
    except (TopicError, PayloadError):
        return None
    return batch.channels, batch.fs


def _spec(channels: tuple[Channel, ...], fs: float, window_s: float) -> StreamSpec:
    n = max(4, 2 * round(window_s * fs / 2))
    si = tuple(Channel(channel.name, si_unit(channel.unit)) for channel in channels)
    return StreamSpec(si, fs, WindowSpec(n, n // 2, n))
