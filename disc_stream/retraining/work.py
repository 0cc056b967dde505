"""The folder of a retraining on its way, in the state folder: what is done stays done, whenever it is killed.

::

    STATE/retraining/
      lock            one retraining at a time
      plan.json       what was asked for, and which version was in production
      replay.npz      the windows to learn from
      run/            the training, with its checkpoints
      bundle/         the export
      next.npz        the anchors, to be kept if it comes to an end
      anchors.npz     windows with the ids that they were published under, also when the spool has lost them
      runs/VERSION/   runs of the versions in production, which the next retraining goes on from

All of it holds or comes from recorded motion: ``data forget`` removes it as a whole.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from disc_stream.artifacts.manifest import ChannelInfo
from disc_stream.artifacts.run import RUN_FILE
from disc_stream.clustering.anchors import AnchorSet
from disc_stream.data.anchorfile import read_anchors, write_anchors
from disc_stream.data.archive import ArchiveHeader, read_archive, write_archive
from disc_stream.errors import ConfigError, DataError, InputNotFoundError, StorageError
from disc_stream.retraining.recent import Recent
from disc_stream.retraining.replayset import ReplaySet
from disc_stream.stream.sessions import StreamSpec
from disc_stream.types import Channel, WindowSpec
from disc_stream_server.janitor import SPOOL
from disc_stream_server.storage.forget import RETRAINING
from disc_stream_server.storage.lock import FolderLock

log = logging.getLogger(__name__)

_SCHEMA, _VERSION = "disc-stream.replay", 1
_ARRAYS = ("x", "ids", "boots", "t0_us", "when_us", "distance")


class ReplayHeader(ArchiveHeader):
    """Everything but the numbers."""

    schema_name: str = _SCHEMA
    schema_version: int = _VERSION
    fs: float = Field(gt=0, allow_inf_nan=False)
    channels: list[ChannelInfo]
    hop: int
    devices: list[str]
    recent_devices: list[str]
    seen: int


class Work:
    """The folder, held for one retraining.

    Args:
        state: the state folder.

    Raises:
        InputNotFoundError: if there is no state folder.
        StorageError: if another retraining holds it, or it cannot be used.
    """

    def __init__(self, state: Path) -> None:
        if not (state / SPOOL).is_dir():
            raise InputNotFoundError(
                f"{str(state)!r} is no state folder of a server: it has no spool",
                remedy="Give the server's --state",
            )
        self.path = state / RETRAINING
        try:
            self._lock = FolderLock(self.path)
        except StorageError as error:
            if "is in use" in error.message:
                error.remedy = "Wait until that retraining ends, or stop it"
            raise

    def close(self) -> None:
        """Let another retraining have it."""
        self._lock.release()

    @property
    def run(self) -> Path:
        """Where the training is."""
        return self.path / "run"

    @property
    def bundle(self) -> Path:
        """Where the export is."""
        return self.path / "bundle"

    def kept_run(self, version: str) -> Path | None:
        """The run of a version that was in production, if it is there."""
        run = self.path / "runs" / version
        return run if (run / RUN_FILE).is_file() else None

    # -- what is on its way -------------------------------------------------------------------------------

    def plan(self) -> dict[str, Any] | None:
        """What an unfinished retraining was asked for; None if there is none."""
        try:
            plan = json.loads((self.path / "plan.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"the unfinished retraining in {str(self.path)!r} cannot be read: {error}",
                remedy="Add --discard, to begin anew",
            ) from error
        return plan if isinstance(plan, dict) else {}

    def begin(self, plan: dict[str, Any]) -> None:
        """Write down what is asked for; whatever was on its way is gone."""
        self.discard()
        part = self.path / "plan.part"
        _written(part, json.dumps(plan, indent=2) + "\n")
        part.replace(self.path / "plan.json")

    def require_begun(self) -> None:
        """Check that nobody has erased a device, and with it what is on its way.

        Raises:
            ConfigError: if so; what was written since is removed, too.
        """
        if not (self.path / "plan.json").exists():
            self.discard()
            raise ConfigError(
                "a device was erased during the retraining, and with it what it was learning from",
                remedy="Run the same command again; the device is not in the next one",
            )

    @property
    def has_begun_well(self) -> bool:
        """Whether there is anything of an unfinished retraining that would be lost."""
        return (self.path / "replay.npz").exists()

    def discard(self) -> None:
        """Remove what is on its way."""
        (self.path / "plan.json").unlink(missing_ok=True)  # first: the rest is nothing without it
        for name in ("replay.npz", "next.npz"):
            (self.path / name).unlink(missing_ok=True)
        for part in self.path.glob("*.part"):  # of whoever was killed while writing
            part.unlink(missing_ok=True)
        for folder in (self.run, self.bundle):
            shutil.rmtree(folder, ignore_errors=True)

    def finish(self, version: str, still: Collection[str]) -> None:
        """The training has become a version: keep its run, those of a few others, and the anchors.

        Args:
            version: its content hash.
            still: other versions whose runs are kept.
        """
        self.require_begun()
        runs = self.path / "runs"
        runs.mkdir(mode=0o700, exist_ok=True)
        if self.run.is_dir():  # else it was moved before we were killed
            shutil.rmtree(runs / version, ignore_errors=True)
            self.run.replace(runs / version)
        for other in runs.iterdir():
            if other.name != version and other.name not in still:
                shutil.rmtree(other, ignore_errors=True)
        if (self.path / "next.npz").exists():
            (self.path / "next.npz").replace(self.path / "anchors.npz")
        self.discard()

    # -- the anchors --------------------------------------------------------------------------------------

    def save_anchors(self, anchors: AnchorSet, spec: StreamSpec) -> None:
        """Keep the anchors for the retrainings to come, once this one has come to an end.

        Raises:
            DataError: if the disk does not take them.
        """
        write_anchors(self.path / "next.npz", anchors, fs=spec.fs, channels=_channels(spec))

    def load_anchors(self, spec: StreamSpec) -> AnchorSet | None:
        """What an earlier retraining has kept; None if there is nothing that fits these windows."""
        try:
            anchors, header = read_anchors(self.path / "anchors.npz")
        except InputNotFoundError:
            return None
        except DataError as error:
            log.warning("the anchors of earlier retrainings are not used: %s", error)
            return None
        fits = (
            header.fs == spec.fs
            and header.channels == _channels(spec)
            and anchors.windows.shape[1] == spec.window.samples
        )
        return anchors if fits else None

    # -- the replay set -----------------------------------------------------------------------------------

    def save_replay(self, replay: ReplaySet, recent: Recent, spec: StreamSpec) -> None:
        """Keep the windows, so that a retraining that goes on learns from the same ones.

        Raises:
            DataError: if the disk does not take them.
        """
        devices, device = np.unique(replay.devices, return_inverse=True)
        others, other = np.unique(recent.devices, return_inverse=True)
        header = ReplayHeader(
            fs=spec.fs,
            channels=_channels(spec),
            hop=spec.window.hop,
            devices=devices.tolist(),
            recent_devices=others.tolist(),
            seen=replay.seen,
        )
        arrays = {name: getattr(replay, name) for name in _ARRAYS}
        arrays |= {"device": device, "recent_device": other}
        arrays |= {f"recent_{name}": getattr(recent, name) for name in Recent.ARRAYS}
        write_archive(self.path / "replay.npz", header, arrays)

    def load_replay(self) -> tuple[ReplaySet, Recent, StreamSpec] | None:
        """What ``save_replay`` kept; None if it is not there.

        Raises:
            DataError: if it is damaged.
        """
        path = self.path / "replay.npz"
        if not path.exists():
            return None
        header, arrays = read_archive(path, ReplayHeader, _SCHEMA, _VERSION)
        try:
            names = np.array(header.devices, dtype=np.str_)
            others = np.array(header.recent_devices, dtype=np.str_)
            replay = ReplaySet(
                **{name: arrays[name] for name in _ARRAYS},
                devices=names[arrays["device"]],
                seen=header.seen,
            )
            recent = Recent(
                **{name: arrays[f"recent_{name}"] for name in Recent.ARRAYS},
                devices=others[arrays["recent_device"]],
            )
        except (KeyError, IndexError) as error:
            raise DataError(
                f"{str(path)!r} is damaged: {error}", remedy="Add --discard, to begin anew"
            ) from error
        channels = tuple(Channel(c.name, c.unit) for c in header.channels)
        samples = replay.x.shape[1]
        return replay, recent, StreamSpec(channels, header.fs, WindowSpec(samples, header.hop, samples))


def _channels(spec: StreamSpec) -> list[ChannelInfo]:
    return [ChannelInfo(name=c.name, unit=c.unit) for c in spec.channels]


def _written(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
