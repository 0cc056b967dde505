"""All phones, and the broker: what it says of them, and what apps publish there."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from disc_stream.clock import SystemClock
from disc_stream.errors import DiscStreamError, PayloadError, TopicError, WireError
from disc_stream.phones.phone import STREAM_MESSAGES_S, Phone, Reading
from disc_stream.phones.sending import PhoneSender
from disc_stream.sparselog import SparseLog
from disc_stream.types import Label, Problem
from disc_stream.wire.broker import Broker
from disc_stream.wire.label import decode_label
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink
from disc_stream.wire.problem import decode_problem, encode_problem
from disc_stream.wire.status import State, decode_server_status
from disc_stream.wire.topics import Kind, Topics
from disc_stream_edge.phones import sensorlogger
from disc_stream_edge.phones.checks import Needs
from disc_stream_edge.phones.readings import Sensor

log = logging.getLogger(__name__)

APP_TOPICS = {"sensor-logger": "sensorlogger", "android/sensor": "sensorspot", "phyphox": "phyphox"}
"""Topic -> app; a phone's own is one level below."""

MAX_PHONES = 64
"""Phones that are known by what they publish; more are refused."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_SERVER_S = 2.0


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who is told of phones; called on network threads, and must be quick."""

    on_label: Callable[[Phone, Label, bool], None]
    on_findings: Callable[[Phone], None]
    on_new: Callable[[Phone], None]


class _Channel(msgspec.Struct):
    name: str


class _Model(msgspec.Struct):
    """What is read of the retained description of the model."""

    fs: float
    channels: list[_Channel]
    name: str = ""


_MODEL = msgspec.json.Decoder(_Model)


class Gateway:
    """The phones, by token and by what they publish, and one connection that listens for all of them.

    Args:
        broker: where samples go, and labels come from.
        topics: topic grammar with its prefix.
        devices: device ids of the phones that get a token.
        listeners: are told of labels and of what is wrong.
        sender: makes what sends the batches of a device; raises a ``DiscStreamError`` if it may not send.
    """

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        devices: Sequence[str],
        listeners: Listeners,
        sender: Callable[[str], PhoneSender] | None = None,
    ) -> None:
        self._sender = sender or (lambda _device: PhoneSender(broker, topics.prefix))
        self.broker, self._topics, self._listeners = broker, topics, listeners
        self._log, self._clock = SparseLog(log), SystemClock()
        self.reading = Reading()
        self.server_online = threading.Event()
        self.model_known = threading.Event()
        self._by_device: dict[str, Phone] = {}
        self._ours: dict[str, bytes] = {}  # problems that we have published
        self.phones = [self._make(device) for device in devices]
        """Those with a token."""
        self._link = MqttLink(
            broker,
            f"disc-stream-phone-{uuid.uuid4().hex[:12]}",
            LinkListener(on_message=self._receive),
        )
        self._link.subscribe(topics.server_status)
        self._link.subscribe(topics.server_model)
        self._link.subscribe(topics.all_of(Kind.LABEL))
        self._link.subscribe(topics.all_of(Kind.PROBLEM))
        for topic in APP_TOPICS:
            self._link.subscribe(topic)
            self._link.subscribe(f"{topic}/+")

    def connect(self) -> None:
        """Connect.

        Raises:
            BrokerError: if the broker cannot be reached or refuses.
        """
        self._link.connect()
        for phone in self._by_device.values():
            phone.sender.start(phone.device)

    def finds_server(self) -> bool:
        """Whether a server is there already, waiting a moment for what the broker has kept of it."""
        return self.server_online.wait(_SERVER_S)

    def close(self) -> None:
        """Send what waits, take back what we said of phones, disconnect."""
        for phone in list(self._by_device.values()):
            phone.sender.close()
        for device in list(self._ours):
            self._clear(device)
        self._link.flush(2.0, reconnect=False)
        self._link.close()

    def by_token(self, token: str) -> Phone | None:
        """The phone that has a token."""
        found = None
        for phone in self.phones:
            if hmac.compare_digest(phone.token.encode(), token.encode()):
                found = phone
        return found

    def take(self, phone: Phone, app: str, payload: bytes) -> None:
        """Take a message of a phone.

        Raises:
            PayloadError: if it is not what the app sends.
        """
        phone.take(app, payload, self.reading)

    def add(self, device: str) -> Phone:
        """A phone without a token, that we connect to."""
        return self._make(device)

    def _make(self, device: str) -> Phone:
        phone = Phone(device, self._sender(device), self._tell)
        self._by_device[device] = phone
        return phone

    # -- what the broker brings -----------------------------------------------------------------------

    def _receive(self, message: Message) -> None:
        app = _app_of(message.topic)
        if app is not None:
            self._take_published(app, message)
            return
        try:
            if message.topic == self._topics.server_status:
                self._note_server(message.payload)
            elif message.topic == self._topics.server_model:
                self._note_model(message.payload)
            else:
                self._note(*self._topics.parse(message.topic), message)
        except (WireError, TopicError, msgspec.MsgspecError) as error:
            self._log.warning("", "unreadable", "what came on %s cannot be read: %s", message.topic, error)

    def _note_server(self, payload: bytes) -> None:
        if payload and decode_server_status(payload).state == State.ONLINE:
            self.server_online.set()
        else:
            self.server_online.clear()

    def _note_model(self, payload: bytes) -> None:
        if not payload:
            self.reading = Reading()
            return
        model = _MODEL.decode(payload)
        names = [one.name for one in model.channels]
        sensors = tuple(s for s in (Sensor.ACC, Sensor.GYRO) if any(n.startswith(f"{s}_") for n in names))
        words = f"{model.name or 'a model'} at {model.fs:g} Hz"
        needs = Needs(model.fs, Sensor.GYRO in sensors)
        self.reading = Reading(needs, sensors or (Sensor.ACC, Sensor.GYRO), words)
        self.model_known.set()

    def _note(self, device: str, kind: Kind, message: Message) -> None:
        phone = self._by_device.get(device)
        if phone is None:
            return
        if kind == Kind.LABEL and message.payload and not message.retained:
            label = decode_label(message.payload)
            self._listeners.on_label(phone, label, phone.note_label(label))
        elif kind == Kind.PROBLEM and message.payload != self._ours.get(device):
            self._ours.pop(device, None)
            phone.problem = decode_problem(message.payload)

    # -- what apps publish ----------------------------------------------------------------------------

    def _take_published(self, app: str, message: Message) -> None:
        """A message of an app: its phone has no token, the broker decides who may publish."""
        try:
            phone = self._publisher_of(app, message)
            if not phone.admits(len(message.payload), STREAM_MESSAGES_S):
                phone.refused += 1
                self._log.warning(
                    phone.device, "rate", "%s publishes more than a phone can mean to", phone.device
                )
                return
            self.take(phone, app, message.payload)
        except PayloadError as error:
            self._log.warning(app, "payload", "a message on %s is not used: %s", message.topic, error)

    def _publisher_of(self, app: str, message: Message) -> Phone:
        name = message.topic.rpartition("/")[2] if message.topic not in APP_TOPICS else ""
        if not name and app == "sensorlogger":
            name = sensorlogger.read(message.payload).sender
        device = f"{app}-{_device_part(name)}" if name else app
        phone = self._by_device.get(device)
        if phone is not None:
            return phone
        if len(self._by_device) >= MAX_PHONES:
            raise PayloadError("range", f"there are {MAX_PHONES} phones already")
        try:
            phone = self._make(device)
        except DiscStreamError as error:
            raise PayloadError("no-device", str(error)) from error
        phone.open()
        self._listeners.on_new(phone)
        return phone

    # -- what is wrong --------------------------------------------------------------------------------

    def _tell(self, phone: Phone) -> None:
        """Say what is wrong: to the listener, and on the problem topic unless the server has a word there."""
        self._listeners.on_findings(phone)
        if phone.problem is not None:
            return
        if not phone.findings:
            self._clear(phone.device)
            return
        first = phone.findings[0]
        problem = Problem(first.code, first.words, self._clock.unix_us(), 1, first.remedy)
        payload = encode_problem(problem)
        self._ours[phone.device] = payload
        self._link.publish(self._topics.of(phone.device, Kind.PROBLEM), payload, retain=True)

    def _clear(self, device: str) -> None:
        if self._ours.pop(device, None) is not None:
            self._link.publish(self._topics.of(device, Kind.PROBLEM), encode_problem(None), retain=True)


def _app_of(topic: str) -> str | None:
    return APP_TOPICS.get(topic) or APP_TOPICS.get(topic.rpartition("/")[0])


def _device_part(name: str) -> str:
    """A name as part of a device id: itself where it can be one, else its fingerprint."""
    if _NAME.fullmatch(name):
        return name
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:12]


def describe(phone: Phone) -> dict[str, Any]:
    """A phone's findings for machines."""
    return {
        "device": phone.device,
        "problems": [{"code": one.code, "words": one.words, "remedy": one.remedy} for one in phone.findings],
    }
