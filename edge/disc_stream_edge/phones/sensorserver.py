"""SensorServer (umer0586; Android): the phone is a WebSocket server, and we connect to it.

Format: https://github.com/umer0586/SensorServer. Each message is a reading of one sensor, with Android's
accuracy and the nanoseconds since the boot.
"""

from __future__ import annotations

import json
from urllib.parse import quote

from disc_stream_edge.phones.readings import PhoneMessage
from disc_stream_edge.phones.sensorspot import read_event

APP = "SensorServer"
_TYPES = ["android.sensor.accelerometer", "android.sensor.gyroscope"]


def address(url: str) -> str:
    """The address that streams both sensors, of a phone at ``ws://HOST:PORT``."""
    return f"{url.rstrip('/')}/sensors/connect?types={quote(json.dumps(_TYPES, separators=(',', ':')))}"


def read(payload: bytes) -> PhoneMessage:
    """One message.

    Raises:
        PayloadError: if it is not what the app sends.
    """
    return read_event(payload, APP)
