"""As loggers write them."""

# ruff: noqa: E501, ISC004  (lines of files are as long as they are)
from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.support.written.base import (
    ACC,
    NAMES,
    ONE,
    START_S,
    UNITS,
    Case,
    Expected,
    G,
    N,
    X,
    acc,
    acc_lines,
    both,
    iso,
    put,
    seconds,
    table,
)


def _sensor_logger(folder: Path) -> None:
    stamps = [START_S * 10**9 + i * 20_000_000 for i in range(N)]
    for name, columns, factor in (("Accelerometer", (0, 1, 2), G), ("Gyroscope", (3, 4, 5), 1.0)):
        lines = ["time,seconds_elapsed,z,y,x"]
        for i, stamp in enumerate(stamps):
            x, y, z = (X[i, c] * factor for c in columns)
            lines.append(f"{stamp},{i / 50:.9f},{z:.7f},{y:.7f},{x:.7f}")
        put(f"{name}.csv", lines)(folder)
    put("Metadata.csv", ["version,device name", "3,phone"])(folder)
    put("Annotation.csv", ["time,seconds_elapsed,text"])(folder)


def _sensor_logger_gravity(folder: Path) -> None:
    _sensor_logger(folder)
    stamps = [START_S * 10**9 + i * 20_000_000 for i in range(N)]
    own, down = X[:, :3] * G - np.array([0, 0, G]), np.tile([0, 0, G], (N, 1))
    for name, values in (("Accelerometer", own), ("Gravity", down)):
        rows = [f"{s},{i / 50:.9f},{v[2]:.7f},{v[1]:.7f},{v[0]:.7f}"
                for i, (s, v) in enumerate(zip(stamps, values, strict=True))]  # fmt: skip
        put(f"{name}.csv", ["time,seconds_elapsed,z,y,x", *rows])(folder)


def _axes(columns: slice, sep: str = ",", decimal: str = ".") -> list[str]:
    return table(seconds(), X[:, columns], sep, decimal)


def _phyphox_files(folder: Path) -> None:
    for name, columns, unit in (("Accelerometer", slice(0, 3), "m/s^2"), ("Gyroscope", slice(3, 6), "rad/s")):
        head = ";".join(['"Time (s)"', *(f'"{axis} ({unit})"' for axis in "XYZ")])
        put(f"{name}.csv", [head, *_axes(columns, ";", ",")])(folder)


def _e4(folder: Path) -> None:
    counts = np.rint(X[:, :3] * 64).astype(int)
    start = f"{START_S}.000000"
    put("ACC.csv", [", ".join([start] * 3), ", ".join(["32.000000"] * 3), *(",".join(map(str, c)) for c in counts)])(
        folder
    )  # fmt: skip
    put("tags.csv", [])(folder)


def _edge_impulse(folder: Path) -> None:
    sensors = [{"name": n.replace("_", "").replace("gyro", "gyr"), "units": u}
               for n, u in zip(NAMES, UNITS, strict=True)]  # fmt: skip
    payload = {"device_type": "X", "interval_ms": 20, "sensors": sensors, "values": X.tolist()}
    content = {"protected": {"ver": "v1", "alg": "none"}, "signature": "0", "payload": payload}
    (folder / "walk.1a2b.json").write_text(json.dumps(content))


LOGGERS: dict[str, Case] = {
    "sensor logger": Case(
        _sensor_logger,
        Expected([X * ([G] * 3 + [1] * 3)], units=("m/s2",) * 3 + ("rad/s",) * 3, within=2e-6,
                 said=("Sensor Logger", "joined by time", "seconds_elapsed (the time once more)")),
    ),
    "sensor logger, gravity apart": Case(
        _sensor_logger_gravity,
        Expected([X * ([G] * 3 + [1] * 3)], units=("m/s2",) * 3 + ("rad/s",) * 3, within=5e-6,
                 said=("are added",)),
    ),
    "one file of a sensor logger": Case(
        put("user01.csv", ["time[ns],seconds_elapsed,z[m/s2],y[m/s2],x[m/s2]",
                           *(f"{START_S * 10**9 + i * 20_000_000},{i / 50 - 2e-8:.9f},{r[2] * G:.6f},{r[1] * G:.6f},"
                             f"{r[0] * G:.6f}" for i, r in enumerate(X))]),
        acc("m/s2", G),
    ),
    "phyphox": Case(
        put("user01.csv", ['"Time (s)","Acceleration x (m/s^2)","Acceleration y (m/s^2)","Acceleration z (m/s^2)"',
                           *(",".join(f"{v:.9E}" for v in (i / 50, *r[:3] * G)) for i, r in enumerate(X))]),
        acc("m/s2", G, said=("phyphox",)),
    ),
    "phyphox, a file a sensor, decimal commas": Case(
        _phyphox_files,
        Expected([X], units=("m/s2",) * 3 + ("rad/s",) * 3, said=("decimal commas", "joined by time")),
    ),
    "phyphox columns with another time": Case(
        put("user01.csv", ['t,"Acceleration x (m/s^2)","Acceleration y (m/s^2)","Acceleration z (m/s^2)"',
                           *acc_lines(seconds(), G)]),
        acc("m/s2", G),
    ),
    "axivity": Case(put("user01.csv", acc_lines(iso())), acc(said=("Axivity", "no header"))),
    "dates with a header": Case(
        put("user01.csv", ["time,acc_x[g],acc_y[g],acc_z[g]", *acc_lines(iso())]), acc()
    ),
    "dates with a zone": Case(
        put("user01.csv", ["time,acc_x[g],acc_y[g],acc_z[g]", *acc_lines([t.replace(" ", "T") + "+02:00" for t in iso()])]),
        acc(),
    ),
    "actigraph": Case(
        put("user01.csv", [
            "------------ Data File Created By ActiGraph GT3X+ ActiLife v6.13.3 Firmware v2.2.1 date format M/d/yyyy "
            "at 50 Hz  Filter Normal -----------", "Serial Number: A", "Start Time 10:00:00", "Start Date 1/13/2020",
            "Epoch Period (hh:mm:ss) 00:00:00", "Download Time 11:00:00", "Download Date 1/14/2020",
            "Current Memory Address: 0", "Current Battery Voltage: 4.1     Mode = 12",
            "--------------------------------------------------", "Accelerometer X,Accelerometer Y,Accelerometer Z",
            *(",".join(f"{v:.6f}" for v in r[:3]) for r in X)]),
        acc(said=("ActiGraph",)),
    ),
    "geneactiv": Case(
        put("user01.csv", ["Device Type,GENEActiv", "Measurement Frequency,50 Hz", *(f"Note {i}," for i in range(8)),
                           *(f"{t.rpartition('.')[0]}:{t.rpartition('.')[2]},{r[0]:.6f},{r[1]:.6f},{r[2]:.6f},3,0,24.5"
                             for t, r in zip(iso(), X, strict=True))]),
        acc(said=("GENEActiv", "light, button or temperature")),
    ),
    "empatica e4": Case(
        _e4, Expected([np.rint(X[:, :3] * 64) / 64], fs=32.0, units=("g",) * 3, names=ACC, said=("Empatica E4",))
    ),
    "shimmer": Case(
        put("user01.csv", ["sep=\t", "\t".join(["Shimmer_4A_Timestamp_Unix_CAL",
                                               *(f"Shimmer_4A_Accel_LN_{a}_CAL" for a in "XYZ"), "Shimmer_4A_Battery_CAL"]),
                           "\t".join(["CAL"] * 5), "\t".join(["ms", *["m/(s^2)"] * 3, "mV"]),
                           *("\t".join([f"{START_S * 1000 + 20 * i}.0", *(f"{v:.6f}" for v in r[:3] * G), f"{3900 + i % 3}"])
                             for i, r in enumerate(X))]),
        Expected([X[:, :3] * G], units=("m/s2",) * 3, names=("acc_ln_x", "acc_ln_y", "acc_ln_z"), within=2e-4,
                 said=("Shimmer", "a line of units")),
    ),
    "metawear": Case(
        both(*(put(f"MetaWear_2024_{sensor}_50.000Hz_1.5.0.csv",
                   [f"epoc (ms),timestamp (-0400),elapsed (s),x-axis ({unit}),y-axis ({unit}),z-axis ({unit})",
                    *(f"{START_S * 1000 + 20 * i},2024-05-20T06.13.20,{i / 50:.3f},{r[0]:.5f},{r[1]:.5f},{r[2]:.5f}"
                      for i, r in enumerate(X[:, columns]))])
               for sensor, unit, columns in (("Accelerometer", "g", slice(0, 3)), ("Gyroscope", "deg/s", slice(3, 6))))),
        Expected([X], units=("g",) * 3 + ("deg/s",) * 3, said=("MetaWear", "joined by time")),
    ),
    "polar": Case(
        both(*(put(f"Polar_Sense_A1_{sensor}.txt",
                   [f"Phone timestamp;sensor timestamp [ns];X [{unit}];Y [{unit}];Z [{unit}]",
                    *(f"2024-05-20T10:13:2{i % 10}.000;{599_000_000_000_000_000 + i * 20_000_000};{r[0]:.5f};{r[1]:.5f};{r[2]:.5f}"
                      for i, r in enumerate(X[:, columns] * factor))])
               for sensor, unit, columns, factor in (("ACC", "mg", slice(0, 3), 1000.0), ("GYRO", "dps", slice(3, 6), 1.0)))),
        Expected([X * ([1000.0] * 3 + [1] * 3)], units=("mg",) * 3 + ("deg/s",) * 3, within=1e-3, said=("Polar",)),
    ),
    "apple watch, gravity apart": Case(
        put("user01.csv", [
            "timestamp,userAcceleration.x,userAcceleration.y,userAcceleration.z,gravity.x,gravity.y,gravity.z,"
            "rotationRate.x,rotationRate.y,rotationRate.z",
            *(f"{START_S + i / 50:.3f},{r[0]:.6f},{r[1]:.6f},{r[2] - 1:.6f},0,0,1,{r[3]:.5f},{r[4]:.5f},{r[5]:.5f}"
              for i, r in enumerate(X))]),
        Expected([X], within=2e-6, said=("Core Motion", "are added")),
    ),
    "sensorlog": Case(
        put("user01.csv", [
            "loggingTime(txt),loggingSample(N),accelerometerTimestamp_sinceReboot(s),accelerometerAccelerationX(G),"
            "accelerometerAccelerationY(G),accelerometerAccelerationZ(G),motionRotationRateX(rad/s),"
            "motionRotationRateY(rad/s),motionRotationRateZ(rad/s)",
            *(f"2024-05-20 10:13:20.{i % 1000:03d} +0200,{i},{5000 + i / 50:.4f},"
              + ",".join(f"{v:.5f}" for v in r) for i, r in enumerate(X))]),
        Expected([X], said=("SensorLog",)),
    ),
    "edge impulse": Case(_edge_impulse, ONE),
}  # fmt: skip
