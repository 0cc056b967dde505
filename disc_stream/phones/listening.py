"""The two addresses for phones: HTTPS for the page, HTTP for apps that trust no certificate of ours."""

from __future__ import annotations

import errno
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from disc_stream.errors import ConfigError, PortInUseError
from disc_stream_server.dashboard.connections import Connections

_GRACE_S = 1
_MOST = 128  # connections at a time


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files of a certificate, with those that signed it, and its key."""

    chain: Path
    key: Path


class Web:
    """An HTTP or HTTPS server on a thread of its own.

    Args:
        host: address that is listened on.
        port: TCP port, 0 for any.
        certificate: for HTTPS.

    Raises:
        PortInUseError: if the port is taken.
        ConfigError: if the address cannot be used.
    """

    def __init__(self, host: str, port: int, certificate: Certificate | None = None) -> None:
        self._certificate = certificate
        self._socket = _listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self, app: Starlette) -> None:
        """Serve."""
        connections = Connections(limit=_MOST)
        files = self._certificate
        config = uvicorn.Config(
            app,
            http=connections.protocol_class(),
            backlog=connections.backlog,
            ssl_certfile=None if files is None else str(files.chain),
            ssl_keyfile=None if files is None else str(files.key),
            log_config=None,
            access_log=False,  # addresses hold tokens
            ws="none",
            lifespan="off",
            server_header=False,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name=f"phones-{self.port}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Free the port."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(_GRACE_S + 4)
        self._socket.close()


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"port {port} on {host} is already in use",
                remedy="Choose others with --port and --push-port, or stop what listens there",
            ) from error
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            remedy="Give an address of this machine as --bind",
        ) from error
    listener.set_inheritable(False)
    return listener


def own_address() -> str | None:
    """This machine's address in its network, as the system would choose it; None without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a documentation address (RFC 5737); nothing is sent
        except OSError:
            return None
        return str(probe.getsockname()[0])
