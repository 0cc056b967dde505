"""Labels as SenML, the measurement lists of the IETF.

Each label is two records: the activity's name (``vs``) and its confidence (``v``, a ratio), at the time of
the window's begin. Names are ``urn:disc-stream:<device>:activity`` and ``…:confidence``.

Source: RFC 8428 (SenML), sections 4 and 5; its registry of units for ``/``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

VERSION = 10
_LEAST_ABSOLUTE_S = 2**28  # RFC 8428, 4.5.3: smaller times are relative to now


class LabelLike(Protocol):
    """What is asked of a label; ``disc_stream_server.storage.history.WindowLabel`` is one."""

    @property
    def device(self) -> str:
        """Its device."""
        ...

    @property
    def begin_us(self) -> int:
        """Begin of the window, Unix microseconds."""
        ...

    @property
    def name(self) -> str:
        """Of the cluster."""
        ...

    @property
    def confidence(self) -> float:
        """Probability."""
        ...


def to_senml(labels: Iterable[LabelLike]) -> list[dict[str, Any]]:
    """One pack of all labels, in order; base name and base time are given where a device begins.

    A label of a time before July 1978 has no place here, for SenML takes such times as relative to now; it is
    left out.

    Args:
        labels: of one device or several; those of a device together make the pack smaller.

    Returns:
        The records as JSON values.
    """
    records: list[dict[str, Any]] = []
    device, base_us = "", 0
    for label in labels:
        if label.begin_us < _LEAST_ABSOLUTE_S * 1_000_000:
            continue
        record: dict[str, Any] = {}
        if label.device != device:
            device, base_us = label.device, label.begin_us
            record = {"bn": f"urn:disc-stream:{device}:", "bt": base_us / 1e6}
            if not records:
                record["bver"] = VERSION
        at = _offset(label.begin_us - base_us)
        records.append({**record, "n": "activity", **at, "vs": label.name})
        records.append({"n": "confidence", "u": "/", **at, "v": round(label.confidence, 7)})
    return records


def _offset(us: int) -> dict[str, float]:
    return {"t": us / 1e6} if us else {}
