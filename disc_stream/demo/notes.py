"""Labels beside the true activity, as text; nothing is learned from it."""

from __future__ import annotations

from collections.abc import Sequence

from disc_stream.data.types import UNLABELLED
from disc_stream.demo.truth import TruthComparison
from disc_stream.types import STATE_NAMES, Label

_ENOUGH = 5  # windows of a cluster before anything is said about it


class TruthNotes:
    """Compares a label with the activity that the simulator (or the recording) gives for its window.

    A cluster has no meaning of its own; the activity that most of its windows had so far is taken for it.

    Args:
        comparison: holds the tables.
        label_names: of the true activities.
        truth_of: source of the truth, such as ``simulator``.
        input_samples: samples of a window that its label has seen.
    """

    def __init__(
        self, comparison: TruthComparison, label_names: Sequence[str], truth_of: str, input_samples: int
    ) -> None:
        self._comparison, self._names = comparison, [name.replace("_", " ").lower() for name in label_names]
        self._truth_of, self._n = truth_of, input_samples
        self.title = truth_of.capitalize()
        self.by_device: dict[str, str] = {}

    def add(self, label: Label) -> None:
        """Remember the short note for the device's row in the table."""
        truth, usual = self._compare(label)
        verdict = "" if usual is None else (" (agrees)" if usual == truth else " (differs)")
        self.by_device[label.device] = f"{truth or 'unknown'}{verdict}"

    def page_note(self, label: Label) -> str:
        """The note on the device's card."""
        truth, usual = self._compare(label)
        if truth is None:
            return ""
        said = f"{self._truth_of}: {truth}"
        if usual is None:
            return said
        name = label.smoothed.name
        if usual == truth:
            return f"{said}. {name} agrees: it is mostly {usual}"
        return f"{said}. {name} differs: it is mostly {usual}"

    def _compare(self, label: Label) -> tuple[str | None, str | None]:
        """The true activity, and the one that the label usually goes with."""
        truth = self._comparison.truth(label, self._n)
        column = self._comparison.smoothed.of(label.smoothed.label)
        is_cluster = label.smoothed.label not in STATE_NAMES
        usual = self._names[int(column.argmax())] if is_cluster and column.sum() >= _ENOUGH else None
        return (None, None) if truth in (None, UNLABELLED) else (self._names[truth or 0], usual)
