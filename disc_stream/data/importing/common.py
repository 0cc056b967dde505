"""Recordings of many people brought to one form: channels, units and rate, as the server does it live."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from disc_stream.data.importing.build import Loaded
from disc_stream.data.importing.even import usual_rate
from disc_stream.data.importing.plan import ImportPlan, PlannedRecording
from disc_stream.data.importing.settings import Settings
from disc_stream.data.importing.unitnames import QUANTITY
from disc_stream.data.types import UNLABELLED, LabelArray, Recording
from disc_stream.errors import DataError, StreamMismatchError
from disc_stream.signal.resampling import RATE_TOLERANCE, StreamResampler, new_resampler
from disc_stream.signal.units import conversion_factor
from disc_stream.types import Channel, Float32Array


def to_common_form(loaded: Loaded, settings: Settings) -> list[Recording]:
    """Bring recordings to the same channels, units, rate and label names; the plan tells how.

    Samples go through the resampler of the stream, from the beginning of each stretch, so that they are those
    of which the server cuts windows when the same samples are sent to it.

    Args:
        loaded: the recordings; their plan is completed.
        settings: what a person has decided.

    Raises:
        DataError: naming a recording that lacks what the others have, or cannot be converted.
    """
    plan = loaded.plan
    plan.channels = _common_channels(plan)
    plan.rate, plan.why_rate = _common_rate(plan, settings)
    names = tuple(sorted({n for parts in loaded.recordings for r in parts for n in r.label_names}))
    found: list[Recording] = []
    for planned, parts in zip(plan.recordings, loaded.recordings, strict=True):
        _tell(planned, plan)
        for place, recording in enumerate(parts):
            made = _convert(recording, plan.channels, plan.rate)
            if len(made.samples):
                found.append(replace(made, labels=_relabel(made, names), label_names=names))
            parts[place] = made  # so that what it was made of can be forgotten
    if not found:
        raise DataError("no recording is long enough to be resampled", remedy="Give longer ones")
    return found


def _common_channels(plan: ImportPlan) -> tuple[Channel, ...]:
    n = len(plan.recordings)
    living = {one.name: {c.name for c in one.channels} - one.dead for one in plan.recordings}
    counts = Counter(name for names in living.values() for name in names)
    first = {c.name: c for one in reversed(plan.recordings) for c in one.channels}
    for name, channel in first.items():
        count = counts[name]
        if count == n:
            continue
        if QUANTITY.get(channel.unit) and count >= n / 2:
            lacking = [one for one in plan.recordings if name not in living[one.name]]
            what = f"has a dead {name}" if name in lacking[0].dead else f"has no {name}"
            others = f" ({len(lacking) - 1} more have none either)" if len(lacking) > 1 else ""
            files = dict.fromkeys(one.files[0].name for one in lacking)
            every = " ".join(f"--map '{file}=-'" for file in files)
            raise DataError(
                f"recording {lacking[0].name!r} {what}, which {count} of {n} recordings have{others}",
                remedy=f"Leave such recordings out: {every}; or the channel: --map '{name}=-'",
            )
        if not count:
            plan.dropped.append(f"{name}, which never changes: its sensor was off, or it is none")
        else:
            plan.dropped.append(f"{name}, which only {count} of {n} recordings have")
    model = max(plan.recordings, key=lambda one: len(one.channels))
    names = [c.name for c in model.channels if counts[c.name] == n]
    if not names:
        raise DataError(
            "the recordings have no channel in common: "
            + "; ".join(
                f"{one.name} has {', '.join(c.name for c in one.channels)}" for one in plan.recordings[:3]
            ),
            remedy="Name the columns that are the same alike: --map 'COLUMN=acc_x[g]'",
        )
    return tuple(first[name] for name in names)


def _common_rate(plan: ImportPlan, settings: Settings) -> tuple[float, str]:
    if settings.rate is not None:
        return settings.rate, "as you say"
    rates = [(r.rate, r.seconds) for r in plan.recordings]
    shares = {
        rate: sum(seconds for other, seconds in rates if abs(other - rate) <= RATE_TOLERANCE * rate)
        for rate, _ in rates
    }
    best = max(shares, key=lambda rate: (round(shares[rate], 3), -rate))
    # A rate that no sensor is asked for is that of a sensor which is a little off.
    chosen = usual_rate(best, RATE_TOLERANCE)
    alike = all(abs(rate - chosen) <= RATE_TOLERANCE * chosen for rate, _ in rates)
    return chosen, "that of all recordings" if alike else "that of most of the time"


def _tell(planned: PlannedRecording, plan: ImportPlan) -> None:
    rate, said = plan.rate, []
    if abs(planned.rate - rate) > RATE_TOLERANCE * rate:
        said.append(f"resampled from {planned.rate:.6g} to {rate:g} Hz")
    elif abs(planned.rate - rate) > 1e-3 * rate:
        said.append(f"taken for {rate:g} Hz, from which it differs by less than 1 %; times are its own")
    units = {c.name: c.unit for c in planned.channels}
    changed = [f"{c.name} from {units[c.name]} to {c.unit}" for c in plan.channels if units[c.name] != c.unit]
    if changed:
        said.append(f"converted: {', '.join(changed)}")
    planned.becomes = "; ".join(said)


def _convert(recording: Recording, channels: Sequence[Channel], rate: float) -> Recording:
    own = [c.name for c in recording.channels]
    columns = [own.index(c.name) for c in channels]
    try:
        factors = np.array(
            [
                conversion_factor(recording.channels[n].unit, c.unit)
                for n, c in zip(columns, channels, strict=True)
            ],
            dtype=np.float32,
        )
        resampler = new_resampler(recording.fs, rate, len(channels))
    except StreamMismatchError as error:
        raise DataError(f"recording {recording.name!r}: {error.message}", remedy=error.remedy) from None
    except ValueError:
        raise DataError(
            f"recording {recording.name!r} has {recording.fs:g} samples/s, which cannot be made {rate:g}",
            remedy="Give another --rate, or leave it out with --map 'FILE=-'",
        ) from None
    samples = recording.samples
    if columns != list(range(len(own))):
        samples = samples[:, columns]
    if (factors != 1).any():
        samples = samples * factors
    clock = recording.clock_fs or recording.fs
    labels = recording.labels
    if resampler is not None:
        samples, labels, clock = _resample(resampler, samples, labels, clock)
    return replace(
        recording, channels=tuple(channels), fs=rate, samples=samples, labels=labels,
        clock_fs=0.0 if clock == rate else clock,
    )  # fmt: skip


def _resample(
    resampler: StreamResampler,
    samples: Float32Array,
    labels: LabelArray,
    clock: float,
) -> tuple[Float32Array, LabelArray, float]:
    """As the stream does it: what its filter cannot know yet at the end is not made up."""
    pieces = [resampler.push(samples[n : n + 65_536]) for n in range(0, len(samples), 65_536)]
    out = np.concatenate(pieces) if len(pieces) > 1 else pieces[0]
    place = np.rint(np.arange(len(out)) * resampler.step).astype(np.int64)
    return out, labels[np.minimum(place, len(labels) - 1)], clock / resampler.step


def _relabel(recording: Recording, names: Sequence[str]) -> LabelArray:
    table = np.array([*(names.index(name) for name in recording.label_names), UNLABELLED], dtype=np.int16)
    found: LabelArray = table[recording.labels]  # -1 takes the last entry
    return found
