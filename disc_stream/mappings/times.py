"""Times as these standards write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_US = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


def rfc3339(us: int) -> str:
    """Unix microseconds as a time in UTC; times outside the years 1 to 9999 become the nearest within.

    Examples:
        >>> rfc3339(1_700_000_000_250_000)
        '2023-11-14T22:13:20.250000Z'
    """
    within = min(max(us, -62_135_596_800_000_000), _LAST_US)
    return (_EPOCH + timedelta(microseconds=within)).isoformat(timespec="microseconds").replace("+00:00", "Z")
