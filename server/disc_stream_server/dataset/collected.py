"""What windows to cut where no model says it: those of the first device's stream."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from disc_stream.errors import DataError, PayloadError, TopicError
from disc_stream.signal.units import si_unit
from disc_stream.stream.sessions import StreamSpec
from disc_stream.types import Channel, DeviceMeta, SampleBatch, WindowSpec
from disc_stream.wire.codecs import decode_batch
from disc_stream.wire.meta import decode_meta
from disc_stream.wire.topics import Kind, Topics
from disc_stream_server.janitor import SPOOL
from disc_stream_server.storage.rows import Row
from disc_stream_server.storage.spool import SpoolReader

_ROWS = 1_024
_MAX_BYTES = 10**9
_PLACES, _ROWS_EACH = 8, 64  # of the spool that an estimate looks at


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


def estimate_collected(state: Path, prefix: str, window_s: float) -> tuple[int, int]:
    """About how many windows the spool holds, and how many devices at least.

    A few messages at eight places say how long the motion in one is; how many rows there are is known. So it
    takes the same time whatever the spool holds.

    Args:
        state: the state folder.
        prefix: of the topics.
        window_s: length of the windows; they overlap by half.

    Raises:
        StorageError: if the spool cannot be read.
    """
    topics, metas, devices = Topics(prefix), dict[str, DeviceMeta](), set[str]()
    n_rows, seconds = 0, 0.0
    with closing(SpoolReader(state / SPOOL)) as reader:
        first, last = reader.first, reader.head
        if not first:
            return 0, 0
        step = max(_ROWS_EACH, (last - first + 1) // _PLACES)
        for place in range(first - 1, last, step):
            for row in reader.read(place, _ROWS_EACH):
                n_rows += 1
                batch = _decode(row, topics, metas)
                if batch is not None:
                    devices.add(batch.device)
                    seconds += len(batch.samples) / batch.fs
    return int(seconds / max(1, n_rows) * (last - first + 1) / (window_s / 2)), len(devices)


def _describe(
    row: Row, topics: Topics, metas: dict[str, DeviceMeta]
) -> tuple[tuple[Channel, ...], float] | None:
    batch = _decode(row, topics, metas)
    return None if batch is None else (batch.channels, batch.fs)


def _decode(row: Row, topics: Topics, metas: dict[str, DeviceMeta]) -> SampleBatch | None:
    """The batch of a row; None if it holds none that can be decoded."""
    try:
        device, kind = topics.parse(row.topic)
        if kind is Kind.META and row.payload:
            metas[device] = decode_meta(row.payload)
        if kind is not Kind.RAW:
            return None
        return decode_batch(
            row.payload,
            device=device,
            content_type=row.content_type,
            meta=metas.get(device),
            max_bytes=_MAX_BYTES,
        )
    except (TopicError, PayloadError):
        return None


def _spec(channels: tuple[Channel, ...], fs: float, window_s: float) -> StreamSpec:
    n = max(4, 2 * round(window_s * fs / 2))
    si = tuple(Channel(channel.name, si_unit(channel.unit)) for channel in channels)
    return StreamSpec(si, fs, WindowSpec(n, n // 2, n))
