"""The search for the best candidate: many starts, then split-and-merge moves from the best."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np
import numpy.typing as npt

from disc_stream.training.plus.candidates import Candidate, average_over_time
from disc_stream.training.plus.config import PlusConfig
from disc_stream.training.plus.mixture import TiedMixture, nearest_mean_start, split_and_merge
from disc_stream.types import IntArray

Array = npt.NDArray[np.float64]
Score = Callable[[IntArray, float], float]


class Search:
    """Finds and scores candidate labellings.

    Args:
        x: (n, d) principal components; rows of one device in time order.
        devices: (n,).
        n_clusters: K.
        spans: to average over.
        config: hyper-parameters.
        seed: of the starts and the order of moves.
        score: labels (n,) and their likelihood -> the higher the better.
    """

    def __init__(
        self,
        x: Array,
        devices: IntArray,
        n_clusters: int,
        spans: tuple[int, ...],
        config: PlusConfig,
        seed: int,
        score: Score,
    ) -> None:
        self._averaged = {span: average_over_time(x, devices, span) for span in spans}
        self._mixtures = {span: TiedMixture(rows) for span, rows in self._averaged.items()}
        self._n_clusters = n_clusters
        self._config = config
        self._seed = seed
        self._score = score

    @property
    def spans(self) -> tuple[int, ...]:
        """What is averaged over."""
        return tuple(self._averaged)

    @property
    def n_starts(self) -> int:
        """Number of candidates that ``starts`` looks at."""
        return len(self._averaged) * self._config.restarts

    def starts(self) -> Iterator[Candidate]:
        """A candidate from each start; those that leave a cluster empty are passed over."""
        for span, rows in self._averaged.items():
            for restart in range(self._config.restarts):
                start = int(np.random.SeedSequence([self._seed, span, restart]).generate_state(1)[0])
                candidate = self._settle(span, nearest_mean_start(rows, self._n_clusters, start))
                if candidate is not None:
                    yield candidate

    def moves(self, best: Candidate) -> Iterator[Candidate]:
        """Candidates next to ``best``: settled at another span; or two clusters joined, a third one cut."""
        for span in self._averaged:
            if span != best.span and (candidate := self._settle(span, best.labels)) is not None:
                yield candidate
        n, moves = self._n_clusters, []
        for merge in combinations(range(n), 2):
            moves += [(merge, split) for split in range(n) if split not in merge]
        order = np.random.default_rng(self._seed).permutation(len(moves))
        for number in order:
            merge, split = moves[number]
            labels = split_and_merge(self._averaged[best.span], best.labels, merge, split)
            candidate = self._settle(best.span, labels)
            if candidate is not None:
                yield candidate

    def _settle(self, span: int, labels: IntArray) -> Candidate | None:
        likelihood = 0.0
        if self._config.tied:
            labels, likelihood = self._mixtures[span].fit(labels, self._n_clusters)
        if len(np.unique(labels)) < self._n_clusters:
            return None
        return Candidate(span, labels, likelihood, self._score(labels, likelihood))
