"""The HTTP API under ``/api/v1``: everything that people and programs ask of a running server."""
