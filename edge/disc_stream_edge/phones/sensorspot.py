"""SensorSpot (Android), over MQTT: one message for each reading, on the topic ``android/sensor``.

Format: https://github.com/UmerCodez/SensorSpot. Times are nanoseconds since the boot. A message does not
say whose it is, so each phone needs a topic of its own: ``android/sensor/NAME``.
"""

from __future__ import annotations

import msgspec

from disc_stream.errors import PayloadError
from disc_stream_edge.phones.readings import PhoneMessage, Sensor, make_readings, parse

APP = "SensorSpot"
SENSORS = {
    "android.sensor.accelerometer": Sensor.ACC,
    "android.sensor.gyroscope": Sensor.GYRO,
    "android.sensor.linear_acceleration": Sensor.LINEAR,
    "android.sensor.gravity": Sensor.GRAVITY,
}


class _Event(msgspec.Struct, frozen=True, gc=False):
    timestamp: int
    values: list[float]
    type: str = ""


_DECODER = msgspec.json.Decoder(_Event)


def read(payload: bytes) -> PhoneMessage:
    """One message; of sensors that are not used it has no readings.

    Raises:
        PayloadError: if it is not what the app sends.
    """
    return read_event(payload, APP)


def read_event(payload: bytes, app: str) -> PhoneMessage:
    """An event of Android's sensors as JSON, as several apps write it."""
    event = parse(payload, _DECODER, app)
    sensor = SENSORS.get(event.type)
    if sensor is None:
        return PhoneMessage(())
    if len(event.values) != 3:
        raise PayloadError("shape", f"{len(event.values)} values of {event.type} from {app}, not 3")
    return PhoneMessage((make_readings(sensor, [event.timestamp], [event.values], app),))
