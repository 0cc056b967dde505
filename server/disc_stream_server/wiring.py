"""What the parts of the server are given: from the configuration to the settings of each."""

from __future__ import annotations

from pathlib import Path

from disc_stream.clustering.adaptation import AdaptationRule
from disc_stream.config import ServeConfig, default_state
from disc_stream.episodes import EpisodeRules
from disc_stream.stream.pipeline import LabelOptions
from disc_stream.stream.rules import Rules
from disc_stream.wire.topics import Topics
from disc_stream_server.budget import BURST_SHARE, Bounds
from disc_stream_server.janitor import SPOOL
from disc_stream_server.labeller.lane import LaneSettings
from disc_stream_server.labeller.overload import OverloadRules
from disc_stream_server.labeller.settings import ROWS, LabellerSettings, LabelRoom
from disc_stream_server.metas import HOLD_US
from disc_stream_server.receiving.ratelimiter import DeviceLimits
from disc_stream_server.receiving.settings import ReceiverSettings
from disc_stream_server.storage.lock import FolderLock
from disc_stream_server.storage.private import close_to_others
from disc_stream_server.storage.retention import Retention
from disc_stream_server.storage.spool import SpoolReader
from disc_stream_server.storage.sqlite import translated
from disc_stream_server.storage.state import StateStore


class StateFolder:
    """The folder of everything that must survive a crash, for one server alone.

    Args:
        config: names it.

    Raises:
        StorageError: if it cannot be used, or another server uses it.
    """

    def __init__(self, config: ServeConfig) -> None:
        self.path = config.state or default_state(config.client_id)
        self._lock = FolderLock(self.path)
        with translated(self.path):
            close_to_others(self.path)
        self.store = StateStore(self.path, episode_rules(config))
        self.reader = SpoolReader(self.path / SPOOL)

    def close(self) -> None:
        """Let another server have it."""
        self.reader.close()
        self.store.close()
        self._lock.release()


def stream_rules(config: ServeConfig) -> Rules:
    """What shapes windows."""
    return Rules(config.reorder, config.reorder_s, config.bridge_s, config.idle_s)


def episode_rules(config: ServeConfig) -> EpisodeRules:
    """What makes an episode."""
    return EpisodeRules(config.episode_dwell_s, config.episode_hysteresis, config.episode_join_s)


def labeller_settings(config: ServeConfig, topics: Topics, bounds: Bounds) -> LabellerSettings:
    """How windows are labelled, within the bounds of memory."""
    lanes = LaneSettings(
        topics,
        stream_rules(config),
        config.stay,
        bounds.max_devices,
        config.max_payload_bytes,
        keep_days=max(config.keep_devices_days, config.keep_days),  # not before its messages
        max_waiting_bytes=bounds.queue_bytes,
        adaptation=None if config.adapt is False else AdaptationRule(),
        adapt_everywhere=config.adapt is True,
    )
    return LabellerSettings(
        lanes,
        LabelOptions(config.top_k, config.stay, config.max_batch),
        OverloadRules(round(config.stale_s * 1e6), 4 * max(ROWS, config.max_batch)),
        config.checkpoint_s,
        room=LabelRoom(bounds.unconfirmed, bounds.unwritten, bounds.letter_bytes),
    )


def receiver_settings(config: ServeConfig, state: Path, floor: int, bounds: Bounds) -> ReceiverSettings:
    """How messages are received.

    Args:
        config: of the server.
        state: the state folder.
        floor: position that is known to have been given away.
        bounds: of memory.
    """
    return ReceiverSettings(
        broker=config.broker,
        prefix=config.prefix,
        client_id=config.client_id,
        session_expiry_s=config.session_expiry_s,
        receive_maximum=bounds.receive_maximum,
        spool=str(Path(state / SPOOL).absolute()),
        max_file_bytes=config.spool_file_bytes,
        max_delay_s=config.max_delay_ms / 1000,
        floor=floor,
        idle_s=max(config.reorder_s, HOLD_US / 1e6) + 1.0,
        max_payload_bytes=config.max_payload_bytes,
        limits=device_limits(config, bounds),
    )


def device_limits(config: ServeConfig, bounds: Bounds) -> DeviceLimits:
    """What each device may send.

    The labeller holds a device back once it knows how many windows are in its messages. What comes at once
    comes before that, so it must fit into the queue of windows, where a window may take ten times the bytes
    that it had in its message: rows behind a full queue wait, whoever sent them.
    """
    return DeviceLimits(
        config.device_messages_s,
        config.device_bytes_s,
        config.device_burst_s,
        config.device_waiting_bytes,
        burst_bytes=max(config.device_bytes_s, bounds.queue_bytes / BURST_SHARE),
    )


def retention(config: ServeConfig) -> Retention:
    """How long messages are kept."""
    return Retention(
        config.keep_days * 86_400, config.keep_bytes, config.keep_device_bytes,
        config.keep_dead_days * 86_400, config.keep_episodes_days * 86_400,
    )  # fmt: skip
