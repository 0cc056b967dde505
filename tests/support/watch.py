"""The Bangle.js app in node, and a radio to it: bleak's own client over a backend in place of Bluetooth.

App, encoder, queue, frames, gateway and publisher are the real ones; what is not tested is a radio.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError

from disc_stream_edge.ble import NOTIFY, WRITE

APP = Path(__file__).parents[2] / "edge" / "firmware" / "banglejs"
ROWS = 25
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")


def motion(seed: int, batches: int) -> npt.NDArray[np.float64]:
    """Acceleration in g as the sensor gives it: counts of 1/8192, some beyond what int16 holds."""
    counts = np.random.default_rng(seed).integers(-33_000, 33_000, (batches * ROWS, 3))
    return counts / 8_192


class Watch:
    """A watch with the app; ``folder`` is its storage."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            ["node", str(APP / "test" / "watch.js"), str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        self._lock = threading.Lock()

    def tell(self, **what: object) -> bytes:
        """One line of the watch's world; what it sends."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(what) + "\n")
            return bytes.fromhex(json.loads(self._process.stdout.readline())["out"])

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class Radio(BaseBleakClient):
    """A backend of bleak for one watch; notifications of 20 bytes, as without a longer MTU."""

    watch: ClassVar[Watch]
    here: ClassVar[Radio]

    def __init__(self, *args: Any, timeout: float = 1, **kwargs: Any) -> None:
        super().__init__(*args, timeout=timeout, **{"disconnected_callback": None, **kwargs})
        self._up, self._notify = False, lambda data: None

    @property
    def name(self) -> str:
        return "Bangle.js"

    @property
    def mtu_size(self) -> int:
        return 23

    @property
    def is_connected(self) -> bool:
        return self._up

    async def connect(self, pair: bool, **kwargs: Any) -> None:
        service = BleakGATTService(None, 1, NOTIFY.replace("0003", "0001", 1))
        self.services = BleakGATTServiceCollection()
        self.services.add_service(service)
        for handle, uuid, kind in ((2, NOTIFY, "notify"), (4, WRITE, "write-without-response")):
            one = BleakGATTCharacteristic(None, handle, uuid, [kind], lambda: 20, service)
            self.services.add_characteristic(one)
        self._up, type(self).here = True, self
        self.watch.tell(connect=True)

    async def disconnect(self) -> None:
        self._up = False
        self.watch.tell(connect=False)

    def lose(self) -> None:
        """The watch goes out of reach."""
        self._up = False
        self.watch.tell(connect=False)
        if self._disconnected_callback is not None:
            self._disconnected_callback()

    def hear(self, data: bytes) -> None:
        """What the watch has sent."""
        for at in range(0, len(data), 20):
            if self._up:
                self._notify(bytearray(data[at : at + 20]))

    async def write_gatt_char(self, characteristic: object, data: Any, response: bool) -> None:
        if not self._up:
            raise BleakError("not connected")
        self.hear(self.watch.tell(data=bytes(data).hex()))

    async def start_notify(self, characteristic: object, callback: Any, **kwargs: Any) -> None:
        self._notify = callback

    async def stop_notify(self, characteristic: object) -> None: ...
    async def pair(self, *args: Any, **kwargs: Any) -> None: ...
    async def unpair(self) -> None: ...
    async def read_gatt_char(self, *args: Any, **kwargs: Any) -> bytearray:
        raise NotImplementedError

    async def read_gatt_descriptor(self, *args: Any, **kwargs: Any) -> bytearray:
        raise NotImplementedError

    async def write_gatt_descriptor(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError
