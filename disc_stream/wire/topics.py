"""The topic grammar, ``<prefix>/<device>/<kind>`` (docs/reference/wire.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from disc_stream.errors import TopicError

DEFAULT_PREFIX = "ds/v1"
SERVER = "$server"
DOCTOR = "doctor-"
"""What the ids begin with in whose names ``disc-stream doctor`` tries what must be refused."""

DEVICE_PATTERN = "[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}"
"""What a device id looks like."""

_DEVICE = re.compile(DEVICE_PATTERN)
_PREFIX_LEVEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*")


class Kind(StrEnum):
    """The last level of a device's topics."""

    RAW = "raw"
    META = "meta"
    STATUS = "status"
    LABEL = "label"
    PROBLEM = "problem"
    ACTIVITY = "activity"
    EVENT = "event"
    EMBEDDING = "embedding"


def is_device(text: str) -> bool:
    """Whether a text is a valid device id."""
    return _DEVICE.fullmatch(text) is not None


def check_device(device: str) -> str:
    """Return ``device`` if it is a valid device id.

    Raises:
        TopicError: if it is not 1 to 64 letters, digits, ``_ . : -``, starting with a letter or digit.
    """
    if not _DEVICE.fullmatch(device):
        raise TopicError(
            f"device id {device!r} is not valid",
            remedy="Use 1 to 64 letters, digits, '_', '.', ':' or '-', starting with a letter or digit",
        )
    return device


@dataclass(frozen=True, slots=True)
class Topics:
    """All topics under one prefix.

    Args:
        prefix: one or more levels, such as ``ds/v1``; no wildcards.

    Raises:
        TopicError: if the prefix is not usable.
    """

    prefix: str = DEFAULT_PREFIX

    def __post_init__(self) -> None:
        if not all(_PREFIX_LEVEL.fullmatch(level) for level in self.prefix.split("/")):
            raise TopicError(
                f"topic prefix {self.prefix!r} is not valid",
                remedy="Use levels of letters, digits, '_', '.', ':' or '-' joined by '/'",
            )

    def of(self, device: str, kind: Kind) -> str:
        """Topic of one kind of one device."""
        return f"{self.prefix}/{check_device(device)}/{kind.value}"

    def all_of(self, kind: Kind) -> str:
        """Subscription filter for one kind of every device."""
        return f"{self.prefix}/+/{kind.value}"

    @property
    def server_status(self) -> str:
        """Retained state of the server, also its last will."""
        return f"{self.prefix}/{SERVER}/status"

    @property
    def server_availability(self) -> str:
        """Retained: whether activities are told (``online`` or ``offline``), also as the last will."""
        return f"{self.prefix}/{SERVER}/availability"

    @property
    def reading_probe(self) -> str:
        """What the server publishes to itself, to see whether ``all_of(Kind.RAW)`` is delivered."""
        return f"{self.prefix}/{SERVER}/{Kind.RAW.value}"

    def is_test(self, topic: str) -> bool:
        """Whether an empty message on a topic is a test of the connection or of access rights.

        The server (``reading_probe``) and ``disc-stream doctor`` send such; they are about no device.
        """
        return topic == self.reading_probe or topic.startswith(f"{self.prefix}/{DOCTOR}")

    @property
    def server_model(self) -> str:
        """Retained description of the model that serves."""
        return f"{self.prefix}/{SERVER}/model"

    def parse(self, topic: str) -> tuple[str, Kind]:
        """Split a device topic into (device, kind).

        Raises:
            TopicError: if the topic is not ``<prefix>/<device>/<kind>`` with a valid device.
        """
        head = self.prefix + "/"
        levels = topic[len(head) :].split("/") if topic.startswith(head) else []
        if len(levels) != 2:
            raise TopicError(f"topic {topic!r} is not {self.prefix}/<device>/<kind>")
        device, kind = levels
        try:
            return check_device(device), Kind(kind)
        except ValueError:
            kinds = ", ".join(k.value for k in Kind)
            raise TopicError(f"topic {topic!r} ends with {kind!r}, not one of {kinds}") from None
