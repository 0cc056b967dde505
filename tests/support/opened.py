"""What Python opens while somebody else's file is read: nothing but that file, and modules."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_READ_ANYWHERE = ("/proc/", "/sys/", "/dev/null", sys.prefix, sys.base_prefix)
_ACTIONS = {
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "socket.connect",
    "os.remove",
    "os.rename",
    "os.mkdir",
}


class Opened:
    """An audit hook (it cannot be taken away again, so it is muted) that notes what is opened and started."""

    def __init__(self) -> None:
        self._watching = False
        self._paths: list[tuple[str, bool]] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[object, ...]) -> None:
        if not self._watching:
            return
        if event == "open" and isinstance(args[0], str | bytes):
            path, mode = args[0], args[1]
            writes = isinstance(mode, str) and bool(set(mode) & set("wax+"))
            self._paths.append((path if isinstance(path, str) else path.decode(errors="replace"), writes))
        elif event in _ACTIONS:
            self._paths.append((event, True))

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Forget what was noted, and note until the end of the block."""
        self._watching, self._paths = True, []
        try:
            yield
        finally:
            self._watching = False

    def outside(self, folder: Path) -> list[str]:
        """What was opened that is neither in ``folder`` nor read from where Python and its modules lie."""
        return [
            path
            for path, writes in self._paths
            if not path.startswith(str(folder)) and (writes or not path.startswith(_READ_ANYWHERE))
        ]


OPENED = Opened()
