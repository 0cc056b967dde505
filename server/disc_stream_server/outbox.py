"""What the server publishes: labels, its status, and which model serves."""

from __future__ import annotations

from collections.abc import Sequence

from disc_stream.artifacts.model import Model
from disc_stream.types import Label, Problem
from disc_stream.wire.delivery import Delivery
from disc_stream.wire.label import encode_label
from disc_stream.wire.mqtt import MqttLink, Will
from disc_stream.wire.problem import encode_problem
from disc_stream.wire.servermodel import SCHEMA as MODEL_SCHEMA
from disc_stream.wire.servermodel import (
    ChannelFacts,
    ClusterFacts,
    ModelMessage,
    WindowFacts,
    encode_model,
)
from disc_stream.wire.status import ServerStatus, State, encode_server_status
from disc_stream.wire.topics import Kind, Topics


def last_will(topics: Topics, model: str) -> Will:
    """What the broker says of a server that vanished."""
    status = ServerStatus(State.OFFLINE, since_us=None, model=model)
    return Will(topics.server_status, encode_server_status(status))


def model_message(model: Model) -> ModelMessage:
    """The message on ``$server/model``: what a device or a listener must know of the model."""
    manifest, clusters = model.manifest, model.clusters
    window = manifest.window
    return ModelMessage(
        MODEL_SCHEMA,
        manifest.name,
        manifest.version,
        manifest.created,
        manifest.fs,
        WindowFacts(window.samples, window.hop, window.input_samples),
        tuple([ChannelFacts(one.name, one.unit) for one in manifest.channels]),
        tuple([ClusterFacts(one, name) for one, name in zip(clusters.ids, clusters.names, strict=True)]),
    )


class Outbox:
    """Publishes over the server's link; everything is retained and of QoS 1.

    Args:
        link: the connection.
        topics: where to.
    """

    def __init__(self, link: MqttLink, topics: Topics) -> None:
        self._link, self._topics = link, topics
        # Of every label: its device is one that was parsed from a topic.
        self._head, self._tail = f"{topics.prefix}/", f"/{Kind.LABEL.value}"

    def labels(self, labels: Sequence[Label]) -> None:
        """Publish labels; those that come late do not replace the latest ones."""
        live = [(self._topic(label), encode_label(label)) for label in labels if not label.deferred]
        self._link.publish_many(live, retain=True)
        late = [(self._topic(label), encode_label(label)) for label in labels if label.deferred]
        if late:
            self._link.publish_many(late)

    def _topic(self, label: Label) -> str:
        return f"{self._head}{label.device}{self._tail}"

    @property
    def barrier(self) -> int:
        """A mark behind everything published so far; see ``confirmed``."""
        return self._link.sent

    def confirmed(self, barrier: int) -> bool:
        """Whether the broker has confirmed everything that was published before the mark."""
        return self._link.settled >= barrier

    @property
    def unconfirmed(self) -> int:
        """Messages on their way."""
        return self._link.sent - self._link.settled

    def reading_probe(self) -> Delivery:
        """Publish what the receiver must get back; see ``readiness.ReadingProbe``."""
        return self._link.publish(self._topics.reading_probe, b"")

    def status(self, status: ServerStatus) -> None:
        """Publish the server's status."""
        self._link.publish(self._topics.server_status, encode_server_status(status), retain=True)

    def problem(self, device: str, problem: Problem | None) -> None:
        """Publish why a device has no labels; None clears what is retained."""
        topic = self._topics.of(device, Kind.PROBLEM)
        self._link.publish(topic, encode_problem(problem), retain=True)

    def model(self, model: Model) -> None:
        """Publish which model serves."""
        self._link.publish(self._topics.server_model, encode_model(model_message(model)), retain=True)
