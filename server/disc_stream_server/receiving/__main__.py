"""The receiving process: ``python -P -m disc_stream_server.receiving``, started by the server.

Its settings are the first line on stdin, as JSON, so that no password shows in a list of processes. It
stops at the line ``stop``, and at once when stdin ends: then the server is gone. Lines in between are orders,
in JSON: ``{"hold": [devices]}`` and ``{"forget": device}``. Reports are JSON lines on stdout.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from typing import Any

from disc_stream.errors import DiscStreamError
from disc_stream.text import log_formatter
from disc_stream_server.memory import collect_seldom, reuse_large_buffers
from disc_stream_server.receiving.ratelimiter import DeviceLimits
from disc_stream_server.receiving.receiver import Receiver
from disc_stream_server.receiving.settings import ReceiverSettings

log = logging.getLogger(__name__)

_SWITCH_S = 0.0002
"""For which one thread may keep another one waiting: each step of a commit would wait for 5 ms by default."""


def main() -> int:
    """Run until told to stop; 0 if that went well."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a Ctrl-C reaches the whole group: the server decides
        signal.signal(number, signal.SIG_IGN)
    told = json.loads(sys.stdin.readline())
    handler = logging.StreamHandler()
    handler.setFormatter(log_formatter(told.pop("log_format")))
    logging.basicConfig(level=told.pop("log_level"), handlers=[handler])
    lock = threading.Lock()

    def report(event: dict[str, Any]) -> None:
        with lock:
            sys.stdout.write(json.dumps(event) + "\n")
            sys.stdout.flush()

    try:
        told["limits"] = DeviceLimits(**told["limits"])
        receiver = Receiver(ReceiverSettings(**told), report)
        threading.Thread(target=_listen, args=(receiver,), daemon=True).start()
        collect_seldom()
        sys.setswitchinterval(_SWITCH_S)
        reuse_large_buffers()
        receiver.run()
    except BrokenPipeError:
        return 1
    except DiscStreamError as error:
        report(
            {
                "event": "failed",
                "kind": type(error).__name__,
                "message": error.message,
                "remedy": error.remedy,
            }
        )
        return 1
    report({"event": "stopped"})
    return 0


def _listen(receiver: Receiver) -> None:
    for line in sys.stdin:
        if line.strip() == "stop":
            receiver.stop()
            if not receiver.ready.is_set():  # it may wait long for the broker, and has little to finish
                os._exit(0)  # what is not acknowledged stays with the broker
            return
        if line.strip():
            order = json.loads(line)
            if "hold" in order:
                receiver.hold(order["hold"])
            elif "forget" in order:
                receiver.forget(order["forget"])
    os._exit(1)  # the server is gone; what is not acknowledged stays with the broker


if __name__ == "__main__":
    sys.exit(main())
