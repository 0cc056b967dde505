"""The course of a search: each span climbs alone, then from the best of the others; the best ones vote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from disc_stream.errors import TrainingError
from disc_stream.training.plus.candidates import Candidate
from disc_stream.training.plus.search import Search

_GAIN = 1e-6  # a move that gains less than this is noise of the arithmetic
_ALIKE = 1e-4  # candidates whose scores differ by less are one optimum, reached twice

LookAt = Callable[[Candidate, str], None]


@dataclass(frozen=True, slots=True)
class Climb:
    """Where a search has led to.

    Args:
        best: the best candidate.
        voters: the best ones, falling, each of another score; ``best`` is the first.
    """

    best: Candidate
    voters: tuple[Candidate, ...]


class Climber:
    """Runs a search until it has converged or its budget is spent.

    A candidate's score is what ``Search`` scores it by, plus ``likelihood_weight`` times its log-likelihood
    above that of the best start of its span. Without the second part a long search finds labellings that
    carry over well and are no clusters: a common activity cut in two, two rare ones joined.

    Args:
        search: where the candidates come from.
        look_at: told of each candidate and its kind.
        before: what a search of other components has led to. Its best candidate is tried here, too; scores
            of the two do not compare.
    """

    def __init__(self, search: Search, look_at: LookAt, before: Climb | None = None) -> None:
        self._search, self._config, self._look_at = search, search.config, look_at
        self._usual: dict[int, float] = {}
        self._best: dict[int, Candidate] = {}
        self._left = dict.fromkeys(search.spans, search.config.moves)
        self._voters: list[Candidate] = []
        self._before = before

    def climb(self) -> Climb:
        """Look for the best candidates.

        Raises:
            TrainingError: if no candidate has windows in each cluster.
        """
        for span in self._search.spans:
            self._begin(span)
        if not self._best and self._before is not None:
            return self._before
        if not self._best:
            raise TrainingError(
                f"no candidate has windows in each of {self._search.n_clusters} clusters",
                remedy="Use fewer clusters, or more varied recordings",
            )
        for span in self._best:
            if self._before is not None:
                self._try(self._before.best, span)
            self._climb(span)
        for _ in range(self._config.rounds):
            learned = [self._learn(span) for span in self._best]
            if not any(learned):
                break
        self._search.log.write()
        return Climb(self._voters[0], tuple(self._voters))

    def _begin(self, span: int) -> None:
        """The best of a span's starts. What they are scored by is known when all are there."""
        found: list[Candidate] = []
        for candidate in self._search.starts(span):
            found.append(candidate)
            self._need(found)
            self._look_at(candidate, "start")
        if not found:
            return
        self._usual[span] = max(candidate.likelihood for candidate in found)
        scored = [self._scored(candidate) for candidate in found]
        self._best[span] = max(scored, key=lambda candidate: candidate.score)
        self._poll(scored)

    def _climb(self, span: int) -> None:
        """Take every move that improves, until none does or the span's budget is spent."""
        improved = True
        while improved and self._left[span] > 0:
            improved = False
            for move in self._search.moves(self._best[span], min(self._config.patience, self._left[span])):
                self._left[span] -= 1
                improved = self._consider(move, "move")
                if improved:
                    break

    def _learn(self, span: int) -> bool:
        """Try the best candidate of the other spans at this one, and go on from there if it is better."""
        others = [best for other, best in self._best.items() if other != span]
        if not others:
            return False
        other = max(others, key=lambda candidate: candidate.score)
        return self._try(other, span)

    def _try(self, other: Candidate, span: int) -> bool:
        moved = self._search.elsewhere(other, span)
        if moved is None or not self._consider(moved, "other span"):
            return False
        self._climb(span)
        return True

    def _consider(self, candidate: Candidate, kind: str) -> bool:
        """Whether a candidate is its span's best so far."""
        scored = self._scored(candidate)
        better = scored.score > self._best[scored.span].score + _GAIN
        if better:
            self._best[scored.span] = scored
        self._poll([scored])
        self._look_at(scored, kind)
        return better

    def _scored(self, candidate: Candidate) -> Candidate:
        above = candidate.likelihood - self._usual[candidate.span]
        return replace(candidate, score=candidate.score + self._config.likelihood_weight * above)

    def _poll(self, candidates: list[Candidate]) -> None:
        """Who would vote now; candidates of one score count once, the first of them."""
        ranked = sorted([*self._voters, *candidates], key=lambda voter: (-voter.score, voter.number))
        self._voters = []
        for voter in ranked:
            if not self._voters or self._voters[-1].score - voter.score >= _ALIKE:
                self._voters.append(voter)
        self._voters = self._voters[: self._config.voters]
        self._need([])

    def _need(self, found: list[Candidate]) -> None:
        before = () if self._before is None else self._before.voters
        self._search.log.needs([*before, *self._voters, *self._best.values(), *found])
