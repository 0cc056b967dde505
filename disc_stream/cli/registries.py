"""What ``disc-stream models`` and ``disc-stream clusters`` share: options, times, facts of a registry."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.errors import ConfigError

if TYPE_CHECKING:
    from disc_stream.registry import Cluster, Deployment, Event, Registry, VersionInfo

ModelsOption = Annotated[
    Path,
    typer.Option("--models", envvar="DISC_STREAM_MODELS", help="Folder of the registry of models."),
]
WhoOption = Annotated[
    str | None, typer.Option("--who", help="Who does this, for the history. Default: your user name.")
]
WhyOption = Annotated[str, typer.Option("--why", help="Why, for the history; one line.")]


def open_registry(models: Path) -> Registry:
    """The registry that ``--models`` names."""
    from disc_stream.registry import Registry

    return Registry.open(models)


def whoever(who: str | None) -> str:
    """The name given, or the user's."""
    from disc_stream.registry import user_name

    return user_name() if who is None else who


def time_text(unix_us: int) -> str:
    """A moment for people, in UTC, to the second."""
    return datetime.fromtimestamp(unix_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")


def parse_time(text: str) -> int:
    """A moment in Unix microseconds: ISO 8601, UTC where no offset is given, or seconds since 1970.

    Raises:
        ConfigError: if it is neither.
    """
    try:
        return round(float(text) * 1e6)
    except (ValueError, OverflowError):
        pass
    try:
        moment = datetime.fromisoformat(text)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e6)
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"{text!r:.80} is no time", remedy="Write it like 2026-11-29T08:30:00, in UTC, or in Unix seconds"
        ) from error


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, folds: Collection[str] = ()
) -> None:
    """A plain table; names and notes of people are text in it, and no markup.

    Args:
        columns: their titles.
        rows: a cell for each column.
        folds: columns whose long cells take several lines, beside the last one; all others are whole.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from disc_stream.text import printable

    table = Table(box=None)
    for number, column in enumerate(columns):
        folded = column in folds or number == len(columns) - 1
        table.add_column(column, no_wrap=not folded)  # a hash that is cut is of no use
    for row in rows:
        table.add_row(*(Text(printable(str(cell))) for cell in row))
    Console().print(table)


def version_facts(info: VersionInfo, current: Deployment | None) -> dict[str, Any]:
    """A version for ``--json``."""
    from disc_stream.registry import state_of

    return {
        "number": info.number,
        "version": info.version,
        "state": state_of(info, current),
        "folder": str(info.path),
        "added": time_text(info.added_us),
        "added_us": info.added_us,
        "clusters": len(info.proposal.rows),
        "ids": None if info.ids is None else list(info.ids),
        "based_on": info.proposal.based_on,
        "rejected": info.rejected,
        "marked": info.marked,
        "lineage": info.lineage.model_dump(mode="json"),
    }


def deployment_facts(deployment: Deployment) -> dict[str, Any]:
    """A deployment for ``--json``."""
    return {
        "number": deployment.number,
        "kind": deployment.kind,
        "version": deployment.version,
        "version_number": deployment.version_number,
        "at": time_text(deployment.at_us),
        "at_us": deployment.at_us,
        "who": deployment.who,
        "why": deployment.why,
        "replaced": deployment.replaced,
        "gate": deployment.gate,
    }


def cluster_facts(cluster: Cluster) -> dict[str, Any]:
    """A cluster for ``--json``."""
    return {
        "id": cluster.id,
        "public_id": cluster.public_id,
        "name": cluster.name,
        "label": cluster.label,
        "description": cluster.description,
        "proposals": [proposal.model_dump() for proposal in cluster.proposals],
        "colour": cluster.colour,
        "note": cluster.note,
        "merged_into": cluster.merged_into,
        "muted": cluster.muted,
        "retired": cluster.retired,
        "born": cluster.born,
        "parent": cluster.parent,
        "size": cluster.size,
        "not": list(cluster.rejections),
        "not_named": list(cluster.rejected_names),
    }


def event_facts(event: Event) -> dict[str, Any]:
    """An event for ``--json``."""
    return {
        "number": event.number,
        "at": time_text(event.at_us),
        "at_us": event.at_us,
        "who": event.who,
        "what": event.what,
        "clusters": list(event.ids),
        "changes": [
            {"cluster": c.id, "field": c.field, "before": c.before, "after": c.after} for c in event.changes
        ],
        "detail": event.detail,
        "undoes": event.undoes,
        "deployment": event.deployment,
        "revision": event.revision,
        "expected_revision": event.expected,
    }


def event_text(event: Event) -> str:
    """What happened, in one line."""
    if event.what == "transition":
        return _transition_text(event.detail)
    if event.what == "born-apart":
        return f"born apart from {event.ids[0]}: {event.detail['reason']}"
    shown = [c for c in event.changes if c.field != "live" or event.what != "born"]
    changes = "; ".join(_change_text(c.id, c.field, c.before, c.after) for c in shown)
    return f"undid event {event.undoes}: {changes}" if event.undoes is not None else changes


def _change_text(cluster: int, field: str, before: Any, after: Any) -> str:
    texts = {
        "merged_into": f"merged into {after}" if after is not None else f"taken back from {before}",
        "muted": "muted" if after else "no longer muted",
        "live": "in production" if after else "out of production",
        "born": f"born with version {after}",
        "not": f"is not {after}" if after is not None else f"may be {before} again",
        "not_named": f"is not {after!r}" if after is not None else f"may be {before!r} again",
    }
    return f"{cluster} {texts.get(field, f'{field} {before!r} → {after!r}')}"


def _transition_text(detail: dict[str, Any]) -> str:
    to = ", ".join(map(str, detail["to"]))
    share = f" ({detail['share']:.0%} of its windows)" if detail["share"] else ""
    texts = {
        "survive": f"{detail['from']} goes on{share}",
        "split": f"{detail['from']} was split; new: {to}{share}",
        "absorb": f"{detail['from']} was absorbed by {to}{share}",
        "appear": f"{to} appeared",
        "vanish": f"{detail['from']} vanished",
    }
    return texts[detail["kind"]]
