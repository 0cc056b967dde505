"""Candidate labellings: mixtures from many starts, and split-and-merge moves from one of them."""

# ruff: noqa: SLF001 - LastingSearch takes over what its search has

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt

from disc_stream.training.plus.candidates import Candidate, average_over_time
from disc_stream.training.plus.config import PlusConfig
from disc_stream.training.plus.mixture import TiedMixture, nearest_mean_start
from disc_stream.training.plus.moves import ranked_moves
from disc_stream.training.plus.persistence import Persistence
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
        task: K, and the seed of the starts.
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
    def config(self) -> PlusConfig:
        """Hyper-parameters."""
        return self._config

    @property
    def n_starts(self) -> int:
        """Number of candidates that ``starts`` looks at, all spans together."""
        return len(self._averaged) * self._config.restarts

    def carries_over(self, labels: IntArray) -> float:
        """What labels (n,) score without any likelihood."""
        return self._score(labels, 0.0)

    def starts(self, span: int) -> Iterator[Candidate]:
        """A candidate of a span from each start; those that leave a cluster empty are skipped."""
        for restart in range(self._config.restarts):
            candidate = self.log.settle(span, partial(self._start, span, restart))
            if candidate is not None:
                yield candidate

    def moves(self, best: Candidate, most: int) -> Iterator[Candidate]:
        """Candidates next to ``best``: two of its clusters joined, a third one cut; the promising ones first.

        Args:
            best: where to start from.
            most: maximum of moves to look at.
        """
        ranked: list[IntArray] | None = None

        def move(number: int) -> Candidate | None:
            nonlocal ranked
            if ranked is None:  # not before it is needed: a resumed search replays without labels
                rows = self._averaged[best.span]
                ranked = ranked_moves(rows, best.labels, self._n_clusters, most)
            return self._settle(best.span, ranked[number]) if number < len(ranked) else None

        n = self._n_clusters
        for number in range(min(most, n * (n - 1) * (n - 2) // 2)):
            candidate = self.log.settle(best.span, partial(move, number))
            if candidate is not None:
                yield candidate

    def elsewhere(self, found: Candidate, span: int) -> Candidate | None:
        """What a candidate settles at in another span; None if that leaves a cluster empty."""
        return self.log.settle(span, lambda: self._settle(span, found.labels))

    def _start(self, span: int, restart: int) -> Candidate | None:
        seed = int(np.random.SeedSequence([self._seed, span, restart]).generate_state(1)[0])
        return self._settle(span, nearest_mean_start(self._averaged[span], self._n_clusters, seed))

    def _settle(self, span: int, labels: IntArray) -> Candidate | None:
        settled = self._settled(span, labels)
        if settled is None or len(np.unique(settled[0])) < self._n_clusters:
            return None
        labels, likelihood = settled
        return Candidate(span, labels, likelihood, self._score(labels, likelihood))

    def _settled(self, span: int, labels: IntArray) -> tuple[IntArray, float] | None:
        """Where labels (n,) lead to, and the likelihood there."""
        return self._mixtures[span].fit(labels, self._n_clusters) if self._config.tied else (labels, 0.0)


class LastingSearch(Search):
    """A search whose candidates settle in a mixture, and then as labels that last (``Persistence``).

    Args:
        search: on other components of the same windows, whose task, score and log are this one's.
        x: (n, m) components.
        devices: (n,).
        persistence: of the windows.
    """

    def __init__(self, search: Search, x: Array, devices: IntArray, persistence: Persistence) -> None:
        config = search.config.but(
            spans=search.config.slow_spans,
            restarts=search.config.slow_restarts,
            likelihood_weight=search.config.slow_likelihood_weight,
        )
        task = Task(np.empty((0, 0, 0), np.float32), search.n_clusters, search._seed)
        super().__init__(x, devices, task, config, search._score, search.log)
        self._persistence = persistence

    def _settled(self, span: int, labels: IntArray) -> tuple[IntArray, float] | None:
        if self._config.tied:
            labels, _ = self._mixtures[span].fit(labels, self._n_clusters)
        if len(np.unique(labels)) < self._n_clusters:
            return None
        lasting = self._persistence.settle(labels, self._n_clusters)
        if lasting is None:
            return None
        return lasting, self._mixtures[span].likelihood(lasting, self._n_clusters)
