"""Home Assistant: devices announced by MQTT discovery, and states at a pace that its users can bear."""

from disc_stream_server.homeassistant.bridge import HomeAssistant

__all__ = ["HomeAssistant"]
