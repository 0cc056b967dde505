"""What clusters look like: signals whose right answer is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from disc_stream.characteristics import (
    MAX_DESCRIPTION,
    Characteristics,
    MotionWindows,
    characterise,
    describe,
    describe_all,
    propose_names,
    representatives,
)
from disc_stream.data.synthetic import LABEL_NAMES, Activity, synthetic_recordings
from disc_stream.data.windows import WindowPlan, window_recordings
from disc_stream.errors import DataError
from disc_stream.types import Channel
from tests.support.commandline import CommandLine

G = 9.80665
FS = 50.0
ACC = tuple(Channel(f"acc_{axis}", "m/s2") for axis in "xyz")
GYRO = tuple(Channel(f"gyro_{axis}", "rad/s") for axis in "xyz")
NORMALISED = tuple(Channel(f"acc_{axis}", "1") for axis in "xyz")
NO_ROWS = np.zeros(0, dtype=np.int64)


def walk(n: int = 20, hz: float = 1.8, size: float = 3.0, gravity: float = G) -> np.ndarray:
    """Windows of 2.56 s with one bounce along z at every step, each beginning at another phase."""
    t = np.arange(128) / FS + np.linspace(0, 3, n)[:, None]
    noise = 0.05 * np.random.default_rng(0).standard_normal((n, 128, 3))
    noise[:, :, 2] += gravity + size * np.sin(2 * np.pi * hz * t) + size / 3 * np.sin(4 * np.pi * hz * t)
    return noise.astype(np.float32)


def still(tilt_deg: float, n: int = 20) -> np.ndarray:
    tilt = np.radians(tilt_deg)
    up = G * np.array([np.sin(tilt), 0.0, np.cos(tilt)])
    return (up + 0.02 * np.random.default_rng(1).standard_normal((n, 128, 3))).astype(np.float32)


def of(*clusters: np.ndarray, channels: tuple[Channel, ...] = ACC) -> tuple[Characteristics, ...]:
    rows = np.repeat(np.arange(len(clusters)), [len(c) for c in clusters])
    return characterise(MotionWindows(np.concatenate(clusters), FS, channels), rows, len(clusters))


def test_a_walk_of_18_steps_in_10_seconds() -> None:
    (cluster,) = of(walk())

    assert cluster.moving
    assert cluster.rhythmic
    assert cluster.cadence_hz == pytest.approx(1.8, abs=0.03)
    assert cluster.regularity > 0.9
    assert cluster.up_axis == "+z"
    assert cluster.tilt_deg == pytest.approx(0.0, abs=1.0)
    assert cluster.intensity == "moderate"
    assert describe(cluster) == "rhythmic, 1.8 steps/s, moderate"


def test_a_leg_that_feels_every_second_step_more_still_counts_both() -> None:
    t = np.arange(128) / FS + np.linspace(0, 3, 20)[:, None]
    x = still(0.0)
    x[:, :, 2] += 3 * np.sin(2 * np.pi * 1.8 * t) + 2.5 * np.sin(2 * np.pi * 0.9 * t)

    (cluster,) = of(x)

    assert cluster.cadence_hz == pytest.approx(1.8, abs=0.05)


def test_a_tilt_of_80_degrees_is_taken_from_the_posture_while_walking() -> None:
    walking, tilted = of(walk(), still(80))

    assert walking.tilt_deg == pytest.approx(0.0, abs=1.0)
    assert tilted.moving is False
    assert not tilted.rhythmic
    assert tilted.cadence_hz is None
    assert tilted.tilt_deg == pytest.approx(80.0, abs=0.5)
    assert describe(tilted) == "still, tilted 80°"


def test_the_tilt_does_not_depend_on_how_the_sensor_is_mounted() -> None:
    turn, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))
    mounted = [(x @ turn).astype(np.float32) for x in (walk(), still(80))]
    rows = np.repeat([0, 1, 0, 1], 20)
    x = np.concatenate([walk(), still(80), *mounted])
    windows = MotionWindows(x, FS, ACC, device=np.repeat(["a", "b"], 40))

    _, tilted = characterise(windows, rows, 2)

    assert tilted.tilt_deg == pytest.approx(80.0, abs=1.0)
    assert tilted.tilt_spread_deg == pytest.approx(0.0, abs=1.0)
    assert tilted.devices == 2


def test_without_a_walk_the_wearers_upright_is_not_known_and_it_says_so() -> None:
    (cluster,) = of(still(80))

    assert cluster.tilt_deg is None
    assert cluster.up_axis == "+x"
    assert any("walk" in why for why in cluster.unknown)
    assert describe(cluster) == "still, +x up"


def test_without_gravity_it_knows_motion_and_cadence_but_no_posture() -> None:
    moving, resting = of(walk(gravity=0.0), walk(gravity=0.0, size=0.0))

    assert moving.gravity == "removed"
    assert moving.moving
    assert resting.moving is False
    assert moving.cadence_hz == pytest.approx(1.8, abs=0.05)
    assert resting.up is None
    assert resting.tilt_deg is None
    assert resting.mad_mg is None
    assert describe(resting) == "still"


def test_normalised_units_tell_the_rhythm_alone() -> None:
    x = walk()
    x = (x - x.mean((0, 1))) / x.std()

    (cluster,) = of(x, channels=NORMALISED)

    assert cluster.rhythmic
    assert cluster.moving
    assert cluster.dynamic_ms2 is None
    assert any("no unit" in why for why in cluster.unknown)
    assert describe(cluster) == "rhythmic, 1.8 steps/s, strength unknown"
    (noise,) = of(np.random.default_rng(3).standard_normal((20, 128, 3)), channels=NORMALISED)
    assert noise.moving is None
    assert not noise.rhythmic
    assert propose_names((noise,)) == ((),)


def test_units_of_the_wire_are_taken_too() -> None:
    in_g = tuple(Channel(f"acc_{axis}", "g") for axis in "xyz")

    assert of(walk() / G, channels=in_g)[0].mad_mg == pytest.approx(of(walk())[0].mad_mg, rel=1e-3)


def test_gravity_that_is_reported_apart_is_added() -> None:
    names = (*(Channel(f"gravity_{axis}", "m/s2") for axis in "xyz"), *ACC)
    apart = np.zeros((20, 128, 3), dtype=np.float32)
    apart[:, :, 2] = G

    (cluster,) = of(np.concatenate([apart, walk(gravity=0.0)], axis=2), channels=names)

    assert cluster == of(walk())[0].model_copy(update={"mad_mg": cluster.mad_mg})
    assert cluster.mad_mg == pytest.approx(of(walk())[0].mad_mg, rel=1e-3)


def test_of_two_accelerometers_the_one_that_feels_gravity_counts() -> None:
    body = tuple(Channel(f"body_acc_{axis}", "m/s2") for axis in "xyz")

    (cluster,) = of(np.concatenate([walk(gravity=0.0), walk()], axis=2), channels=body + ACC)

    assert cluster.gravity == "included"


def test_rotation_is_the_rms_of_the_gyroscope_without_its_offset() -> None:
    rate = np.zeros((20, 128, 3), dtype=np.float32)
    rate[:, :, 1] = 0.2 + np.sqrt(2) * np.sin(2 * np.pi * np.arange(128) / 32)

    (cluster,) = of(np.concatenate([walk(), rate], axis=2), channels=ACC + GYRO)

    assert cluster.rotation_rad_s == pytest.approx(1.0, abs=0.01)


def test_bouts_and_hours_come_from_the_times() -> None:
    hop = 1_280_000
    day = np.arange(0, 24 * 3_600_000_000, 60_000_000)  # a window a minute; asleep from 22 to 6
    asleep = (day // 3_600_000_000 >= 22) | (day // 3_600_000_000 < 6)
    x = np.broadcast_to(still(80, 1), (len(day), 128, 3))
    awake, sleeping = characterise(MotionWindows(x, FS, ACC, None, day), asleep.astype(np.int64), 2)

    assert sleeping.hours is not None
    assert sleeping.hours[0] in (22, 23)
    assert sleeping.hours[1] in (5, 6)
    assert awake.bout_s == 16 * 3600
    assert sleeping.bout_s == 4 * 3600
    rows = np.repeat([0, 1, 0], [5, 3, 7])
    short = MotionWindows(x[:15], FS, ACC, None, np.arange(15) * hop)
    assert [c.bout_s for c in characterise(short, rows, 2)] == pytest.approx([6 * 1.28, 3 * 1.28])
    assert characterise(short, rows, 2)[0].hours is None


def test_descriptions_of_a_model_differ_where_its_clusters_do() -> None:
    clusters = of(walk(), walk(hz=1.84), still(3), still(9), still(80), still(80))

    texts = describe_all(clusters)

    assert len(set(texts)) == len(texts) == 6
    assert all(len(text) <= MAX_DESCRIPTION for text in texts)
    assert texts[2:4] == ("still, upright, leans 3°", "still, upright, leans 9°")


def test_a_description_that_grows_too_long_loses_whole_words() -> None:
    (cluster,) = of(walk())
    facts = ((3.0, 1.90), (8.0, 1.91), (3.0, 1.89))
    alike = [
        cluster.model_copy(update={"tilt_deg": tilt, "cadence_hz": hz, "intensity": "moderate"})
        for tilt, hz in facts
    ]

    assert describe_all(alike) == (
        "rhythmic, 1.9 steps/s, moderate, 1.90/s",
        "rhythmic, 1.9 steps/s, moderate, leans 8°",
        "rhythmic, 1.9 steps/s, moderate, 1.89/s",
    )


def test_names_are_relative_to_the_other_clusters() -> None:
    clusters = of(walk(), still(4), still(25), still(88))
    first = [proposals[0] for proposals in propose_names(clusters)]

    assert [p.name for p in first] == ["walking", "standing", "sitting", "lying"]
    assert "88°" in " ".join(first[3].evidence)


def test_stairs_are_compared_with_the_same_wearers_walk() -> None:
    quick, slow = walk(40, 2.1), walk(20, 1.9, 2.4)  # one person walks faster than the other climbs
    calm, slower = walk(10, 1.7), walk(20, 1.5, 2.4)
    rows = np.repeat([0, 1, 0, 1], [40, 20, 10, 20])
    device = np.repeat(["quick", "calm"], [60, 30])
    windows = MotionWindows(np.concatenate([quick, slow, calm, slower]), FS, ACC, device)

    level, stairs = characterise(windows, rows, 2)

    assert stairs.own_walk.cadence is not None
    assert level.own_walk.cadence is not None
    assert stairs.own_walk.cadence / level.own_walk.cadence == pytest.approx(0.93, abs=0.05)


def test_rejected_names_are_never_proposed_again() -> None:
    clusters = of(walk(), still(88))

    proposals = propose_names(clusters, {1: ["Lying "]})[1]

    assert "lying" not in [p.name for p in proposals]
    assert proposals[0].name == "sitting"
    assert propose_names(clusters, {0: ["lying"]})[1][0].name == "lying"


def test_the_synthetic_fleet_gets_its_names() -> None:
    windows = window_recordings(synthetic_recordings(6, 240, seed=3), WindowPlan(128, 128))
    activities = list(Activity)
    given = MotionWindows(windows.x, windows.fs, windows.channels, windows.subject)

    proposals = propose_names(characterise(given, windows.y.astype(np.int64), len(LABEL_NAMES)))

    names = {activity: p[0].name if p else "" for activity, p in zip(activities, proposals, strict=True)}
    assert names[Activity.WALKING] == "walking"
    assert names[Activity.STANDING] == "standing"
    assert names[Activity.LYING] == "lying"
    assert names[Activity.SITTING] == "sitting"


def test_characteristics_are_plain_json() -> None:
    (cluster,) = of(walk())

    assert Characteristics.model_validate_json(cluster.model_dump_json()) == cluster


def test_a_cluster_without_windows_is_described() -> None:
    windows = MotionWindows(walk(), FS, ACC)

    empty = characterise(windows, np.zeros(20, dtype=np.int64), 2)[1]

    assert describe(empty) == "no windows"
    assert propose_names([empty]) == ((),)
    assert characterise(MotionWindows(walk()[:0], FS, ACC), NO_ROWS, 1)[0].windows == 0


def test_representatives_are_the_nearest_and_the_most_doubtful() -> None:
    distance = np.array([[1.0, 9], [0.5, 9], [4, 5], [9, 2], [5, 5.1]])
    q = 1 / (1 + distance)
    q /= q.sum(1, keepdims=True)

    first, second = representatives(q, distance, 2)

    assert first.nearest.tolist() == [1, 0]
    assert first.border.tolist() == [4, 2]
    assert second.nearest.tolist() == second.border.tolist() == [3]


def test_the_benchmark_finds_most_names_of_a_synthetic_fleet(command_line: CommandLine) -> None:
    done = command_line("benchmark", "names", "--dataset", "synthetic", "--json")

    assert done.returncode == 0
    total = json.loads(done.stdout)["total"]
    assert total["oracle"]["share"] >= 0.8
    assert total["usual"]["share"] >= 0.5


def test_the_benchmark_names_a_mistyped_dataset(command_line: CommandLine) -> None:
    done = command_line("benchmark", "names", "--dataset", "hatp")

    assert done.returncode == 2
    assert "did you mean 'hapt'?" in done.stderr
    assert command_line("benchmark", "states", "--dataset", "hapt").returncode == 2  # no --data
    assert command_line("benchmark", "names", "--run", "nowhere").returncode == 2


@pytest.mark.parametrize(
    ("rows", "channels", "words"),
    [
        (np.full(20, 3), ACC, "rows must be"),
        (np.zeros(19, dtype=np.int64), ACC, "19 rows"),
        (np.zeros(20, dtype=np.int64), ACC[:2], "channels"),
        (np.zeros(20, dtype=np.int64), (*ACC[:2], Channel("baro", "1")), "three axes"),
    ],
)
def test_bad_input_is_refused_with_words(rows: np.ndarray, channels: tuple, words: str) -> None:
    with pytest.raises(DataError, match=words) as error:
        characterise(MotionWindows(walk(), FS, channels), rows, 2)
    assert error.value.remedy
