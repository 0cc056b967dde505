"""Recordings as loggers and people write them: small files with a known truth, one for each kind of fault."""

# ruff: noqa: E501, ISC004  (lines of files are as long as they are)
from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from disc_stream.types import Float32Array

FS = 50.0
N = 240
NAMES = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
UNITS = ("g", "g", "g", "rad/s", "rad/s", "rad/s")
HEADER = ",".join(f"{n}[{u}]" for n, u in zip(NAMES, UNITS, strict=True))
G = 9.80665
START_S = 1_716_200_000
Rows = npt.NDArray[np.float64]


def motion(n: int = N, seed: int = 0, fs: float = FS) -> Rows:
    """(n, 6) acceleration in g and angular rate in rad/s, rounded as they are written."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) / fs
    swing = np.sin(2 * np.pi * 1.7 * t + seed)
    out = np.column_stack(
        [0.1 + 0.2 * swing, 0.05 - 0.1 * swing, 0.97 + 0.15 * np.cos(2 * np.pi * 3.4 * t), swing, 0.5 * swing,
         -0.3 * swing]
    )  # fmt: skip
    return np.round(out + rng.normal(0, 0.01, out.shape), 5)


def table(times: Sequence[object], rows: Rows, sep: str = ",", decimal: str = ".") -> list[str]:
    """Lines of a table; times are written as they are."""
    lines = [sep.join([str(t), *(f"{v:.5f}" for v in row)]) for t, row in zip(times, rows, strict=True)]
    return [line.replace(".", decimal) for line in lines] if decimal != "." else lines


def seconds(n: int = N, fs: float = FS) -> list[str]:
    return [f"{i / fs:.4f}" for i in range(n)]


@dataclass(frozen=True)
class Expected:
    """What an import of a case gives.

    Args:
        parts: samples of each stretch, in order.
        fs: of the result.
        units: of the channels.
        names: of the channels.
        people: of each stretch.
        within: largest difference of a sample.
        said: words that the plan has.
    """

    parts: list[Rows]
    fs: float = FS
    units: tuple[str, ...] = UNITS
    names: tuple[str, ...] = NAMES
    people: tuple[int, ...] = (1,)
    within: float = 1e-6
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """One kind of recording.

    Args:
        write: writes it into a folder.
        expected: what becomes of it.
        refused: words of the refusal, where a person must decide first.
        maps: what ``--map`` is given then.
        settings: other settings that the refusal names.
    """

    write: Callable[[Path], None]
    expected: Expected
    refused: str = ""
    maps: tuple[str, ...] = ()
    settings: dict[str, object] = field(default_factory=dict)


def put(name: str, lines: Sequence[str], encoding: str = "utf-8", end: str = "\n") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((end.join(lines) + end).encode(encoding))

    return write


def both(*writers: Callable[[Path], None]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for one in writers:
            one(folder)

    return write


def raw(name: str, content: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return write


def plain(
    rows: Rows, name: str = "user01.csv", head: str = "t," + HEADER, times: Sequence[object] | None = None
):  # type: ignore[no-untyped-def]
    return put(name, [head, *table(seconds(len(rows)) if times is None else times, rows)])


X = motion()
ACC = ("acc_x", "acc_y", "acc_z")
ONE = Expected([X])


def acc(unit: str = "g", factor: float = 1.0, **more: object) -> Expected:
    return Expected([X[:, :3] * factor], units=(unit,) * 3, names=ACC, within=2e-5 * factor, **more)  # type: ignore[arg-type]


def iso(n: int = N, form: str = "%Y-%m-%d %H:%M:%S") -> list[str]:
    from datetime import UTC, datetime

    return [
        datetime.fromtimestamp(START_S + i // 50, UTC).strftime(form) + f".{i % 50 * 20:03d}"
        for i in range(n)
    ]


def acc_lines(times: Sequence[object], factor: float = 1.0, sep: str = ",") -> list[str]:
    return [
        sep.join([str(t), *(f"{v * factor:.6f}" for v in row[:3])]) for t, row in zip(times, X, strict=True)
    ]


def _without(rows: Rows, gone: slice, line: str) -> list[str]:
    lines = table(seconds(), rows)
    for n in range(*gone.indices(len(lines))):
        lines[n] = lines[n].split(",")[0] + line
    return lines


def _bridged(rows: Rows, gone: Sequence[int], columns: Sequence[int] | None = None) -> Rows:
    """On the line between the neighbours, by another way than the importer's."""
    out = rows.copy()
    left = np.setdiff1d(np.arange(len(rows)), gone)
    for column in range(rows.shape[1]) if columns is None else columns:
        out[gone, column] = np.interp(gone, left, rows[left, column])
    return out


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


def _zip(folder: Path) -> None:
    with zipfile.ZipFile(folder / "phone.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for person in ("user01", "user02"):
            archive.writestr(f"{person}/walk.csv", "\n".join(["t," + HEADER, *table(seconds(), X)]) + "\n")
        archive.writestr("__MACOSX/user01/._walk.csv", b"\0\1")


def _edge_impulse(folder: Path) -> None:
    sensors = [{"name": n.replace("_", "").replace("gyro", "gyr"), "units": u}
               for n, u in zip(NAMES, UNITS, strict=True)]  # fmt: skip
    payload = {"device_type": "X", "interval_ms": 20, "sensors": sensors, "values": X.tolist()}
    content = {"protected": {"ver": "v1", "alg": "none"}, "signature": "0", "payload": payload}
    (folder / "walk.1a2b.json").write_text(json.dumps(content))


_jitter = np.random.default_rng(4).uniform(-0.006, 0.006, N)
_lost = list(range(7, N - 1, 23))
_uneven_t = np.cumsum(
    np.random.default_rng(5).choice([0.02, 0.021, 0.03, 0.051, 0.019], N, p=[0.6, 0.1, 0.1, 0.1, 0.1])
)
_order = np.arange(N)
_order[50:54] = _order[50:54][::-1]
_dup = np.sort(np.concatenate([np.arange(N), [10, 90]]))

CASES: dict[str, Case] = {
    "plain": Case(plain(X), ONE),
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
    "excel's sep line": Case(
        put("user01.csv", ["sep=;", "t;" + HEADER.replace(",", ";"), *table(seconds(), X, ";")]), ONE
    ),
    "decimal commas": Case(
        put("user01.csv", ["t;" + HEADER.replace(",", ";"), *table(seconds(), X, ";", ",")]),
        Expected([X], said=("decimal commas",)),
    ),
    "tabs": Case(put("user01.tsv", ["t\t" + HEADER.replace(",", "\t"), *table(seconds(), X, "\t")]), ONE),
    "spaces": Case(put("user01.csv", ["t " + HEADER.replace(",", " "), *table(seconds(), X, "  ")]), ONE),
    "utf-16": Case(put("user01.csv", ["t," + HEADER, *table(seconds(), X)], "utf-16"), ONE),
    "byte order mark": Case(put("user01.csv", ["t," + HEADER, *table(seconds(), X)], "utf-8-sig"), ONE),
    "latin-1": Case(
        put("user01.csv", ["t," + HEADER.replace("[g]", "[m/s²]").replace("rad/s", "°/s"), *table(seconds(), X)],
            "latin-1"),
        Expected([X], units=("m/s2",) * 3 + ("deg/s",) * 3),
    ),
    "lines of windows": Case(put("user01.csv", ["t," + HEADER, *table(seconds(), X)], end="\r\n"), ONE),
    "lines of an old mac": Case(put("user01.csv", ["t," + HEADER, *table(seconds(), X)], end="\r"), ONE),
    "trailing comma": Case(
        put("user01.csv", ["t," + HEADER + ",", *(line + "," for line in table(seconds(), X))]), ONE
    ),
    "trailing comma in the rows alone": Case(
        put("user01.csv", ["t," + HEADER, *(line + "," for line in table(seconds(), X))]), ONE
    ),
    "row numbers": Case(
        put("user01.csv", [",t," + HEADER, *(f"{i},{line}" for i, line in enumerate(table(seconds(), X)))]),
        Expected([X], said=("only rises",)),
    ),
    "comments": Case(
        put("user01.csv", ["# device 7", "# worn left", "t," + HEADER, *table(seconds()[:9], X[:9]), "# a note",
                           *table(seconds()[9:], X[9:])]),
        ONE,
    ),
    "units in the next line": Case(
        put("user01.csv", ["time," + ",".join(NAMES), "s," + ",".join(UNITS), *table(seconds(), X)]),
        Expected([X], said=("a line of units",)),
    ),
    "units in parentheses": Case(
        put("user01.csv", ["t (s),acc_x (g),acc_y (g),acc_z (g)", *acc_lines(seconds())]), acc()
    ),
    "spellings of units": Case(
        plain(X, head="t,acc_x[G],acc_y[g-force],acc_z[ G ],gyro_x[deg/sec],gyro_y[dps],gyro_z[Degrees/Second]"),
        Expected([X], units=("g",) * 3 + ("deg/s",) * 3),
    ),
    "empty cell": Case(
        put("user01.csv", ["t," + HEADER, *(line.replace(f",{X[50, 4]:.5f},", ",,") if i == 50 else line
                                            for i, line in enumerate(table(seconds(), X)))]),
        Expected([_bridged(X, [50], [4])], said=("1 row without a value",)),
    ),
    "rows of nan": Case(
        put("user01.csv", ["t," + HEADER, *_without(X, slice(70, 73), ",NaN" * 6)]),
        Expected([_bridged(X, [70, 71, 72])]),
    ),
    "nan for too long": Case(
        put("user01.csv", ["t," + HEADER, *_without(X, slice(70, 90), ",NaN" * 6)]),
        Expected([X[:70], X[90:]], people=(1, 1), said=("20 rows without a value, for too long",)),
    ),
    "gyroscope at half the rate": Case(
        put("user01.csv", ["t," + HEADER, *(line if i % 2 == 0 else ",".join(line.split(",")[:4]) + ",,,"
                                            for i, line in enumerate(table(seconds(), X)))]),
        Expected([_bridged(X[:-1], list(range(1, N - 1, 2)), [3, 4, 5])], said=("25 samples/s",)),
    ),
    "last line cut": Case(
        raw("user01.csv", ("\n".join(["t," + HEADER, *table(seconds(), X)])[:-12]).encode()),
        Expected([X[:-1]], said=("last line is cut",)),
    ),
    "zero bytes at the end": Case(
        raw("user01.csv", "\n".join(["t," + HEADER, *table(seconds(), X), "\0" * 512]).encode()),
        Expected([X], said=("zero bytes",)),
    ),
    "zero bytes in the middle": Case(
        raw("user01.csv", "\n".join(["t," + HEADER, *table(seconds()[:99], X[:99]), "\0" * 512,
                                     *table(seconds()[99:], X[99:]), ""]).encode()),
        Expected([X], said=("zero bytes",)),
    ),
    "a gap": Case(
        plain(X, times=[f"{i / 50 + 3 * (i >= 120):.3f}" for i in range(N)]),
        Expected([X[:120], X[120:]], people=(1, 1), said=("1 gap: 3 s before row 121",)),
    ),
    "lost samples": Case(
        put("user01.csv", ["t," + HEADER, *(line for i, line in enumerate(table(seconds(), X)) if i not in _lost)]),
        Expected([_bridged(X, _lost)], said=(f"{len(_lost)} lost samples",)),
    ),
    "several samples under a stamp": Case(
        plain(X, times=[f"{i // 5 / 10:.3f}" for i in range(N)]), Expected([X], said=("5 samples share",))
    ),
    "whole seconds": Case(plain(X, times=[i // 50 for i in range(N)]), ONE),
    "milliseconds since 1970": Case(
        plain(X, head="timestamp," + HEADER, times=[START_S * 1000 + 20 * i for i in range(N)]), ONE
    ),
    "two columns of times": Case(
        plain(X, head="timestamp," + HEADER.replace("acc_x[g]", "t,acc_x[g]"),
              times=[f"{START_S * 1000 + 20 * i},{i / 50:.3f}" for i in range(N)]),
        ONE,
    ),
    "a finer column of times": Case(
        plain(X, head="timestamp,t," + HEADER, times=[f"{START_S + i // 50},{i / 50:.3f}" for i in range(N)]),
        Expected([X], said=("timestamp (the time once more)",)),
    ),
    "clock put back": Case(
        plain(X, times=[f"{i / 50 - 10 * (i >= 120):.3f}" for i in range(N)]),
        Expected([X[:120], X[120:]], people=(1, 1), said=("put back 1 time",)),
    ),
    "rows out of order": Case(
        put("user01.csv", ["t," + HEADER, *(table(seconds(), X)[i] for i in _order)]),
        Expected([X], said=("4 rows out of order",)),
    ),
    "rows that came twice": Case(
        put("user01.csv", ["t," + HEADER, *(table(seconds(), X)[i] for i in _dup)]),
        Expected([X], said=("2 rows that came twice",)),
    ),
    "jitter": Case(
        plain(X, times=[f"{i / 50 + j:.4f}" for i, j in enumerate(_jitter)]), Expected([X], said=("jitter",))
    ),
    "rates a little off": Case(
        both(*(plain(motion(seed=p), f"user0{p}.csv", times=[f"{i / fs:.6f}" for i in range(N)])
               for p, fs in ((1, 49.6), (2, 50.0), (3, 50.4)))),
        Expected([motion(seed=p) for p in (1, 2, 3)], people=(1, 2, 3), said=("taken for 50 Hz",)),
    ),
    "other units": Case(
        both(plain(X), plain(np.round(X * ([G] * 3 + [1] * 3), 5), "user02.csv",
                             "t," + HEADER.replace("[g]", "[m/s2]"))),
        Expected([X, X], people=(1, 2), within=2e-6, said=("acc_x from m/s2 to g",)),
    ),
    "another order": Case(
        both(plain(X), plain(X[:, [3, 4, 5, 0, 1, 2]], "user02.csv",
                             "t," + ",".join([*HEADER.split(",")[3:], *HEADER.split(",")[:3]]))),
        Expected([X, X], people=(1, 2)),
    ),
    "a column more": Case(
        both(plain(X), put("user02.csv", ["t," + HEADER + ",light", *(f"{line},{i % 7}" for i, line in
                                                                     enumerate(table(seconds(), X)))])),
        Expected([X, X], people=(1, 2), said=("light, which only 1 of 2",)),
    ),
    "debris": Case(both(plain(X), raw("._user01.csv", b"\0\5\x16\7\xff\xfe"), raw(".DS_Store", b"x")), ONE),
    "subfolders": Case(
        both(plain(X, "user01/walk.csv"), plain(X, "user02/walk.csv")), Expected([X, X], people=(1, 2))
    ),
    "folders without numbers": Case(
        both(plain(X, "anna/walk.csv"), plain(X, "anna/sit.csv"), plain(X, "ben/walk.csv")),
        Expected([X, X, X], people=(1, 1, 2), said=("folder 'anna'",)),
    ),
    "one person in several files": Case(
        both(plain(X, "P01_sit.csv"), plain(X, "P01_walk.csv"), plain(X, "P02_walk.csv")),
        Expected([X, X, X], people=(1, 1, 2), said=("'P01' in its name",)),
    ),
    "gz": Case(raw("user01.csv.gz", gzip.compress("\n".join(["t," + HEADER, *table(seconds(), X), ""]).encode())), ONE),
    "zip": Case(_zip, Expected([X, X], people=(1, 2))),
    "dead gyroscope": Case(
        plain(X * ([1] * 3 + [0] * 3)),
        Expected([X[:, :3]], units=("g",) * 3, names=ACC, said=("never change: gyro_x, gyro_y, gyro_z", "left out: gyro_x, which never changes")),
    ),
    "spike": Case(
        put("user01.csv", ["t," + HEADER, *(line.replace(f",{X[100, 0]:.5f}", ",1e9", 1) if i == 100 else line
                                            for i, line in enumerate(table(seconds(), X)))]),
        Expected([_bridged(X, [100], [0])], said=("1 value beyond any sensor's range",)),
    ),
    "a sensor that is off": Case(
        plain(np.where((np.arange(N) // 40 == 2)[:, None], 0.0, X)),
        Expected([X[:80], X[120:]], people=(1, 1), said=("40 rows of zeros",)),
    ),
    "elapsed seconds": Case(
        put("user01.csv", ["time[ns],seconds_elapsed,acc_z[g],acc_y[g],acc_x[g]",
                           *(f"{START_S * 10**9 + 20_000_000 * i},{i / 50:.4f},{r[2]:.6f},{r[1]:.6f},{r[0]:.6f}"
                             for i, r in enumerate(X))]),
        acc(),
    ),
    "a counter": Case(
        put("user01.csv", ["t," + HEADER + ",packet", *(f"{line},{i // 3}" for i, line in enumerate(table(seconds(), X)))]),
        Expected([X], said=("only rises",)),
    ),
    "labels with nan": Case(
        put("user01.csv", ["t," + HEADER + ",label", *(f"{line},{'nan' if i < 60 else 'walking'}"
                                                       for i, line in enumerate(table(seconds(), X)))]),
        ONE,
    ),
    "uneven by itself": Case(
        plain(X[:, :3].cumsum(axis=0) / 60 + [0, 0, 1], head="t,acc_x[g],acc_y[g],acc_z[g]",
              times=[f"{t:.4f}" for t in _uneven_t]),
        Expected([np.column_stack([np.interp(np.arange(_uneven_t[0], _uneven_t[-1], 0.02), _uneven_t.round(4), c)
                                   for c in np.round(X[:, :3].cumsum(axis=0) / 60 + [0, 0, 1], 5).T])],
                 fs=50.0, units=("g",) * 3, names=ACC, within=1e-4, said=("put on even times",)),
    ),
    # -- what a person must decide -----------------------------------------------------------------------
    "a unit that nobody knows": Case(
        plain(X, head="t," + HEADER.replace("acc_x[g]", "acc_x[furlong]")), ONE,
        refused="unit 'furlong' is not known", maps=("acc_x[furlong]=acc_x[g]",),
    ),
    "no units": Case(
        put("user01.csv", ["t,ax,ay,az", *acc_lines(seconds())]), acc(),
        refused="unit is not said", maps=("ax=acc_x[g]", "ay=acc_y[g]", "az=acc_z[g]"),
    ),
    "a unit that cannot be": Case(
        plain(np.round(X[:, :3] * G, 5), head="t,acc_x[g],acc_y[g],acc_z[g]"), acc("m/s2", G),
        refused="hardly g", maps=("acc_x[g]=acc_x[m/s2]", "acc_y[g]=acc_y[m/s2]", "acc_z[g]=acc_z[m/s2]"),
    ),
    "day or month": Case(
        put("user01.csv", ["time,acc_x[g],acc_y[g],acc_z[g]", *acc_lines([t.replace("2024-05-20", "03/04/2024") for t in iso()])]),
        acc(), refused="day or the month", settings={"dates": "day-first"},
    ),
    "no times": Case(
        put("user01.csv", ["acc_x[g],acc_y[g],acc_z[g]", *(",".join(f"{v:.6f}" for v in r[:3]) for r in X)]), acc(),
        refused="no column of times", settings={"source_rate": 50.0},
    ),
    "a count for a time": Case(
        plain(X, times=list(range(N))), Expected([X], fs=1000.0),
        refused="whether those are seconds", maps=("t=t[ms]",),
    ),
    "a recording without a gyroscope": Case(
        both(plain(X), plain(X, "user02.csv"), plain(X[:, :3], "user03.csv", "t,acc_x[g],acc_y[g],acc_z[g]")),
        Expected([X, X], people=(1, 2)), refused="'user03' has no gyro_x", maps=("user03.csv=-",),
    ),
}  # fmt: skip


def as_float(rows: Rows) -> Float32Array:
    return rows.astype(np.float32)
