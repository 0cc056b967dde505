"""Another model takes over while the server runs: at a checkpoint, between two batches.

The windows of all rows that were taken are labelled by the old model first. Then a checkpoint is written that
names the new one: the rows before it belong to the old model, those after it to the new one, whatever
crashes. So no window is labelled by two models, and none by no model.
"""

from __future__ import annotations

from collections.abc import Mapping

from disc_stream.artifacts.model import Model
from disc_stream.stream.pipeline import stream_spec
from disc_stream.stream.rules import Rules
from disc_stream_server.labeller.checkpoints import Checkpoints
from disc_stream_server.storage.queries import StateQueries
from disc_stream_server.storage.state import StateStore
from disc_stream_server.stream_rules import note_rules

_SERVING = "serving"  # fact: version of the model that labels the rows after the checkpoint


def serving_version(store: StateQueries) -> str:
    """Version of the model that labels the rows after the last checkpoint; "" if none has labelled any."""
    return (store.fact(_SERVING) or b"").decode()


def note_model(store: StateStore, rules: Rules, model: Model) -> None:
    """Write down that the rows after the last checkpoint are cut and labelled for this model."""
    note_rules(store, rules, stream_spec(model).key)
    store.note_catalogue(model.catalogue)
    if serving_version(store) != model.version:
        store.put_fact(_SERVING, model.version.encode())


class Swap:
    """The model that is to take over, and how far that is."""

    def __init__(self) -> None:
        self._offered: Model | None = None
        self._next: Model | None = None
        self._written_at: int | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether a model waits to take over."""
        return self._next is not None or self._offered is not None

    def offer(self, model: Model) -> None:
        """This model is to take over, whichever was to before; from any thread."""
        self._offered = model

    def take_facts(self) -> Mapping[str, bytes]:
        """What the checkpoint that is being taken has to say of the model."""
        return {} if self._next is None else {_SERVING: self._next.version.encode()}

    def commit(self, checkpoints: Checkpoints) -> Model | None:
        """Write down that the model takes over here; the model once that is on disk, None until then."""
        if self._next is None:
            if checkpoints.is_on_its_way and not checkpoints.step() and checkpoints.is_on_its_way:
                return None
            self._next, self._offered = self._offered, None
            self._written_at = checkpoints.written + 1
        checkpoints.step(now=True)
        if self._written_at is None or checkpoints.written < self._written_at:
            return None
        model, self._next, self._written_at = self._next, None, None
        return model
