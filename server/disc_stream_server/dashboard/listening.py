"""Taking a TCP port, with errors that say what to do, and serving on it in a thread."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from disc_stream.errors import ConfigError, PortInUseError
from disc_stream_server.dashboard.connections import MAX_MESSAGE, Connections

GRACE_S = 1  # for answers in progress, after they were asked to end


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; with port 0 the system chooses one.

    Raises:
        PortInUseError: if it is taken.
        ConfigError: if the address is not one of this machine's, or the port needs rights we lack.
    """
    try:
        return _listen(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"port {port} on {host} is already in use",
                remedy="Choose another one, or stop what listens there",
            ) from error
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            remedy="Use an address of this machine and a port that you may open, such as 127.0.0.1:8765",
        ) from error


def web_server(app: ASGIApp, connections: Connections, *, sockets: bool = False) -> uvicorn.Server:
    """Serves an application within the bounds of its connections, WebSockets only where they are wanted."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=connections.protocol_class(),
            backlog=connections.backlog,
            log_config=None,
            access_log=False,
            lifespan="on",
            ws=connections.socket_class() if sockets else "none",
            ws_max_size=MAX_MESSAGE,
            ws_per_message_deflate=False,  # a few bytes of it can stand for very many
            server_header=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=GRACE_S,
        )
    )


def serve_in_thread(server: uvicorn.Server, listener: socket.socket, name: str) -> threading.Thread:
    """Serve on a socket in the background; the system knows the thread, and those it starts, by its name."""

    def serve() -> None:
        with contextlib.suppress(OSError):  # where there is no such file, `top -H` shows python
            Path("/proc/thread-self/comm").write_text(name, encoding="ascii")
        server.run([listener])

    thread = threading.Thread(target=serve, name=name, daemon=True)
    thread.start()
    return thread


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP, or asyncio leaves Nagle's algorithm on, and short answers wait 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    listener.set_inheritable(False)
    return listener
