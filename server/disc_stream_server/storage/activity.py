"""When a fleet does something, and which devices do it most: counted over the episodes of some days."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass

from disc_stream_server.storage.clusterkeys import parts_of
from disc_stream_server.storage.clusternames import ClusterNames

MOST_EPISODES = 200_000
"""That are counted; of more, those of the devices that come first by id."""
MOST_DEVICES = 10
_HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class DeviceShare:
    """How long a device did it."""

    device: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Activity:
    """What is known of one cluster, or state.

    Args:
        cluster: public id.
        seconds: of all devices together.
        devices: that did it.
        hours: 24, seconds in each hour of the day.
        most: devices that did it longest, the first one most.
        complete: whether every episode of that time was counted.
    """

    cluster: int
    seconds: float
    devices: int
    hours: tuple[float, ...]
    most: tuple[DeviceShare, ...]
    complete: bool


def activity_of(
    connection: sqlite3.Connection, names: ClusterNames, cluster: int, span: tuple[int, int], zone_us: int
) -> Activity:
    """Count the episodes that began within a time.

    Args:
        connection: to the database, in a transaction.
        names: of clusters, as they are now.
        cluster: public id.
        span: begin and end, Unix microseconds; the latter is not in it.
        zone_us: what local time is ahead of UTC.
    """
    hours, by_device, left = [0] * 24, Counter[str](), MOST_EPISODES
    query = "SELECT begin_us, end_us, state FROM episodes WHERE device = ? AND begin_us >= ? AND begin_us < ?"
    for (device,) in connection.execute("SELECT device FROM episode_states ORDER BY device"):
        for begin_us, end_us, state in connection.execute(f"{query} LIMIT ?", (device, *span, left)):
            left -= 1
            if end_us is not None and parts_of(names.public(state))[1] == cluster:
                by_device[device] += end_us - begin_us
                _spread(hours, begin_us + zone_us, end_us + zone_us)
        if left <= 0:
            break
    most = tuple(DeviceShare(name, us / 1e6) for name, us in by_device.most_common(MOST_DEVICES))
    whole = tuple(round(us / 1e6, 3) for us in hours)
    return Activity(cluster, sum(by_device.values()) / 1e6, len(by_device), whole, most, left > 0)


def _spread(hours: list[int], begin_us: int, end_us: int) -> None:
    """Add a time to the hours of the day that it lies in."""
    whole, rest_from = divmod(end_us - begin_us, 24 * _HOUR_US)
    if whole:
        for hour in range(24):
            hours[hour] += whole * _HOUR_US
    at_us, end_us = begin_us, begin_us + rest_from
    while at_us < end_us:
        upto = min(end_us, (at_us // _HOUR_US + 1) * _HOUR_US)
        hours[at_us // _HOUR_US % 24] += upto - at_us
        at_us = upto
