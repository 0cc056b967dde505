"""How two versions differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from disc_stream.registry.records import VersionInfo
from disc_stream.registry.registry import Registry


@dataclass(frozen=True, slots=True)
class Difference:
    """Two versions beside one another.

    Args:
        old: the first.
        new: the second.
        kept: ids that both have -> training windows in either.
        gone: ids that only the first has -> training windows.
        new_ids: ids that only the second has -> training windows.
        fresh: rows of the second without an id yet -> training windows.
        facts: name of a measure, setting or fact of the data -> its value in either, where they differ; None
            where it has none.
    """

    old: VersionInfo
    new: VersionInfo
    kept: dict[int, tuple[int, int]]
    gone: dict[int, int]
    new_ids: dict[int, int]
    fresh: dict[int, int]
    facts: dict[str, tuple[Any, Any]]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for machines."""
        return {
            "old": self.old.version,
            "new": self.new.version,
            "kept": [{"id": own, "before": a, "after": b} for own, (a, b) in self.kept.items()],
            "gone": [{"id": own, "before": a} for own, a in self.gone.items()],
            "new_ids": [{"id": own, "after": b} for own, b in self.new_ids.items()],
            "fresh": [{"row": row, "after": b} for row, b in self.fresh.items()],
            "facts": {name: {"before": a, "after": b} for name, (a, b) in self.facts.items()},
        }


def compare(registry: Registry, old: int | str, new: int | str) -> Difference:
    """Compare two versions; of one that was never promoted, by the ids that its rows are to keep.

    Raises:
        ConfigError: if there is no such version.
    """
    first, second = registry.version(old), registry.version(new)
    rows = registry.rows(second.number)
    before = {row.id: row.size for row in registry.rows(first.number) if row.id is not None}
    after = {row.id: row.size for row in rows if row.id is not None}
    ours, theirs = _facts(first), _facts(second)
    return Difference(
        old=first,
        new=second,
        kept={own: (before[own], after[own]) for own in sorted(before.keys() & after.keys())},
        gone={own: before[own] for own in sorted(before.keys() - after.keys())},
        new_ids={own: after[own] for own in sorted(after.keys() - before.keys())},
        fresh={row.row: row.size for row in rows if row.id is None},
        facts={
            name: (ours.get(name), theirs.get(name))
            for name in sorted(ours.keys() | theirs.keys())
            if ours.get(name) != theirs.get(name)
        },
    )


def _facts(info: VersionInfo) -> dict[str, Any]:
    lineage = info.lineage
    facts: dict[str, Any] = {
        "data": lineage.fingerprint,
        "windows": lineage.windows,
        "devices": lineage.devices,
        "method": lineage.method,
        "seed": lineage.seed,
        "clusters": len(info.proposal.rows),
    }
    return {**facts, **_flat("metric", lineage.metrics), **_flat("setting", lineage.settings)}


def _flat(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values by their path, such as ``metric novelty.q95``."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(f"{prefix} {name}", {f".{inner}": deep for inner, deep in value.items()})
        else:
            found[f"{prefix} {name}".replace(" .", ".")] = value
    return found
