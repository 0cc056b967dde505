"""Checkpoints of a candidate search: a resumed search does not evaluate a candidate twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from disc_stream.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from disc_stream.training.plus.candidates import Candidate
from disc_stream.types import IntArray

PHASE = "candidates"
_SHARE = 0.05  # of the time that writing checkpoints may take
_NONE = np.empty(0, dtype=np.int64)


class SearchLog:
    """Replays the candidates recorded in a checkpoint, then records the ones that are computed.

    The search is deterministic given the scores of its candidates, so replaying recorded scores leads it to
    the state in which it was interrupted. Labels are stored only of the candidates that it still needs there.

    Args:
        folder: of the checkpoint, or None for none.
        identity: of the training.
        resume: take up the checkpoint if it is there.

    Raises:
        ConfigError: if the checkpoint belongs to another training.
        TrainingError: if it is damaged.
    """

    def __init__(
        self, folder: Path | None = None, identity: dict[str, Any] | None = None, *, resume: bool = False
    ) -> None:
        self._folder = folder
        self._identity = identity or {}
        self._entries: list[dict[str, Any]] = []
        self._at = 0
        self._needed: list[Candidate] = []
        self._known: dict[int, IntArray] = {}
        self._written_at, self._cost = time.perf_counter(), 0.0
        saved = load_checkpoint(folder, self._identity) if folder is not None and resume else None
        if saved is not None:
            self._entries = list(saved.history)
            self._known = {
                int(number): labels.numpy().astype(np.int64) for number, labels in saved.model.items()
            }

    @property
    def seconds(self) -> float:
        """Time spent on the last candidate, including the discarded ones before it."""
        last, *before = reversed(self._entries[: self._at])
        total = float(last["seconds"])
        for entry in before:
            if not entry["empty"]:
                break
            total += entry["seconds"]
        return total

    def settle(self, span: int, compute: Callable[[], Candidate | None]) -> Candidate | None:
        """The next candidate, replayed or computed; None if it leaves a cluster empty.

        Args:
            span: that it averages over.
            compute: finds and scores it.

        Raises:
            TrainingError: if the disk does not take a checkpoint.
        """
        number = self._at
        if number < len(self._entries):
            entry = self._entries[number]
            self._at += 1
            if entry["empty"]:
                return None
            labels = self._known.get(number, _NONE)
            return Candidate(span, labels, entry["likelihood"], entry["score"], number)
        self._write_if_due()
        started = time.perf_counter()
        candidate = compute()
        seconds = time.perf_counter() - started
        facts = {} if candidate is None else {"likelihood": candidate.likelihood, "score": candidate.score}
        self._entries.append({"empty": candidate is None, "seconds": seconds, **facts})
        self._at += 1
        return None if candidate is None else replace(candidate, number=number)

    def needs(self, candidates: Iterable[Candidate]) -> None:
        """Which of the candidates so far the search may still use; the labels of others are not kept."""
        self._needed = list(candidates)

    def write(self) -> None:
        """Replace the checkpoint.

        Raises:
            TrainingError: if the disk does not take it.
        """
        if self._folder is None or not self._needed:
            return
        started = time.perf_counter()
        labels = {
            str(candidate.number): torch.from_numpy(candidate.labels.astype(np.int32))
            for candidate in self._needed
        }
        save_checkpoint(
            self._folder,
            Checkpoint(
                identity=self._identity, phase=PHASE, epoch=len(self._entries), done=False,
                model=labels, optimizer={}, history=self._entries,
            ),
        )  # fmt: skip
        self._written_at = time.perf_counter()
        self._cost = self._written_at - started

    def _write_if_due(self) -> None:
        """Called between two candidates, when every recorded one has been processed by the search."""
        if time.perf_counter() - self._written_at >= self._cost / _SHARE:
            self.write()
