"""How much one client may ask for, and how large and slow a request may be."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import Message, Receive

from disc_stream_server.api.problems import ApiError

MAX_BODY = 64 * 1024
"""Bytes of a request's body."""
BODY_S = 10.0
"""Seconds within which it must have come."""
BURST_S = 4.0
"""After silence, a client may ask at once what it may ask in so many seconds."""
_MOST = 10_000  # clients remembered


class RateLimit:
    """A token bucket for each client.

    Args:
        per_s: requests a second.
        now: monotonic seconds.
    """

    def __init__(self, per_s: float, now: Callable[[], float]) -> None:
        self._per_s, self._now = per_s, now
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests, and when counted

    def take(self, client: str, cost: float = 1.0) -> float:
        """Count a request; seconds to wait if it comes too soon, else 0."""
        now, most = self._now(), max(1.0, self._per_s * BURST_S)
        left, at = self._left.get(client, (most, now))
        left = min(most, left + (now - at) * self._per_s)
        waits_s = 0.0 if left >= cost else (cost - left) / self._per_s
        self._left[client] = (left if waits_s else left - cost, now)
        self._left.move_to_end(client)
        if len(self._left) > _MOST:
            self._left.popitem(last=False)
        return waits_s


async def read_body(receive: Receive, claimed: str) -> Receive:
    """Take a body of bounded size within a bounded time.

    Args:
        receive: of the server.
        claimed: ``content-length``, if the client gave it.

    Returns:
        What hands the body over, as one part.

    Raises:
        ApiError: 413 or 408.
    """
    if claimed.isdecimal() and int(claimed) > MAX_BODY:
        raise _too_large()
    body, more = bytearray(), True
    try:
        async with asyncio.timeout(BODY_S):
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    break
                body += message.get("body", b"")
                if len(body) > MAX_BODY:
                    raise _too_large()
                more = message.get("more_body", False)
    except TimeoutError:
        raise ApiError(408, f"the body did not come within {BODY_S:g} s", "Send it at once") from None
    parts: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

    async def hand_over() -> Message:
        return parts.pop() if parts else await receive()

    return hand_over


def _too_large() -> ApiError:
    return ApiError(413, f"the body has more than {MAX_BODY} bytes", "Send less at a time")
