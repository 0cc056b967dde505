"""A name that is proposed for a cluster, and why."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Proposal(BaseModel):
    """A name for a cluster, from physics alone.

    Args:
        name: of an activity, lower case.
        score: 0 to 1, for the order of the proposals; no probability.
        evidence: what speaks for it, in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    score: float = Field(ge=0.0, le=1.0)
    evidence: tuple[str, ...]

    def __init__(self, name: str, score: float, evidence: tuple[str, ...]) -> None:
        super().__init__(name=name, score=score, evidence=evidence)
