"""The live page: what every device does now, at http://127.0.0.1:8765 by default."""

from disc_stream_server.dashboard.access import PageAccess, read_token
from disc_stream_server.dashboard.app import Dashboard
from disc_stream_server.dashboard.web import PageInfo

__all__ = ["Dashboard", "PageAccess", "PageInfo", "read_token"]
