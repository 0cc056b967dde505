"""A server that accepts connections and never answers, and how long things take."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def silent_server() -> Iterator[tuple[int, threading.Semaphore]]:
    """Its port, and a count of the connections that it has accepted and will never answer."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted, kept = threading.Semaphore(0), []

    def accept() -> None:
        while True:
            try:
                kept.append(listener.accept()[0])
            except OSError:
                return
            accepted.release()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1]), accepted
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
        for one in kept:
            one.close()


def seconds_of(what: Callable[[], object]) -> float:
    begin = time.monotonic()
    what()
    return time.monotonic() - begin
