"""State folders of a server that has received and labelled: a real spool, without a broker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from disc_stream.registry import Registry
from disc_stream.types import Channel
from disc_stream_server.storage.spool import Arrival
from disc_stream_server.storage.state import StateStore
from tests.support.device import make_batch
from tests.support.labeller import START_US, Bench, arrival_of, model_of, write_spool
from tests.support.tiny_bundle import CHANNELS, FS

POSES = ("lie", "stand", "shake")
_BATCH = 40  # samples
_BOUT = 4  # batches that one activity lasts

TINY_SETTINGS = {
    "hidden": 6, "embedding": 4, "decoder_hidden": 6, "batch_size": 128, "epochs": 12, "refine_epochs": 2,
}  # fmt: skip
"""Settings of DISC with which a retraining takes a second or two."""

WINDOW_S = 0.32
"""Length of windows that go with them: 16 samples."""


def motion(activity: str, n: int, random: np.random.Generator, start: int = 0) -> npt.NDArray[np.float32]:
    """(n, 3) in m/s² at 50 Hz of somebody who lies, stands, hangs, or shakes a hand six times a second."""
    x = random.normal(0, 0.3, (n, 3))
    if activity == "lie":
        x[:, 0] += 9.8
    elif activity == "stand":
        x[:, 2] += 9.8
    elif activity == "hang":
        x[:, 1] -= 9.8
    else:
        x += 12 * np.sin(2 * np.pi * 6 * (start + np.arange(n)) / FS)[:, None]
    return x.astype(np.float32)


def fleet_arrivals(
    devices: Sequence[str],
    batches: int,
    *,
    first: int = 0,
    seed: int = 0,
    poses: Sequence[str] = POSES,
    channels: tuple[Channel, ...] = CHANNELS,
    fs: float = FS,
    factor: float = 1.0,
) -> Iterator[Arrival]:
    """What devices send: ``batches`` batches each, of which ``first`` is the number of the first.

    Args:
        devices: names.
        batches: of 0.8 s at 50 Hz.
        first: see above.
        seed: of the noise, and of the order of activities.
        poses: activities, which take turns.
        channels: of the batches.
        fs: samples a second.
        factor: from m/s² to the channels' unit.
    """
    for number in range(first, first + batches):
        for which, device in enumerate(devices):
            random = np.random.default_rng([seed, which, number])
            activity = poses[(number // _BOUT + which) % len(poses)]
            samples = motion(activity, _BATCH, random, number * _BATCH) * np.float32(factor)
            batch = make_batch(device, number, samples, channels=channels, fs=fs)
            yield arrival_of(batch, START_US + round((number + 1) * _BATCH * 1e6 / fs) + which)


def write_fleet(state: Path, devices: Sequence[str], batches: int, **how: object) -> None:
    """Put what devices send behind what is in the spool of a state folder; see ``fleet_arrivals``."""
    write_spool(state, fleet_arrivals(devices, batches, **how))  # type: ignore[arg-type]
    StateStore(state).close()


def label_all(state: Path, registry: Registry) -> None:
    """Label what is in the spool by what is in production, as a server would."""
    current = registry.version("current")
    model = model_of(current.path).with_catalogue(registry.catalogue_of(current.version))
    bench = Bench(state, model)
    bench.run()
    bench.checkpoint()
    bench.close()
