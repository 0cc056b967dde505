"""Sensors of the machine: Industrial I/O as the kernel shows it, and lines from a serial port."""

from __future__ import annotations

import os
import pty
import threading
from pathlib import Path

import numpy as np
import pytest

from disc_stream.clock import ManualClock, SystemClock
from disc_stream.errors import ConfigError, DataError, InputNotFoundError
from disc_stream.types import Channel
from disc_stream_edge.iio import IioSource
from disc_stream_edge.lines import LineSource, read_chunks
from disc_stream_edge.serial import open_serial

# An accelerometer and gyroscope, by the kernel's ABI: ±4 g and 2,000 °/s of 16 bits, 104 Hz.
TREE = {
    "name": "lsm6dso",
    "in_accel_scale": "0.001196413",
    "in_anglvel_scale": "0.001221729",
    "in_accel_sampling_frequency": "104.000000",
    "in_accel_x_raw": "12",
    "in_accel_y_raw": "-340",
    "in_accel_z_raw": "8195",
    "in_anglvel_x_raw": "3",
    "in_anglvel_y_raw": "-7",
    "in_anglvel_z_raw": "0",
    "in_temp_raw": "512",
}


def tree(folder: Path, **changes: str | None) -> Path:
    for name, text in {**TREE, **changes}.items():
        if text is None:
            (folder / name).unlink(missing_ok=True)
        else:
            (folder / name).write_text(text + "\n")
    return folder


class Watch(threading.Event):
    """A stop whose waits let simulated time pass, and which ends after a while."""

    def __init__(self, clock: ManualClock, seconds: float, slow: dict[int, float] | None = None) -> None:
        super().__init__()
        self.clock, self.seconds, self.slow = clock, seconds, slow or {}
        self.waits = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.clock.advance((timeout or 0.0) + self.slow.get(self.waits, 0.0))
        self.waits += 1
        if self.clock.monotonic() >= self.seconds:
            self.set()
        return self.is_set()


def source(
    folder: Path, seconds: float, fs: float | None = None, slow: dict[int, float] | None = None
) -> IioSource:
    clock = ManualClock(1_700_000_000_000_000)
    stop = Watch(clock, seconds, slow)
    return IioSource(folder, device="pi", boot=3, fs=fs, stop=stop, clock=clock)


def test_counts_become_units_at_the_sensors_rate(tmp_path: Path) -> None:
    one = source(tree(tmp_path), 1.0)
    assert one.meta.fs == 104.0
    assert one.meta.model == "lsm6dso"
    assert [channel.name for channel in one.meta.channels] == [
        "acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z",
    ]  # fmt: skip
    assert {channel.unit for channel in one.meta.channels} == {"m/s2", "rad/s"}
    batches = list(one.batches(26))
    assert [batch.seq for batch in batches] == [0, 1, 2, 3]
    assert [batch.t0_us - 1_700_000_000_000_000 for batch in batches] == [0, 250_000, 500_000, 750_000]
    expected = np.array([0.014357, -0.406780, 9.804605, 0.003665, -0.008552, 0.0])
    np.testing.assert_allclose(batches[0].samples, np.tile(expected, (26, 1)), rtol=1e-4)


def test_offsets_scales_of_axes_and_other_rates(tmp_path: Path) -> None:
    folder = tree(
        tmp_path, in_accel_scale=None, in_accel_x_scale="2", in_accel_y_scale="3", in_accel_z_scale="4",
        in_accel_offset="-10", in_anglvel_z_raw=None,
    )  # fmt: skip
    (batch, *_) = source(folder, 1.0, fs=50.0).batches(5)
    assert batch.channels == (Channel("acc_x", "m/s2"), Channel("acc_y", "m/s2"), Channel("acc_z", "m/s2"))
    assert batch.fs == 50.0
    np.testing.assert_allclose(batch.samples[0], [4.0, -1_050.0, 32_740.0])


def test_a_magnetometer_is_in_microtesla(tmp_path: Path) -> None:
    magn = {f"in_magn_{axis}_raw": "100" for axis in "xyz"}
    (batch, *_) = source(tree(tmp_path, in_magn_scale="0.00014", **magn), 0.5).batches(5)
    assert batch.channels[-1] == Channel("mag_z", "uT")
    assert batch.samples[0, -1] == pytest.approx(1.4)


def test_samples_that_are_missed_leave_a_gap_with_a_number(tmp_path: Path) -> None:
    one = source(tree(tmp_path), 3.0, fs=10.0, slow={5: 0.73})
    batches = list(one.batches(10))
    assert one.missed >= 6
    first, second = batches[:2]
    assert (first.seq, len(first.samples)) == (0, 6)
    assert second.seq == 2
    assert second.t0_us - first.t0_us >= 1_200_000
    for batch in batches:
        assert (batch.t0_us - first.t0_us) % 100_000 == 0


def test_a_sample_that_cannot_be_read_is_counted(tmp_path: Path) -> None:
    one = source(tree(tmp_path), 1.0, fs=10.0)
    numbers = []
    for batch in one.batches(2):
        numbers.append(batch.seq)
        if batch.seq == 0:
            (tmp_path / "in_accel_x_raw").write_text("\n")
        if one.malformed >= 2:
            break
    tree(tmp_path)
    assert numbers == [0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"in_accel_x_raw": None, "in_anglvel_x_raw": None}, "neither accelerometer nor gyroscope"),
        ({"in_accel_scale": None}, "does not say the scale of accel"),
        ({"in_accel_sampling_frequency": None}, "does not say its rate"),
        ({"in_accel_y_raw": "busy"}, "cannot be read"),
    ],
)
def test_what_is_no_sensor_is_one_line(tmp_path: Path, changes: dict[str, str | None], said: str) -> None:
    with pytest.raises(DataError, match=said):
        source(tree(tmp_path, **changes), 1.0)
    with pytest.raises(InputNotFoundError, match="no IIO device"):
        source(tmp_path / "nowhere", 1.0)


def test_lines_come_over_a_serial_port() -> None:
    """A real terminal of the kernel, as a board on USB is one."""
    board, port = pty.openpty()
    descriptor = open_serial(Path(os.ttyname(port)), 115_200)
    os.write(board, b"acc_x[g],acc_y[g]\r\n" + b"".join(b"0.%d,1\r\n" % n for n in range(10)) + b"0.5,")
    stop = threading.Event()
    one = LineSource(read_chunks(descriptor, stop, SystemClock()), device="board", fs=50.0, boot=1)
    batches = one.batches(5)
    got = [next(batches), next(batches)]
    assert [batch.seq for batch in got] == [0, 1]
    np.testing.assert_allclose(np.concatenate([b.samples[:, 0] for b in got]), np.arange(10) / 10, atol=1e-6)
    os.close(port)
    os.close(board)  # it is unplugged
    assert list(batches) == []
    os.close(descriptor)


def test_ports_that_cannot_be_opened_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="12345 is no speed"):
        open_serial(tmp_path / "x", 12_345)
    with pytest.raises(InputNotFoundError, match="no serial port"):
        open_serial(tmp_path / "x", 9_600)
    (tmp_path / "x").write_text("")
    with pytest.raises(DataError, match="is no serial port"):
        open_serial(tmp_path / "x", 9_600)
