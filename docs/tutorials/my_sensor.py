"""Stands in for a sensor of yours: prints what it measures, a line for each of 50 samples a second.

::

    python docs/tutorials/my_sensor.py anna                # live, until Ctrl-C
    python docs/tutorials/my_sensor.py anna --minutes 8    # eight minutes, as fast as they can be printed

Anna is simulated: she walks, climbs stairs, runs, cycles, sits, stands and lies; another name is another
person. A program for a real sensor prints the same header and the same kind of lines, and flushes each of
them.
"""

from __future__ import annotations

import argparse
import time

from disc_stream.data.synthetic import SyntheticWearable

FS = 50

options = argparse.ArgumentParser(description="Print the motion of a simulated person.")
options.add_argument("name")
options.add_argument("--minutes", type=float, help="print so much at once, and end")
options.add_argument(
    "--clock", action="store_true", help="begin each line with the time in seconds, for a file"
)
given = options.parse_args()

wearable = SyntheticWearable(given.name, fs=FS)
header = "acc_x[g],acc_y[g],acc_z[g],gyro_x[rad/s],gyro_y[rad/s],gyro_z[rad/s]"
print("t," * given.clock + header, flush=True)
printed, begin = 0, time.monotonic()
try:
    while given.minutes is None or printed < given.minutes * 60 * FS:
        samples, _ = wearable.read(1)
        line = ",".join(f"{value:.5f}" for value in samples[0])
        print(f"{printed / FS:.2f}," * given.clock + line, flush=given.minutes is None)
        printed += 1
        if given.minutes is None:
            time.sleep(max(0.0, begin + printed / FS - time.monotonic()))
except (KeyboardInterrupt, BrokenPipeError):
    pass
