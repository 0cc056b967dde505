"""The search for the best candidate: many starts, then split-and-merge moves from the best."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations

import numpy as np
import numpy.typing as npt

from disc_stream.training.plus.candidates import Candidate, average_over_time
from disc_stream.training.plus.config import PlusConfig
from disc_stream.training.plus.mixture import TiedMixture, nearest_mean_start, split_and_merge
from disc_stream.training.plus.searchlog import SearchLog
from disc_stream.training.task import Task
from disc_stream.types import IntArray

Array = npt.NDArray[np.float64]
Score = Callable[[IntArray, float], float]


class Search:
    """Finds and scores candidate labellings.

    Args:
        x: (n, d) principal components; rows of one device in time order.
        devices: (n,).
        task: K, and the seed of the starts and of the order of moves.
        config: hyper-parameters, with the spans to average over.
        score: labels (n,) and their likelihood -> the higher the better.
        log: of what was looked at.
    """

    def __init__(
        self,
        x: Array,
        devices: IntArray,
        task: Task,
        config: PlusConfig,
        score: Score,
        log: SearchLog,
    ) -> None:
        self._averaged = {span: average_over_time(x, devices, span) for span in config.spans}
        self._mixtures = {span: TiedMixture(rows) for span, rows in self._averaged.items()}
        self._n_clusters = task.n_clusters
        self._config = config
        self._seed = task.seed
        self._score = score
        self.log = log

    @property
    def spans(self) -> tuple[int, ...]:
        """What is averaged over."""
        return tuple(self._averaged)

    @property
    def n_clusters(self) -> int:
        """K."""
        return self._n_clusters

    @property
    def n_starts(self) -> int:
        """Number of candidates that ``starts`` looks at."""
        return len(self._averaged) * self._config.restarts

    def starts(self) -> Iterator[Candidate]:
        """A candidate from each start; those that leave a cluster empty are skipped."""
        for span in self._averaged:
            for restart in range(self._config.restarts):
                candidate = self.log.settle(span, partial(self._start, span, restart))
                if candidate is not None:
                    yield candidate

    def moves(self, best: Candidate) -> Iterator[Candidate]:
        """Candidates next to ``best``: settled at another span; or two clusters joined, a third one cut."""
        for span in self._averaged:
            if span == best.span:
                continue
            candidate = self.log.settle(span, partial(self._settle, span, best.labels))
            if candidate is not None:
                yield candidate
        n, moves = self._n_clusters, []
        for merge in combinations(range(n), 2):
            moves += [(merge, split) for split in range(n) if split not in merge]
        order = np.random.default_rng(self._seed).permutation(len(moves))
        for number in order:
            candidate = self.log.settle(best.span, partial(self._move, best, *moves[number]))
            if candidate is not None:
                yield candidate

    def _start(self, span: int, restart: int) -> Candidate | None:
        seed = int(np.random.SeedSequence([self._seed, span, restart]).generate_state(1)[0])
        return self._settle(span, nearest_mean_start(self._averaged[span], self._n_clusters, seed))

    def _move(self, best: Candidate, merge: tuple[int, int], split: int) -> Candidate | None:
        labels = split_and_merge(self._averaged[best.span], best.labels, merge, split)
        return self._settle(best.span, labels)

    def _settle(self, span: int, labels: IntArray) -> Candidate | None:
        likelihood = 0.0
        if self._config.tied:
            labels, likelihood = self._mixtures[span].fit(labels, self._n_clusters)
        if len(np.unique(labels)) < self._n_clusters:
            return None
        return Candidate(span, labels, likelihood, self._score(labels, likelihood))
