"""Measure what the firmware references take, and write the tables into the guide.

    python edge/firmware/measure.py [docs/guides/microcontroller.md]

Needs arm-none-eabi-gcc and MicroPython's unix port. Bytes on the wire are counted at a socket.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

HERE = Path(__file__).parent
CORE = ("ds_packed", "ds_ring", "ds_session", "ds_publisher")
PROCESSORS = {
    "Cortex-M3": ("-mcpu=cortex-m3", "-mthumb"),
    "Cortex-M4": ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
}
RATES, CHANNELS = (25, 50, 100), (3, 6)
SLOTS = 64
BEGIN, END = "<!-- measured by edge/firmware/measure.py -->", "<!-- end of what is measured -->"
_STATE = """
#include "ds_publisher.h"
ds_ring ring;
ds_publisher publisher;
int16_t samples[{rows} * {channels}];
uint8_t payload[DS_PACKED_HEADER + sizeof samples];
"""


def output(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def size(folder: Path, source: Path, flags: tuple[str, ...]) -> tuple[int, int]:
    """Bytes of code and of memory of one file of C."""
    target = str(folder / "one.o")
    output("arm-none-eabi-gcc", "-std=c99", "-Os", *flags, f"-I{HERE / 'c'}", "-c", str(source), "-o", target)
    text, data, bss = map(int, output("arm-none-eabi-size", target).splitlines()[1].split()[:3])
    return text + data, data + bss


def c_state(folder: Path, rows: int, channels: int) -> int:
    """Memory of ring, session and buffers in C."""
    file = folder / "state.c"
    file.write_text(_STATE.format(rows=rows, channels=channels))
    return size(folder, file, PROCESSORS["Cortex-M4"])[1]


def interpreter() -> str:
    """MicroPython's unix port."""
    found = Path(sys.prefix) / "bin" / "micropython"
    return str(found) if found.exists() else shutil.which("micropython") or "micropython"


def heap(channels: int, rows: int, fs: int) -> dict[str, int]:
    """Bytes of MicroPython's heap."""
    script = str(HERE / "micropython/test/heap.py")
    words = [str(word) for word in (channels, rows, fs, SLOTS)]
    found: dict[str, int] = json.loads(output(interpreter(), script, *words))
    return found


class Counter:
    """Answers a publisher as a broker does, and counts what crosses the socket."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.bytes = 0
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with self._server:
            connection, _ = self._server.accept()
        with connection:
            waiting = b""
            while data := connection.recv(65_536):
                self.bytes += len(data)
                waiting += data
                while (whole := self._packet(waiting)) is not None:
                    packet, waiting = whole
                    answer = self._answer(packet)
                    self.bytes += len(answer)
                    connection.sendall(answer)

    @staticmethod
    def _packet(data: bytes) -> tuple[bytes, bytes] | None:
        length, shift, at = 0, 0, 1
        while at < len(data):
            length |= (data[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if not data[at - 1] & 128:
                end = at + length
                return (data[:end], data[end:]) if len(data) >= end else None
        return None

    @staticmethod
    def _answer(packet: bytes) -> bytes:
        if packet[0] >> 4 == 1:
            return b"\x20\x02\x00\x00"
        if packet[0] & 6:
            at = 2 if packet[1] < 128 else 3
            after = at + 2 + int.from_bytes(packet[at : at + 2], "big")
            return b"\x40\x02" + packet[after : after + 2]
        return b""


def on_the_wire(folder: Path, channels: int, rows: int, fs: int, batches: int) -> int:
    """Bytes of TCP payload, both ways, that so many batches take, with connecting."""
    counter = Counter()
    (folder / "boot").unlink(missing_ok=True)  # its digits are in the status
    facts = {
        "host": "127.0.0.1", "port": counter.port, "device": "watch-1", "folder": str(folder), "rows": rows,
        "channels": [f"c{k}" for k in range(channels)], "units": "g", "scale": 0.001, "fs": fs, "speed": 200,
        "slots": SLOTS * 4, "batches": batches,
    }  # fmt: skip
    (folder / "facts.json").write_text(json.dumps(facts))
    output(interpreter(), str(HERE / "micropython/test/host_publisher.py"), str(folder / "facts.json"))
    counter.thread.join(10)
    return counter.bytes


def per_batch(folder: Path, channels: int, rows: int, fs: int) -> int:
    """The same for one batch more."""
    few, many = (on_the_wire(folder, channels, rows, fs, batches) for batches in (20, 120))
    each, rest = divmod(many - few, 100)
    if rest:
        raise SystemExit(f"{many - few} bytes for 100 batches")
    return each


def measured(folder: Path) -> str:
    """The tables, as Markdown."""
    lines = [
        "| Flash of the core in C, `-Os` | " + " | ".join(PROCESSORS) + " |",
        "| --- | " + " | ".join("---" for _ in PROCESSORS) + " |",
    ]
    total = dict.fromkeys(PROCESSORS, 0)
    for name in CORE:
        sizes = {one: size(folder, HERE / "c" / f"{name}.c", flags)[0] for one, flags in PROCESSORS.items()}
        total = {one: total[one] + sizes[one] for one in PROCESSORS}
        lines.append(f"| `{name}.c` | " + " | ".join(f"{n:,}" for n in sizes.values()) + " |")
    lines.append("| all | " + " | ".join(f"{n:,}" for n in total.values()) + " |")
    files = {
        what: sum(path.stat().st_size for path in (HERE / what).glob(pattern))
        for what, pattern in (("micropython", "ds_*.py"), ("banglejs", "*.js"))
    }
    sources = (
        f"Flash of the MicroPython modules is {files['micropython']:,} bytes of source, of the Bangle.js app "
        f"{files['banglejs']:,}."
    )
    names = (
        "Samples/s", "Channels", "Batch, bytes", "MQTT, bytes/hour", "Bluetooth, bytes/hour", "C, RAM",
        "MicroPython, heap: code + data", "Held in 64 KiB",
    )  # fmt: skip
    lines += ["", sources, "", f"| {' | '.join(names)} |", "| --- " * len(names) + "|"]
    for fs in RATES:
        for channels in CHANNELS:
            rows = fs // 2
            batch = 24 + rows * channels * 2
            each = per_batch(folder, channels, rows, fs)
            hour = 3_600 * fs / rows
            found = heap(channels, rows, fs)
            cells = (
                f"{fs}", f"{channels}", f"{batch}", f"{each * hour:,.0f}", f"{(batch + 16) * hour:,.0f}",
                f"{c_state(folder, rows, channels):,}",
                f"{found['code']:,} + {found['data'] - found['ring']:,}",
                f"{65_536 // batch * rows / fs:.0f} s",
            )  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables, or write them into a page."""
    with tempfile.TemporaryDirectory() as folder:
        tables = measured(Path(folder))
    if len(sys.argv) < 2:
        print(tables)
        return
    page = Path(sys.argv[1])
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
