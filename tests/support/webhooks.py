"""Whoever receives webhooks: a real HTTP server that answers what it is told to."""

from __future__ import annotations

import http.server
import json
import threading

from tests.support.listener import PATIENCE_S


class WebhookReceiver:
    """Takes POSTs on loopback, and keeps them.

    Args:
        port: to listen on; 0 for any.
    """

    def __init__(self, port: int = 0) -> None:
        self.answers: list[tuple[int, dict[str, str]]] = []
        """Status and headers of the next answers; 204 when there are none."""
        self.got: list[tuple[dict[str, str], bytes]] = []
        """Headers, by their names in lower case, and bodies."""
        self._changed = threading.Condition()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer._take({name.lower(): value for name, value in self.headers.items()}, body, self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.HTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?key=secret"
        serve = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        serve.start()

    def _take(self, headers: dict[str, str], body: bytes, to: http.server.BaseHTTPRequestHandler) -> None:
        status, answer = self.answers.pop(0) if self.answers else (204, {})
        to.send_response(status)
        for name, value in answer.items():
            to.send_header(name, value)
        to.end_headers()
        with self._changed:
            self.got.append((headers, body))
            self._changed.notify_all()

    def wait(self, n: int) -> None:
        """Wait until n came."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.got) >= n, PATIENCE_S), self.devices()

    def devices(self) -> list[str]:
        """Whom they were about."""
        return [json.loads(body)["subject"] for _, body in self.got]

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
