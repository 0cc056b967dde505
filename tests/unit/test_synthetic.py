"""The simulated wearables obey physics, look like people, and repeat exactly."""

from __future__ import annotations

from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.transform import Rotation

from disc_stream.data.synthetic import (
    CHANNELS,
    LABEL_NAMES,
    Activity,
    MessageLoss,
    Placement,
    SensorModel,
    SyntheticWearable,
    device_names,
    synthetic_recordings,
)
from disc_stream.data.synthetic.noise import SmoothNoise
from disc_stream.data.synthetic.rotation import euler_matrix, rotation_vectors
from disc_stream.data.synthetic.schedule import PASSAGE_S
from disc_stream.data.synthetic.sensor import PERFECT
from disc_stream.data.types import Recording

FS = 50.0
Floats = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def waist() -> list[Recording]:
    return synthetic_recordings(6, 600, seed=1)


def bouts(recording: Recording, activity: Activity, *, margin_s: float = PASSAGE_S) -> list[Floats]:
    """The stretches of an activity, without the passages at their ends."""
    edges = np.flatnonzero(np.diff(recording.labels)) + 1
    margin = round(margin_s * recording.fs)
    pieces = [
        recording.samples[start + margin : end - margin].astype(np.float64)
        for start, end in pairwise([0, *edges, len(recording.labels)])
        if recording.labels[start] == activity
    ]
    return [piece for piece in pieces if len(piece) >= 128]


def all_bouts(recordings: list[Recording], activity: Activity) -> list[Floats]:
    return [piece for recording in recordings for piece in bouts(recording, activity)]


def magnitude(piece: Floats) -> Floats:
    return np.linalg.norm(piece[:, :3], axis=1)


# -- repetition ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(1,), (7, 131), (128,), (129, 1, 500)])
def test_the_stream_does_not_depend_on_how_it_is_read(sizes: tuple[int, ...]) -> None:
    whole, whole_labels = SyntheticWearable("a", seed=5).read(1500)
    reader = SyntheticWearable("a", seed=5)
    parts: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]] = []
    while sum(len(samples) for samples, _ in parts) < 1500:
        left = 1500 - sum(len(samples) for samples, _ in parts)
        parts.append(reader.read(min(sizes[len(parts) % len(sizes)], left)))
    assert np.concatenate([samples for samples, _ in parts]).tobytes() == whole.tobytes()
    assert np.concatenate([labels for _, labels in parts]).tobytes() == whole_labels.tobytes()


def test_the_device_and_the_seed_decide() -> None:
    def stream(device: str, seed: int) -> bytes:
        return SyntheticWearable(device, seed).read(300)[0].tobytes()

    assert stream("a", 1) == stream("a", 1)
    assert len({stream("a", 1), stream("b", 1), stream("a", 2)}) == 3


def test_recordings_are_what_the_devices_would_send() -> None:
    recording = synthetic_recordings(2, 10, seed=9, placement="wrist")[1]
    samples, labels = SyntheticWearable(device_names(2)[1], 9, placement="wrist").read(500)
    assert recording.samples.tobytes() == samples.tobytes()
    assert recording.labels.tobytes() == labels.tobytes()
    assert (recording.channels, recording.label_names) == (CHANNELS, LABEL_NAMES)


# -- physics ------------------------------------------------------------------------------------------


def test_at_rest_the_sensor_measures_one_g() -> None:
    for recording in synthetic_recordings(2, 300, seed=2, sensor=PERFECT):
        for activity in (Activity.SITTING, Activity.STANDING, Activity.LYING):
            for piece in bouts(recording, activity):
                assert np.median(magnitude(piece)) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("placement", Placement)
def test_the_gyroscope_explains_every_change_of_orientation(placement: Placement) -> None:
    # The orientation comes from the measured angular rates alone, over minutes of walking, climbing,
    # sitting down and lying. Seen through it, gravity must point the same way whenever the person is at rest.
    samples, labels = SyntheticWearable("g", 1, placement=placement, dwell=0.5, sensor=PERFECT).read(30_000)
    samples = samples.astype(np.float64)
    turns = Rotation.from_rotvec(samples[:, 3:] / FS).as_matrix()
    orientation = np.stack(list(accumulate(turns[:-1], np.matmul, initial=np.eye(3))))
    settled = np.isin(labels, [Activity.SITTING, Activity.STANDING, Activity.LYING])
    settled[1:] &= labels[1:] == labels[:-1]
    settled = np.convolve(settled, np.ones(151), mode="same") == 151  # no passage, before or after
    settled &= np.abs(magnitude(samples) - 1.0) < 0.002  # and no quick movement
    down = np.einsum("nij,nj->ni", orientation[settled], samples[settled, :3])
    first, last = np.median(down[:500], axis=0), np.median(down[-500:], axis=0)
    np.testing.assert_allclose(last, first, atol=0.01)  # no drift at all
    error = np.linalg.norm(down - first, axis=1)
    assert np.median(error) < 0.01
    assert np.percentile(error, 95) < 0.05  # what is left is acceleration, not orientation
    assert np.ptp(samples[settled, :3], axis=0).max() > 0.8, "the test needs more than one posture"


def test_rotations_are_those_of_scipy() -> None:
    angles = np.random.default_rng(0).uniform(-0.8, 0.8, (3, 20))
    matrices = euler_matrix(*angles)
    np.testing.assert_allclose(matrices, Rotation.from_euler("ZYX", angles.T).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(
        rotation_vectors(matrices), Rotation.from_matrix(matrices).as_rotvec(), atol=1e-12
    )
    np.testing.assert_array_equal(rotation_vectors(np.eye(3)[None]), 0.0)


def test_smooth_noise_has_unit_variance_and_no_jumps() -> None:
    values = SmoothNoise(np.random.default_rng(0), np.array([0.1, 1.0]), 50.0).block(60_000)
    np.testing.assert_allclose(values[2000:].std(axis=0), 1.0, rtol=0.15)
    assert np.abs(np.diff(values, axis=0)).std(axis=0).tolist() < [0.25, 0.03]


# -- people -------------------------------------------------------------------------------------------


def test_every_activity_happens_and_goes_over_into_another_smoothly(waist: list[Recording]) -> None:
    labels = np.concatenate([recording.labels for recording in waist])
    share = np.bincount(labels, minlength=len(LABEL_NAMES)) / len(labels)
    assert share.min() > 0.02
    for recording in waist:
        changes = np.flatnonzero(np.diff(recording.labels))
        assert 8 <= len(changes) <= 60, "activities last from seconds to minutes"
        # No jump of the trunk's orientation: the angular rate stays within what people do.
        assert np.abs(recording.samples[:, 3:]).max() < 12.0


def test_walking_people_step_at_human_rates_and_each_at_their_own(waist: list[Recording]) -> None:
    first = [bouts(recording, Activity.WALKING)[0] for recording in waist]
    rates = [peak_hz(magnitude(piece), FS) for piece in first]
    assert all(1.4 < rate < 2.3 for rate in rates)
    assert np.ptp(rates) > 0.1


def peak_hz(signal: Floats, fs: float) -> float:
    spectrum = np.abs(np.fft.rfft((signal - signal.mean()) * np.hanning(len(signal))))
    return float(np.fft.rfftfreq(len(signal), 1 / fs)[np.argmax(spectrum)])


def test_the_activities_differ_in_energy_and_impact(waist: list[Recording]) -> None:
    energy = {a: np.median([magnitude(p).std() for p in all_bouts(waist, a)]) for a in Activity}
    assert energy[Activity.RUNNING] > 2 * energy[Activity.WALKING]
    assert energy[Activity.STAIRS_DOWN] > 1.2 * energy[Activity.STAIRS_UP]
    assert energy[Activity.WALKING] > 2 * energy[Activity.CYCLING] > 6 * energy[Activity.STANDING]


def test_postures_differ_by_the_direction_of_gravity(waist: list[Recording]) -> None:
    upright = [piece[:, 0].mean() for piece in all_bouts(waist, Activity.STANDING)]
    lying = [abs(piece[:, 0].mean()) for piece in all_bouts(waist, Activity.LYING)]
    assert min(upright) > 0.9
    assert max(lying) < 0.5
    sides = np.array([piece[:, :3].mean(axis=0) for piece in all_bouts(waist, Activity.LYING)])
    assert np.ptp(sides[:, 1:], axis=0).max() > 1.0, "people lie in different ways"


def test_magnitudes_are_those_of_published_recordings(waist: list[Recording]) -> None:
    # HAPT, phone at the waist, windows of 256 samples, 10th and 90th percentile over 12 people:
    # walking 0.19 to 0.30 g, stairs up 0.23 to 0.33 g, stairs down 0.32 to 0.47 g.
    spread = {a: np.median([magnitude(p).std() for p in all_bouts(waist, a)]) for a in Activity}
    assert 0.19 < spread[Activity.WALKING] < 0.30
    assert 0.20 < spread[Activity.STAIRS_UP] < 0.33
    assert 0.32 < spread[Activity.STAIRS_DOWN] < 0.47


def test_the_sampling_rate_does_not_change_the_tempo() -> None:
    fast = synthetic_recordings(3, 300, seed=1, fs=100.0)
    steps = [peak_hz(magnitude(piece), 100.0) for r in fast for piece in bouts(r, Activity.WALKING)]
    assert 1.4 < np.median(steps) < 2.3


# -- sensor and link ----------------------------------------------------------------------------------


def test_quantisation_and_saturation() -> None:
    model = SensorModel(bits=8, acc_range=2.0, gyro_range=4.0)
    samples, _ = SyntheticWearable("q", 1, placement="pocket", sensor=model).read(20_000)
    steps = samples / np.repeat([4.0 / 256, 8.0 / 256], 3)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)
    assert samples[:, :3].max() == pytest.approx(2.0)


def test_devices_have_their_own_bias() -> None:
    rest = SensorModel(acc_noise=0.0, gyro_noise=0.0, scale_error=0.0, gyro_bias=0.05)
    offsets = []
    for device in ("a", "b", "c"):
        biased, _ = SyntheticWearable(device, 3, sensor=rest).read(200)
        exact, _ = SyntheticWearable(device, 3, sensor=PERFECT).read(200)
        offset = biased[:, 3:] - exact[:, 3:]
        np.testing.assert_allclose(offset, offset[:1].repeat(200, axis=0), atol=1e-5)
        offsets.append(offset[0])
    assert np.std(offsets, axis=0).min() > 0.001


def test_message_loss_comes_in_bursts_at_the_rate_asked_for() -> None:
    loss = MessageLoss(0.1, burst=5, seed=3)
    lost = np.array([loss.loses_next() for _ in range(40_000)])
    assert lost.mean() == pytest.approx(0.1, abs=0.02)
    starts = np.count_nonzero(lost[1:] & ~lost[:-1])
    assert lost.sum() / starts == pytest.approx(5, rel=0.15)
    never = MessageLoss(0.0)
    assert not any(never.loses_next() for _ in range(1000))


@pytest.mark.parametrize("wrong", [{"fs": 5.0}, {"dwell": 0.0}, {"placement": "hat"}])
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"fs must|not a valid"):
        SyntheticWearable("a", **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rate", "burst"), [(1.0, 4.0), (-0.1, 4.0), (0.1, 0.5)])
def test_impossible_losses_are_refused(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="rate must be"):
        MessageLoss(rate, burst=burst)


def test_an_activity_that_is_held_back_is_not_done_until_it_is_started() -> None:
    wearable = SyntheticWearable("wearable-001", seed=4)
    wearable.leave_out(Activity.CYCLING)
    assert Activity.CYCLING not in wearable.read(50 * 900)[1]
    wearable.start(Activity.CYCLING)
    labels = wearable.read(50 * 1_800)[1]
    first = int((labels == Activity.CYCLING).argmax())
    assert 0 < first < 50 * 10
    begins = np.flatnonzero(np.diff((labels == Activity.CYCLING).astype(int)) == 1)
    assert len(begins) > 1  # and again later, of itself
