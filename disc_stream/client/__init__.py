"""The Python client of a server's API, for programs of others.

::

    from disc_stream.client import Client, AsyncClient

    with Client("http://127.0.0.1:8765", token="ds_…") as client:
        for device in client.devices(tag="ward 3"):
            print(device["id"], device["current"])
        for label in client.labels(device="watch-17"):          # live, without an end
            print(label["name"], label["confidence"])

    async with AsyncClient("http://127.0.0.1:8765", token="ds_…") as client:
        async for label in client.labels(device="watch-17"):
            print(label["name"])

``labels`` connects again when the connection breaks, and goes on where it was. Errors are those of
``disc_stream.errors``; an answer that is a problem becomes an ``ApiError``.
"""

from disc_stream.client.asynchronous import AsyncClient
from disc_stream.client.shared import ApiError, Missed
from disc_stream.client.synchronous import Client

__all__ = ["ApiError", "AsyncClient", "Client", "Missed"]
