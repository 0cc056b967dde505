"""A board with an MPU-6050 on I2C: change pins, network and `imu_read` to yours.

Beside it on the board: ds_packed.py, ds_outbox.py, ds_mqtt.py, ds_publisher.py, and ds_device.py, which
`disc-stream broker add-device NAME --config DIR --header ds_device.py` has written.
"""

import time
from array import array

import ds_device
import ds_outbox
import ds_publisher
import machine
import network
import ntptime

CHANNELS = ["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]
UNITS = ["g", "g", "g", "deg/s", "deg/s", "deg/s"]
SCALE = [1 / 8192] * 3 + [1 / 65.5] * 3  # ranges of 4 g and 500 degrees/s
FS, ROWS = 50, 25

i2c = machine.I2C(0, scl=machine.Pin(22), sda=machine.Pin(21), freq=400000)
raw = bytearray(14)
counts = array("h", [0] * 6)


def imu_start():
    """Wake it, and set the ranges of SCALE."""
    for register, value in ((0x6B, 0), (0x1C, 0x08), (0x1B, 0x08)):
        i2c.writeto_mem(0x68, register, bytes([value]))


def imu_read():
    """Six counts into `counts`; bytes 6 and 7 are a temperature."""
    i2c.readfrom_mem_into(0x68, 0x3B, raw)
    for k in range(6):
        at = 2 * k if k < 3 else 2 * k + 2
        value = raw[at] << 8 | raw[at + 1]
        counts[k] = value - 65536 if value > 32767 else value


def online():
    """Wi-Fi and the time of day, which TLS compares with the certificate's dates."""
    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    wlan.connect("your network", "its password")
    while not wlan.isconnected():
        time.sleep_ms(200)
    ntptime.settime()


imu_start()
online()
outbox = ds_outbox.Flash("/queue", 32, ds_publisher.batch_size(len(CHANNELS), ROWS), 32)
publisher = ds_publisher.Publisher(
    ds_device.DEVICE, CHANNELS, UNITS, FS, outbox, ds_outbox.next_boot("/queue"), scale=SCALE, rows=ROWS,
    prefix=ds_device.PREFIX, **ds_publisher.broker_of(ds_device),
)  # fmt: skip
period = 1000000 // FS
due = time.ticks_us()
while True:
    if time.ticks_diff(time.ticks_us(), due) >= 0:
        if time.ticks_diff(time.ticks_us(), due) > 2 * period:
            publisher.gap()  # a sample was missed
            due = time.ticks_us()
        due = time.ticks_add(due, period)
        imu_read()
        publisher.sample(counts)
    publisher.poll()
