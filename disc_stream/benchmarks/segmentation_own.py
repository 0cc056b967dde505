"""Our methods as the comparison uses them: learned from other people, causal as served, and whole."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from disc_stream.benchmarks.followed import adapt_recordings, adapt_sequences, occurrences_of
from disc_stream.benchmarks.segmentation_streams import Streams
from disc_stream.clustering.adaptation import Adapter
from disc_stream.clustering.smoothing import filter_sequence, forward_backward
from disc_stream.training.fitting import infer
from disc_stream.training.novelty import unknown_above
from disc_stream.training.recipes import Learned, get_recipe
from disc_stream.training.task import FitOptions, Task
from disc_stream.training.windows import check_training_windows
from disc_stream.types import IntArray

WAYS = ("causal", "whole")


@dataclass(frozen=True, slots=True)
class Own:
    """One of our methods.

    Args:
        method: name of a recipe that ``disc-stream train`` offers.
        preset: of recipes that have presets.
        settings: that replace the preset's.
        stay: of the smoothing, as in ``disc-stream serve``.
    """

    method: str
    preset: str = "small"
    settings: Mapping[str, Any] = field(default_factory=dict)
    stay: float = 0.8

    def config(self) -> dict[str, Any]:
        """Every hyper-parameter.

        Raises:
            ConfigError: if the method or a setting is not known.
        """
        resolved = get_recipe(self.method).resolve(self.preset, self.settings)
        return {**resolved.model_dump(mode="json"), "stay": self.stay}


def learn(streams: Streams, own: Own, seed: int) -> Learned:
    """A model of the people to learn from, without their activities."""
    recipe, train = get_recipe(own.method), streams.train
    order = np.lexsort((train.start, train.group, train.subject))
    task = Task(
        check_training_windows(train.x, streams.n_clusters),
        streams.n_clusters,
        seed,
        devices=train.subject.astype(np.int64),
        order=order.astype(np.int64),
    )
    return recipe.fit(task, recipe.resolve(own.preset, own.settings), FitOptions())


def label(streams: Streams, learned: Learned, own: Own) -> dict[str, list[IntArray]]:
    """Labels by way of each recording held out, each person from nothing known.

    ``causal`` is what ``disc-stream serve`` says as the windows come, ``whole`` what ``disc-stream label``
    says of recordings: smoothed, under centroids that follow the person.
    """
    train, held = streams.train, streams.windows
    z, q, distance = infer(learned.net, train.x[:, : learned.n_input])
    limits = unknown_above(z, q.argmax(1).astype(np.int64), distance, train.subject)
    exponent = learned.exponent
    adapter = Adapter(np.asarray(learned.centroids, dtype=np.float32), limits, exponent=exponent)
    new, _, _ = infer(learned.net, held.x[:, : learned.n_input])
    begins = np.diff(held.group, prepend=-1) != 0
    found = occurrences_of(held.subject, begins, streams.hop_s)
    past = adapt_sequences(adapter, new, held.subject, found).q
    whole = adapt_recordings(adapter, new, held.subject, found).q
    hows = {"causal": (past, filter_sequence), "whole": (whole, forward_backward)}
    return {
        way: [
            how(soft[rows], stay=own.stay, exponent=exponent).argmax(1).astype(np.int64)
            for rows in streams.rows
        ]
        for way, (soft, how) in hows.items()
    }


def timed(streams: Streams, own: Own, seed: int) -> tuple[dict[str, list[IntArray]], float, float]:
    """Labels by way, and the processor's seconds of learning and of labelling."""
    started = time.process_time()
    learned = learn(streams, own, seed)
    then = time.process_time()
    return label(streams, learned, own), then - started, time.process_time() - then
