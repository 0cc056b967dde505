"""phyphox (RWTH Aachen; iOS and Android): an experiment of ours, and the JSON that it posts.

Format: https://phyphox.org/wiki/index.php/Network_Connections and …/Phyphox_file_format. The experiment sends
the buffers of both sensors and, with type ``time``, when it was started by the time of day; times of
readings are seconds since the start. A buffer may come again in the next message; ``Assembler`` leaves
out what it has.
"""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

import msgspec

from disc_stream.errors import PayloadError
from disc_stream_edge.phones.readings import (
    MAX_READINGS,
    PhoneMessage,
    Readings,
    Sensor,
    make_readings,
    parse,
)

APP = "phyphox"
_MAX_S = 1e9
_BUFFERS = {Sensor.ACC: "acc", Sensor.GYRO: "gyro"}
_TYPES = {Sensor.ACC: "accelerometer", Sensor.GYRO: "gyroscope"}
_SIZE = 2_000  # readings that a buffer keeps, if a message fails: four seconds at 500 Hz

_Numbers = list[float | None]


class _Event(msgspec.Struct, frozen=True, rename="camel"):
    event: str
    experiment_time: float
    system_time: float


class _Time(msgspec.Struct, frozen=True):
    events: list[_Event] = []


class _Post(msgspec.Struct, frozen=True, rename="camel"):
    acc_x: _Numbers = []
    acc_y: _Numbers = []
    acc_z: _Numbers = []
    acc_time: _Numbers = []
    gyro_x: _Numbers = []
    gyro_y: _Numbers = []
    gyro_z: _Numbers = []
    gyro_time: _Numbers = []
    clock: _Time | None = None
    device: str = ""


_DECODER = msgspec.json.Decoder(_Post)


def read(payload: bytes) -> PhoneMessage:
    """One message.

    Raises:
        PayloadError: if it is not what the experiment sends.
    """
    post = parse(payload, _DECODER, APP)
    start_s = _start(post.clock)
    acc = _readings(Sensor.ACC, start_s, post.acc_time, [post.acc_x, post.acc_y, post.acc_z])
    gyro = _readings(Sensor.GYRO, start_s, post.gyro_time, [post.gyro_x, post.gyro_y, post.gyro_z])
    return PhoneMessage(tuple(one for one in (acc, gyro) if len(one.times_ns)), post.device[:200])


def _start(clock: _Time | None) -> float:
    """Unix time at the experiment's time 0; 0 if it is not known. A pause does not count in its time."""
    starts = [] if clock is None else [event for event in clock.events if event.event == "START"]
    if not starts:
        return 0.0
    start_s = starts[-1].system_time - starts[-1].experiment_time
    if not 0 <= start_s < 1e10:
        raise PayloadError("range", "phyphox was started at an impossible time")
    return start_s


def _readings(sensor: Sensor, start_s: float, times: _Numbers, axes: list[_Numbers]) -> Readings:
    # While a message is made the sensor goes on: one buffer may already have a reading more than another.
    n = min(len(times), *(len(axis) for axis in axes))
    if n > MAX_READINGS:
        raise PayloadError("range", f"{n} readings in one message of phyphox")
    kept_times, values = [], []
    for at, *row in zip(times[:n], *axes, strict=False):
        numbers = [value for value in row if value is not None]
        if at is None or len(numbers) < 3:
            continue
        if not 0 <= at < _MAX_S:
            raise PayloadError("range", "a time of phyphox is negative or too large")
        kept_times.append(round(start_s * 1e6 + at * 1e6) * 1_000)
        values.append(numbers)
    return make_readings(sensor, kept_times, values, APP)


def experiment(address: str, *, interval_s: float = 0.5) -> str:
    """An experiment that posts both sensors to an address, as a ``.phyphox`` file.

    Args:
        address: URL that takes the posts.
        interval_s: seconds between two of them.
    """
    names = [f"{buffer}{part}" for buffer in _BUFFERS.values() for part in ("X", "Y", "Z", "Time")]
    containers = "\n".join(f'    <container size="{_SIZE}">{name}</container>' for name in names)
    sends = "\n".join(f'      <send id="{name}" type="buffer" keep="false">{name}</send>' for name in names)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<phyphox version="1.14" locale="en">
  <title>disc-stream</title>
  <category>disc-stream</category>
  <description>Streams acceleration and rotation to your own machine.</description>
  <data-containers>
{containers}
  </data-containers>
  <input>
{"".join(_input(sensor) for sensor in _BUFFERS)}  </input>
  <views>
    <view label="disc-stream">
      <graph label="Acceleration" labelX="t" unitX="s" labelY="x" unitY="m/s²">
        <input axis="x">accTime</input>
        <input axis="y">accX</input>
      </graph>
    </view>
  </views>
  <network>
    <connection id="disc-stream" service="http/post" address={quoteattr(address)} conversion="none"
        autoConnect="true" interval="{interval_s:g}">
{sends}
      <send id="clock" type="time"></send>
    </connection>
  </network>
</phyphox>
"""


def _input(sensor: Sensor) -> str:
    name = _BUFFERS[sensor]
    outputs = "\n".join(
        f'      <output component="{component}">{name}{part}</output>'
        for component, part in (("x", "X"), ("y", "Y"), ("z", "Z"), ("t", "Time"))
    )
    return f'    <sensor type="{_TYPES[sensor]}" rate="100">\n{outputs}\n    </sensor>\n'
