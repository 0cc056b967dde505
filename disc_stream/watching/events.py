"""Events of a listener, and how messages become events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from disc_stream.errors import ConfigError, PayloadError, TopicError
from disc_stream.text import printable
from disc_stream.types import Label, Problem
from disc_stream.wire.label import decode_label
from disc_stream.wire.mqtt import Message
from disc_stream.wire.problem import decode_problem
from disc_stream.wire.status import ServerStatus, decode_server_status
from disc_stream.wire.topics import Kind, Topics

_LARGEST = 65_536  # bytes; a label has a few hundred


@dataclass(frozen=True, slots=True)
class LabelSeen:
    """A label came; ``retained`` if the broker had kept it from before we listened."""

    label: Label
    retained: bool


@dataclass(frozen=True, slots=True)
class ProblemSeen:
    """Why a device has no labels, or worse ones; None: that is over."""

    device: str
    problem: Problem | None


@dataclass(frozen=True, slots=True)
class ServerSeen:
    """The server published its state (or the broker did, as its last will)."""

    status: ServerStatus
    retained: bool = False


@dataclass(frozen=True, slots=True)
class ServerSilent:
    """A server that called itself online has been silent for so long that its last status has expired."""

    seconds: float


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """The connection to the broker was lost, or is there again."""

    up: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message on a label or status topic that is neither."""

    topic: str
    reason: str


Event = LabelSeen | ProblemSeen | ServerSeen | ServerSilent | LinkChanged | Unreadable


@dataclass(frozen=True, slots=True)
class DeviceFilter:
    """Which devices are wanted.

    Args:
        patterns: shell patterns such as ``wearable-*``; empty means every device.
    """

    patterns: Sequence[str] = ()

    @classmethod
    def parse(cls, text: str | None) -> DeviceFilter:
        """Read patterns separated by commas.

        Raises:
            ConfigError: if one is empty.
        """
        if text is None:
            return cls()
        patterns = [part.strip() for part in text.split(",")]
        if not all(patterns):
            raise ConfigError(
                f"--devices {text!r} holds an empty pattern",
                remedy="Separate device ids or patterns with single commas, such as 'left-*,right-*'",
            )
        return cls(patterns)

    def wants(self, device: str) -> bool:
        """Whether a device is wanted."""
        return not self.patterns or any(fnmatchcase(device, pattern) for pattern in self.patterns)


def read_message(message: Message, topics: Topics, wanted: DeviceFilter) -> Event | None:
    """The event in a message; None for a device that is not wanted, or a label or status that was cleared.

    Never raises, whatever the bytes.
    """
    try:
        if message.topic == topics.server_status:
            return _status_of(message)
        device, kind = topics.parse(message.topic)
        if not wanted.wants(device):
            return None
        if kind is Kind.PROBLEM:
            return ProblemSeen(device, decode_problem(message.payload))
        if not message.payload:
            return None
        return LabelSeen(_label_of(device, message.payload), message.retained)
    except (PayloadError, TopicError) as error:
        return Unreadable(shown(message.topic), shown(error.message))


def _status_of(message: Message) -> ServerSeen | None:
    if not message.payload:
        return None
    return ServerSeen(decode_server_status(message.payload), message.retained)


def _label_of(device: str, payload: bytes) -> Label:
    if len(payload) > _LARGEST:
        raise PayloadError("oversized", f"the label has {len(payload)} bytes, the limit is {_LARGEST}")
    label = decode_label(payload)
    if label.device != device:
        raise PayloadError("device", f"it holds a label of {label.device!r}")
    return label


def shown(text: str, most: int = 120) -> str:
    """Text from the network as a terminal may have it, and not more than fits."""
    return printable(text, most)
