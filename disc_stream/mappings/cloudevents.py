"""Events as CloudEvents, in the structured mode of JSON.

Source: CloudEvents 1.0.2 and its JSON event format.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from disc_stream.mappings.times import rfc3339
from disc_stream.wire.event import Event, event_to_dict

CONTENT_TYPE = "application/cloudevents+json"
TYPE = "disc-stream."
"""Before the type of the event."""

SCHEMA = "urn:disc-stream:schema:event:1"


def to_cloudevent(event: Event, source: str) -> dict[str, Any]:
    """The envelope of an event: ``id`` and ``source`` together are unique.

    Args:
        event: what has happened.
        source: a URI that names the server, such as ``urn:disc-stream:home``.

    Returns:
        JSON values; ``data`` is the event as it is on MQTT.
    """
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": source,
        "type": TYPE + event.type.value,
        "subject": event.device,
        "time": rfc3339(event.at),
        "datacontenttype": "application/json",
        "dataschema": SCHEMA,
        "data": event_to_dict(event),
    }


def source_of(client_id: str) -> str:
    """The source of a server's events.

    Examples:
        >>> source_of("disc-stream-server")
        'urn:disc-stream:disc-stream-server'
    """
    return f"urn:disc-stream:{quote(client_id, safe='')}"
