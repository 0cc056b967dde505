"""Tells Home Assistant of devices and of what their wearers do, on a thread and a connection of its own.

The labelling thread only notes states here; whatever the broker or Home Assistant does, labels go on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from itertools import islice
from typing import Any

from disc_stream.artifacts.model import Model
from disc_stream.clock import Clock
from disc_stream.config import HomeAssistantConfig
from disc_stream.errors import BrokerError
from disc_stream.sparselog import SparseLog
from disc_stream.types import Label, Problem, SampleBatch
from disc_stream.wire.activity import Activity, encode_activity
from disc_stream.wire.broker import Broker
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink, Session, Will
from disc_stream.wire.topics import Kind, Topics
from disc_stream_server.homeassistant.discovery import OFFLINE, ONLINE, Discovery
from disc_stream_server.homeassistant.options import Options
from disc_stream_server.homeassistant.pace import Due, Gate, Pace

log = logging.getLogger(__name__)

TICK_S = 0.5
_AT_ONCE = 50  # announcements in one turn: Home Assistant makes entities and database rows of each
_MOST_ON_THE_WAY = 1_000  # unconfirmed messages, beyond which it waits
_GOODBYE_S = 2.0
_EXPIRE_AFTER = 3  # heartbeats


class HomeAssistant:
    """An observer that publishes discovery, availability and activities.

    Args:
        config: how fast, and where.
        broker: that Home Assistant is connected to.
        client_id: MQTT client id of this connection.
        topics: of the devices.
        clock: time.
        has_events: whether events are published, too, which become an entity of each device.
    """

    def __init__(
        self,
        config: HomeAssistantConfig,
        broker: Broker,
        client_id: str,
        topics: Topics,
        clock: Clock,
        *,
        has_events: bool = False,
    ) -> None:
        self._topics, self._clock = topics, clock
        self._discovery = Discovery(
            topics, config.prefix, round(_EXPIRE_AFTER * config.heartbeat_s), has_events
        )
        self._lock = threading.Lock()  # guards what follows
        self._gate = Gate(Pace(config.dwell_s, config.apart_s, config.heartbeat_s))
        self._options = Options()
        self._listed: tuple[str, ...] = ()  # the options that devices were announced with
        self._to_announce: dict[str, None] = {}
        self._to_remove: dict[str, None] = {}
        self._greet = False
        self._log = SparseLog(log)
        self._ended, self._turn = threading.Event(), threading.Event()
        self._link = MqttLink(
            broker,
            client_id,
            LinkListener(on_message=self._heard, on_up=self._came_up),
            Session(will=Will(topics.server_availability, OFFLINE)),
        )
        self._link.subscribe(self._discovery.birth)
        self._thread = threading.Thread(target=self._work, name="home-assistant", daemon=True)

    # -- life -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect, and work in the background.

        Raises:
            BrokerError: if the broker cannot be reached or refuses.
        """
        try:
            self._link.connect()
        except BrokerError as error:
            error.remedy = error.remedy or f"Let the server read {self._discovery.birth}"
            raise
        self._thread.start()

    def stop(self) -> None:
        """Say that nobody tells of activities any more, and disconnect. May be called twice."""
        self._ended.set()
        self._turn.set()
        if self._thread.ident is not None:
            self._thread.join()
            if self._link.connected:
                self._link.publish(self._topics.server_availability, OFFLINE, retain=True).wait(_GOODBYE_S)
        self._link.close()

    # -- on the labelling thread ------------------------------------------------------------------------

    def on_batch(self, batch: SampleBatch) -> None:
        """Nothing: only what is labelled is told."""

    def on_status(self, status: dict[str, Any]) -> None:
        """Nothing: availability has a topic of its own, which changes seldom."""

    def on_problem(self, device: str, problem: Problem | None) -> None:
        """Nothing: the device's problem topic says it."""

    def on_label(self, label: Label) -> None:
        """Note what a device's wearer does; labels that come late say nothing about now."""
        if label.deferred:
            return
        with self._lock:
            option = self._options.of(label)
            smoothed = label.smoothed.label
            now = self._clock.monotonic()
            if self._gate.see(label.device, option, smoothed, now, label.published_us):
                self._to_announce[label.device] = None
                self._to_remove.pop(label.device, None)

    def on_model(self, model: Model) -> None:
        """Another model, or other names: devices are announced anew with what there can be now."""
        clusters = model.clusters
        named = zip(clusters.ids, clusters.names, clusters.muted, strict=True)
        with self._lock:
            self._options = Options((one, name) for one, name, muted in named if not muted)

    def on_forget(self, device: str) -> None:
        """A device was erased: Home Assistant is to forget it, too."""
        with self._lock:
            self._gate.forget(device)
            self._to_announce.pop(device, None)
            self._to_remove[device] = None

    # -- on the network thread ----------------------------------------------------------------------------

    def _heard(self, message: Message) -> None:
        """Home Assistant has come: it is told everything again, for it may know nothing."""
        if message.payload == ONLINE and not message.retained:
            self._begin_anew()

    def _came_up(self) -> None:
        self._begin_anew()

    def _begin_anew(self) -> None:
        with self._lock:
            self._greet = True
            self._to_announce = dict.fromkeys(self._gate.devices())
            self._gate.again()
        self._turn.set()

    # -- on its own thread --------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._ended.is_set():
            try:
                self.turn()
            except Exception:  # noqa: BLE001 - it is logged
                text = "telling Home Assistant failed; labels go on, and it is tried again"
                self._log.error("home-assistant", "failed", text, exc_info=True)
            self._turn.wait(TICK_S)
            self._turn.clear()

    def turn(self) -> None:
        """Publish what is due."""
        link = self._link
        if not link.connected or link.sent - link.settled > _MOST_ON_THE_WAY:
            return
        with self._lock:
            greet, self._greet = self._greet, False
            options = self._options.all
            if options != self._listed:
                self._listed = options
                self._to_announce |= dict.fromkeys(self._gate.devices())
            removed, self._to_remove = list(self._to_remove), {}
            announced = list(islice(self._to_announce, _AT_ONCE))
            for device in announced:
                del self._to_announce[device]
            # A state that comes before its device is announced would be an unknown option, or nobody's.
            waiting = self._to_announce
            due = [] if waiting else list(islice(self._gate.due(self._clock.monotonic()), _MOST_ON_THE_WAY))
        # What was shown of a silent device is no option any more if its activity got another name.
        due = [one for one in due if one.state in options]
        if greet:
            link.publish(self._topics.server_availability, ONLINE, retain=True)
        link.publish_many(self._messages(removed, announced, options, due), retain=True)

    def _messages(
        self, removed: list[str], announced: list[str], options: tuple[str, ...], due: list[Due]
    ) -> Iterator[tuple[str, bytes]]:
        for device in removed:
            yield self._discovery.topic(device), b""
            yield self._topics.of(device, Kind.ACTIVITY), b""
        for device in announced:
            yield self._discovery.topic(device), self._discovery.config(device, options)
        for one in due:
            activity = Activity(one.state, one.label, one.since_us)
            yield self._topics.of(one.device, Kind.ACTIVITY), encode_activity(activity)
