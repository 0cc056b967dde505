"""A server that never answers, a resolver that can be made to hang, and how long things take."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class Resolver:
    """The machine's resolver, which can be made to hang."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._answers = threading.Event()
        self._answers.set()
        self.asked = threading.Semaphore(0)
        self.calls = 0
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._look_up)

    def hang(self) -> None:
        self._answers.clear()

    def answer(self) -> None:
        self._answers.set()

    def _look_up(self, *args: Any, **options: Any) -> Any:
        self.calls += 1
        self.asked.release()
        self._answers.wait(30)
        return self._real(*args, **options)


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
