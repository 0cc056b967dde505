"""The HTTP API under ``/api/v1``: everything that people and programs ask of a running server."""

from disc_stream_server.api.app import Api
from disc_stream_server.api.context import Parts

__all__ = ["Api", "Parts"]
