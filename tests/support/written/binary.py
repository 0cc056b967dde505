"""Binary recordings, written as their makers describe the formats.

ActiGraph .gt3x: https://github.com/actigraph/GT3X-File-Format (`info.txt`, and records of `log.bin`).
Axivity .cwa: the data format in https://github.com/openmovementproject/openmovement (`cwa.h`).
GENEActiv .bin: the file format in the GENEActiv instruction manual (pages of 300 samples in hexadecimal).
"""

# ruff: noqa: E501  (lines of files are as long as they are)
from __future__ import annotations

import math
import struct
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from tests.support.written.base import Rows

START = datetime(2024, 5, 20, 10, 0, tzinfo=UTC)


def write_gt3x(path: Path, acc: Rows, fs: int) -> float:
    """(n, 3) acceleration in g, whole seconds of it; the value of a count."""
    scale = 256
    counts = np.rint(acc * scale).astype(int)[:, [1, 0, 2]]
    start = int(START.timestamp())
    parameters = struct.pack("<HHIHHI", 0, 55, _gt3x_float(scale), 1, 10, fs)  # ACCEL_SCALE, SAMPLE_RATE
    log = bytearray(_gt3x_record(21, start, parameters))
    for second in range(len(counts) // fs):
        values = counts[second * fs : (second + 1) * fs].ravel().tolist()
        packed = bytes.fromhex("".join(f"{value & 0xFFF:03X}" for value in values))
        log += _gt3x_record(0, start + second, packed)  # ACTIVITY: 12 bits each, in the order y, x, z
    ticks = (start + 62_135_596_800) * 10_000_000  # of 100 ns since the year 1
    info = {
        "Serial Number": "MOS2A00000000", "Device Type": "Link", "Firmware": "1.7.2", "Battery Voltage": "4.18",
        "Sample Rate": fs, "Start Date": ticks, "Stop Date": ticks + len(counts) // fs * 10_000_000,
        "TimeZone": "00:00:00", "Acceleration Scale": f"{scale}.0", "Acceleration Min": "-8.0",
        "Acceleration Max": "8.0",
    }  # fmt: skip
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("info.txt", "".join(f"{name}: {value}\r\n" for name, value in info.items()))
        archive.writestr("log.bin", bytes(log))
    return 1 / scale


def _gt3x_float(value: float) -> int:
    """A significand of 24 bits and an exponent of 8."""
    significand, exponent = math.frexp(value)
    return (exponent & 0xFF) << 24 | round(significand * 2**23)


def _gt3x_record(kind: int, at_s: int, payload: bytes) -> bytes:
    record = struct.pack("<BBIH", 0x1E, kind, at_s, len(payload)) + payload
    checksum = 0
    for byte in record:
        checksum ^= byte
    return record + bytes([~checksum & 0xFF])


def write_cwa(path: Path, acc: Rows, fs: int) -> float:
    """(n, 3) acceleration in g, a multiple of 80 samples at 50 or 100 Hz; the value of a count."""
    scale, rate = 4096, {50: 0x49, 100: 0x4A}[fs]  # range of 8 g in the two high bits
    counts = np.rint(acc * scale).astype("<i2")
    header = bytearray(1024)
    struct.pack_into("<2sHBHI", header, 0, b"MD", 1020, 0x17, 12_345, 1)
    struct.pack_into("<IIIB", header, 13, _cwa_time(0), _cwa_time(86_400), 0, 0)
    header[36], header[41] = rate, 44
    out = bytearray(header)
    for number in range(len(counts) // 80):
        block = bytearray(512)
        at = number * 80 / fs
        whole = int(at)
        struct.pack_into("<2sHHII", block, 0, b"AX", 508, 0, 1, number)
        # The three high bits of the light are the unit: 2 ** -(8 + 4) g.
        struct.pack_into("<IHHBB", block, 14, _cwa_time(whole), 4 << 13, 300, 0, 200)
        # The time is that of a sample within the block, counted from its first.
        struct.pack_into("<BBhH", block, 24, rate, 0x32, -round((at - whole) * fs), 80)
        block[30 : 30 + 480] = counts[number * 80 : (number + 1) * 80].tobytes()
        total = sum(struct.unpack("<255H", block[:510])) & 0xFFFF
        struct.pack_into("<H", block, 510, -total & 0xFFFF)
        out += block
    path.write_bytes(bytes(out))
    return 1 / scale


def _cwa_time(seconds: int) -> int:
    at = datetime.fromtimestamp(START.timestamp() + seconds, UTC)
    return (at.year - 2000) << 26 | at.month << 22 | at.day << 17 | at.hour << 12 | at.minute << 6 | at.second


def write_geneactiv(path: Path, acc: Rows, fs: int) -> float:
    """(n, 3) acceleration in g, a multiple of 300 samples; the value of a count."""
    gain, offset = (
        (25_600, 25_000, 25_300),
        (100, -200, 300),
    )  # of the calibration: g = (100 count - offset) / gain
    counts = np.rint((acc * gain + offset) / 100).astype(int)
    pages = len(counts) // 300
    calibration = [
        line
        for axis, g, o in zip("xyz", gain, offset, strict=True)
        for line in (f"{axis} gain:{g}", f"{axis} offset:{o}")
    ]
    lines = [
        "Device Identity", "Device Unique Serial Code:012345", "Device Type:GENEActiv", "Device Model:1.1",
        "Device Firmware Version:Ver5.09a date23Sep14", "Calibration Date:2014-11-06 15:16:07:000", " ",
        "Device Capabilities", "Accelerometer Range:-8 to 8", "Accelerometer Resolution:0.0039",
        "Accelerometer Units:g", "Light Meter Range:0 to 5000", "Light Meter Resolution:5",
        "Light Meter Units:lux", "Temperature Sensor Range:0 to 70", "Temperature Sensor Resolution:0.25",
        "Temperature Sensor Units:deg. C", " ",
        "Configuration Info", f"Measurement Frequency:{fs} Hz", "Measurement Period:24 Hours",
        f"Start Time:{START:%Y-%m-%d %H:%M:%S}:000", "Last measurement: ", "Time Zone:GMT +00:00", " ",
        "Trial Info", "Study Centre: ", "Study Code: ", "Investigator ID: ", "Exercise Type: ",
        "Config Operator ID: ", "Config Time: ", "Config Notes: ", "Extract Operator ID: ", "Extract Time: ",
        "Extract Notes: ", " ",
        "Subject Info", "Device Location Code:left wrist", "Subject Code: ", "Date of Birth:1900-1-1", "Sex: ",
        "Height: ", "Weight: ", "Handedness Code: ", "Subject Notes: ", " ",
        "Calibration Data", *calibration, "Volts:300", "Lux:800", " ",
        "Memory Status", f"Number of Pages:{pages}",
    ]  # fmt: skip
    for page in range(pages):
        at = datetime.fromtimestamp(START.timestamp() + page * 300 / fs, UTC)
        words = "".join(
            f"{(x & 0xFFF) << 36 | (y & 0xFFF) << 24 | (z & 0xFFF) << 12:012X}"
            for x, y, z in counts[page * 300 : (page + 1) * 300].tolist()
        )
        lines += [
            "Recorded Data", "Device Unique Serial Code:012345", f"Sequence Number:{page}",
            f"Page Time:{at:%Y-%m-%d %H:%M:%S}:{at.microsecond // 1000:03d}", "Unassigned:", "Temperature:24.0",
            "Battery voltage:4.0850", "Device Status:Recording", f"Measurement Frequency:{fs}.0", words,
        ]  # fmt: skip
    path.write_text("\r\n".join(lines) + "\r\n", encoding="ascii", newline="")
    return 100 / min(gain)


WRITERS = {".gt3x": write_gt3x, ".cwa": write_cwa, ".bin": write_geneactiv}
