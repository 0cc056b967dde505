"""What Home Assistant is told of a device: device-based MQTT discovery, one retained message each.

Source: the documentation of its MQTT integration (device discovery payload, sensor, binary sensor, event).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from disc_stream import __version__
from disc_stream.wire.event import EventType
from disc_stream.wire.topics import Kind, Topics

ONLINE, OFFLINE = b"online", b"offline"
_EVENT_TEMPLATE = (
    "{{ {'event_type': value_json.type, 'activity': value_json.name, 'id': value_json.id} | to_json }}"
)
_OBJECT = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Discovery:
    """Makes the messages.

    Args:
        topics: of the devices.
        prefix: under which Home Assistant looks for devices.
        expire_after_s: seconds without a state after which a device is unavailable.
        has_events: whether events are published, too.
    """

    topics: Topics
    prefix: str = "homeassistant"
    expire_after_s: int = 900
    has_events: bool = False

    @property
    def birth(self) -> str:
        """Where Home Assistant says that it is there."""
        return f"{self.prefix}/status"

    def topic(self, device: str) -> str:
        """Where a device is announced; an empty retained message there removes it."""
        return f"{self.prefix}/device/{self.object_of(device)}/config"

    def object_of(self, device: str) -> str:
        """An id of letters, digits, ``_`` and ``-``, as Home Assistant wants; no two devices share one."""
        text = f"{self.topics.prefix}/{device}"
        readable = _OBJECT.sub("-", device)[:64].strip("-")
        return f"disc-stream-{readable}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    def config(self, device: str, options: Sequence[str]) -> bytes:
        """The message that announces a device.

        Args:
            device: device id.
            options: every activity that there can be.
        """
        one = self.object_of(device)
        components = {
            "activity": self._activity(one, device, options),
            "connection": self._connection(one, device),
        }
        if self.has_events:
            components["event"] = self._event(one, device)
        message: dict[str, Any] = {
            "device": {
                "identifiers": [one],
                "name": device,
                "manufacturer": "disc-stream",
                "model": "wearable",
            },
            "origin": {"name": "disc-stream", "sw_version": __version__},
            "availability": [{"topic": self.topics.server_availability}],
            "qos": 1,
            "components": components,
        }
        return msgspec.json.encode(message)

    def _activity(self, one: str, device: str, options: Sequence[str]) -> dict[str, Any]:
        return {
            "platform": "sensor",
            "unique_id": f"{one}-activity",
            "name": "Activity",
            "device_class": "enum",
            "options": list(options),
            "state_topic": self.topics.of(device, Kind.ACTIVITY),
            "value_template": "{{ value_json.activity }}",
            "expire_after": self.expire_after_s,
        }

    def _connection(self, one: str, device: str) -> dict[str, Any]:
        return {
            "platform": "binary_sensor",
            "unique_id": f"{one}-connection",
            "name": "Connection",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": self.topics.of(device, Kind.STATUS),
            "value_template": "{{ value_json.state }}",
            "payload_on": "online",
            "payload_off": "offline",
        }

    def _event(self, one: str, device: str) -> dict[str, Any]:
        return {
            "platform": "event",
            "unique_id": f"{one}-event",
            "name": "Event",
            "event_types": [kind.value for kind in EventType],
            "state_topic": self.topics.of(device, Kind.EVENT),
            "value_template": _EVENT_TEMPLATE,
        }
