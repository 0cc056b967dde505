"""Where a version comes from, and which ids its rows are to get."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.catalogue import MAX_CLUSTERS, MAX_DESCRIPTION, MAX_NAME, PrintableText
from disc_stream.wire.limits import MAX_UINT32

_MAX_TEXT = 1_000

_Text = Annotated[PrintableText, Field(max_length=_MAX_TEXT)]
_Count = Annotated[int, Field(ge=0, lt=2**63)]
ClusterId = Annotated[int, Field(ge=0, le=MAX_UINT32)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, from_attributes=True)


class GateCheck(_Frozen):
    """One measure of the acceptance gate.

    Args:
        measure: what was measured.
        value: what came out; None if it could not be measured.
        limit: what it was held against; None if the check has no number.
        passed: whether it held.
        reason: one line for a person.
    """

    measure: _Text
    value: float | None = None
    limit: float | None = None
    passed: bool
    reason: _Text = ""


class Lineage(_Frozen):
    """Where a version comes from. It is written once, with the version, and never changed.

    Args:
        parent: version that was in production, or that training started from; None for a first one.
        fingerprint: of the training data.
        method: that trained it, a recipe of ``disc_stream.training`` or another.
        settings: of the recipe.
        seed: of everything random.
        metrics: measured at the end of training.
        gate: the report of the acceptance gate; empty if there was none.
        created_us: when training ended, in Unix microseconds.
        windows: how many it was trained on.
        devices: how many these came from.
        device_digests: see ``device_digest``, of each; empty if that is not known.
        note: one line for people.
    """

    parent: _Text | None = None
    fingerprint: _Text = ""
    method: _Text = ""
    settings: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0
    metrics: dict[str, Any] = Field(default_factory=dict)
    gate: tuple[GateCheck, ...] = ()
    created_us: _Count = 0
    windows: _Count = 0
    devices: _Count = 0
    device_digests: tuple[_Text, ...] = ()
    note: _Text = ""

    @classmethod
    def of_bundle(cls, bundle: Bundle, *, created_us: int, note: str = "") -> Lineage:
        """What a bundle says of itself; for one that no retraining has made."""
        training = bundle.manifest.training
        return cls(
            fingerprint=training.fingerprint,
            method=training.method,
            settings={"preset": training.preset, "dataset": training.dataset},
            seed=training.seed,
            metrics=training.metrics,
            created_us=created_us,
            windows=training.n_windows,
            note=note,
        )

    @property
    def failed(self) -> tuple[GateCheck, ...]:
        """The checks that did not hold."""
        return tuple(check for check in self.gate if not check.passed)

    def gate_summary(self) -> str:
        """The gate's report in one line."""
        if not self.gate:
            return "no acceptance gate"
        if not self.failed:
            return f"all {len(self.gate)} checks passed"
        named = ", ".join(check.measure for check in self.failed)
        return f"{len(self.failed)} of {len(self.gate)} checks failed: {named}"

    def trained_on(self, device: str) -> bool:
        """Whether windows of a device were among the training data, as far as is known."""
        return device_digest(device) in self.device_digests


def device_digest(device: str) -> str:
    """Stands for a device where its id is not to be kept: 16 hex digits of the id's sha256.

    Whoever knows or guesses an id can check it; the id itself cannot be read from it.
    """
    return hashlib.sha256(device.encode()).hexdigest()[:16]


class NameProposal(_Frozen):
    """A name that the machine proposes for a cluster, with its evidence in one line."""

    name: PrintableText = Field(min_length=1, max_length=MAX_NAME)
    evidence: _Text = ""


class RowProposal(_Frozen):
    """The id that one row is to get, and what the machine says of its cluster.

    Args:
        id: an id of the version before; None for a fresh one.
        parent: of a fresh one, the id that it was split from.
        merged_into: of a fresh one, the id under which it is published from its birth.
        description: by the machine.
        proposals: names for it, the best first.
    """

    id: ClusterId | None = None
    parent: ClusterId | None = None
    merged_into: ClusterId | None = None
    description: PrintableText = Field(default="", max_length=MAX_DESCRIPTION)
    proposals: tuple[NameProposal, ...] = ()

    @model_validator(mode="after")
    def _fresh_or_not(self) -> Self:
        if self.id is not None and (self.parent is not None or self.merged_into is not None):
            raise ValueError("parent and merged_into are of fresh rows only; one that keeps an id keeps them")
        return self


class Transition(_Frozen):
    """What became of one id of the version before; see ``disc_stream.clustering``.

    Args:
        kind: survive, split, absorb, appear or vanish.
        id: the old id; None for ``appear``.
        rows: of the new version that are concerned.
        into: of ``absorb``, the id that absorbed it; None if that is fresh.
        share: of the id's anchors that are in these rows.
    """

    kind: Literal["survive", "split", "absorb", "appear", "vanish"]
    id: ClusterId | None = None
    rows: tuple[Annotated[int, Field(ge=0, lt=MAX_CLUSTERS)], ...] = ()
    into: ClusterId | None = None
    share: float = 0.0


class RowIds(_Frozen):
    """Which ids the rows of a version are to get when it is promoted.

    Args:
        based_on: version that was in production when this was worked out; None if there was none.
        rows: one for each row of the version.
        transitions: from the version before; they are written into the history.
    """

    based_on: _Text | None = None
    rows: tuple[RowProposal, ...] = Field(min_length=1, max_length=MAX_CLUSTERS)
    transitions: tuple[Transition, ...] = ()

    @classmethod
    def all_fresh(cls, n_rows: int, based_on: str | None = None) -> RowIds:
        """Nothing is known of how the rows correspond to older clusters."""
        return cls(based_on=based_on, rows=(RowProposal(),) * n_rows)

    @classmethod
    def keeping(cls, ids: Sequence[int | None], based_on: str) -> RowIds:
        """Every row keeps an id, or gets a fresh one where None stands."""
        return cls(based_on=based_on, rows=tuple(RowProposal(id=own) for own in ids))

    @model_validator(mode="after")
    def _no_id_twice(self) -> Self:
        kept = [row.id for row in self.rows if row.id is not None]
        twice = sorted({own for own in kept if kept.count(own) > 1})
        if twice:
            raise ValueError(f"two rows are to get the id {twice[0]}")
        return self
