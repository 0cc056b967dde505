"""Events on their way out of the server: to MQTT, and to webhooks."""

from disc_stream_server.events.service import Events

__all__ = ["Events"]
