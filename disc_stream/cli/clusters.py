"""``disc-stream clusters``: what the clusters of a registry are called, merged, muted, and their history."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from disc_stream.cli.common import JsonOption, print_json, say
from disc_stream.cli.registries import (
    ModelsOption,
    WhoOption,
    cluster_facts,
    event_facts,
    event_text,
    open_registry,
    print_table,
    time_text,
    whoever,
)

if TYPE_CHECKING:
    from disc_stream.registry import Author, Cluster, Clusters, Event

app = typer.Typer(
    no_args_is_help=True,
    help="Clusters as people know them: name, merge, mute and take it back. What is said here holds from the "
    "next label on, and through every retraining.\n\n"
    'Example: disc-stream clusters name 3 "walking" --models models',
)

ClusterArgument = Annotated[int, typer.Argument(help="Its id; 'list' shows it.", metavar="ID", min=0)]
ExpectedOption = Annotated[
    int | None,
    typer.Option(
        "--expected-revision",
        min=0,
        help="That of `list --json` when you looked: refuse if somebody has changed the cluster since.",
    ),
]


@app.command("list")
def list_clusters(
    models: ModelsOption,
    retired: Annotated[bool, typer.Option("--retired", help="Also those of older models.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the clusters of the model in production.

    Example: disc-stream clusters list --models models
    """
    with open_registry(models) as registry:
        revision = registry.revision
        clusters = registry.clusters.list(retired=retired)
        current = registry.current()
    if as_json:
        print_json({"revision": revision, "clusters": [cluster_facts(cluster) for cluster in clusters]})
        return
    if current is None:
        say("no version is in production yet, so there are no clusters")
        say(f"next: disc-stream retrain --models {models}")
        say(f"or: disc-stream models add BUNDLE --models {models}, then disc-stream models promote")
        return
    columns = ("id", "name", "description", "windows", "state", "note")
    print_table(
        columns,
        [(c.id, c.name, _description(c), f"{c.size:,}", _state(c), c.note) for c in clusters],
        folds=("name", "description"),
    )
    if nameless := [c for c in clusters if not c.name and c.merged_into is None and not c.retired]:
        say(f'next: disc-stream clusters name {nameless[0].id} "NAME" --models {models}')


@app.command()
def name(
    cluster: ClusterArgument,
    new_name: Annotated[str, typer.Argument(help="Its name; '' takes it away.", metavar="NAME")],
    models: ModelsOption,
    who: WhoOption = None,
    expected: ExpectedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a cluster a name. The next label carries it.

    Example: disc-stream clusters name 3 "walking" --models models
    """
    _change(models, who, expected, as_json, lambda c, author: c.name(cluster, new_name, author))


@app.command()
def merge(
    cluster: ClusterArgument,
    into: Annotated[int, typer.Argument(help="The id that it is published under.", metavar="INTO", min=0)],
    models: ModelsOption,
    who: WhoOption = None,
    expected: ExpectedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish a cluster under another one's id and name. Its own id and name wait for `split`.

    Example: disc-stream clusters merge 5 3 --models models
    """
    _change(models, who, expected, as_json, lambda c, author: c.merge(cluster, into, author))


@app.command()
def split(
    cluster: ClusterArgument,
    models: ModelsOption,
    ids: Annotated[list[int] | None, typer.Argument(help="What to take back. Default: all of it.")] = None,
    who: WhoOption = None,
    expected: ExpectedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take back what was merged into a cluster.

    Example: disc-stream clusters split 3 5 --models models
    """
    _change(models, who, expected, as_json, lambda c, author: c.split(cluster, author, ids or ()))


@app.command()
def mute(
    cluster: ClusterArgument,
    models: ModelsOption,
    who: WhoOption = None,
    expected: ExpectedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that a cluster's labels are of no interest.

    Example: disc-stream clusters mute 7 --models models
    """
    _change(models, who, expected, as_json, lambda c, author: c.mute(cluster, author))


@app.command()
def unmute(
    cluster: ClusterArgument,
    models: ModelsOption,
    who: WhoOption = None,
    expected: ExpectedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that they are of interest again.

    Example: disc-stream clusters unmute 7 --models models
    """
    _change(models, who, expected, as_json, lambda c, author: c.unmute(cluster, author))


@app.command()
def colour(
    cluster: ClusterArgument,
    new_colour: Annotated[str, typer.Argument(help="#rrggbb; '' for any.", metavar="COLOUR")],
    models: ModelsOption,
    who: WhoOption = None,
    expected: ExpectedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a cluster a colour of its own on the page.

    Example: disc-stream clusters colour 3 "#3366cc" --models models
    """
    _change(models, who, expected, as_json, lambda c, author: c.colour(cluster, new_colour, author))


@app.command()
def note(
    cluster: ClusterArgument,
    text: Annotated[str, typer.Argument(help="One line; '' takes it away.")],
    models: ModelsOption,
    who: WhoOption = None,
    expected: ExpectedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a note for others.

    Example: disc-stream clusters note 3 "only on the left wrist" --models models
    """
    _change(models, who, expected, as_json, lambda c, author: c.note(cluster, text, author))


@app.command()
def reject(
    cluster: ClusterArgument,
    other: Annotated[int, typer.Argument(help="What it is not.", metavar="OTHER", min=0)],
    models: ModelsOption,
    who: WhoOption = None,
    expected: ExpectedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that one cluster is not another: no retraining gives one the other's id, and they are not merged.

    Example: disc-stream clusters reject 4 6 --models models
    """
    _change(models, who, expected, as_json, lambda c, author: c.reject(cluster, other, author))


@app.command("reject-name")
def reject_name(
    cluster: ClusterArgument,
    wrong_name: Annotated[str, typer.Argument(help="A name that it does not have.", metavar="NAME")],
    models: ModelsOption,
    who: WhoOption = None,
    expected: ExpectedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that a name is wrong for a cluster: it is never proposed for it again.

    Example: disc-stream clusters reject-name 4 "cycling" --models models
    """
    _change(models, who, expected, as_json, lambda c, author: c.reject_name(cluster, wrong_name, author))


@app.command()
def undo(
    models: ModelsOption,
    event: Annotated[
        int | None,
        typer.Argument(help="Its number. Default: the last one in effect.", min=1),
    ] = None,
    who: WhoOption = None,
    expected: ExpectedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Undo a change; undoing an undo makes the change again.

    Example: disc-stream clusters undo --models models
    """
    _change(models, who, expected, as_json, lambda c, author: c.undo(author, event))


@app.command()
def history(
    models: ModelsOption,
    cluster: Annotated[
        int | None, typer.Argument(help="Only what concerns this cluster.", metavar="ID", min=0)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The last so many.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show who changed what and when, and what became of the clusters with each model.

    Example: disc-stream clusters history 3 --models models
    """
    with open_registry(models) as registry:
        events = registry.clusters.history(cluster)
    shown = events[-limit:]
    if as_json:
        print_json({"events": [event_facts(event) for event in shown], "left_out": len(events) - len(shown)})
        return
    if not events:
        say("nothing has happened yet")
        return
    columns = ("event", "time (UTC)", "who", "what", "")
    print_table(columns, [(e.number, time_text(e.at_us), e.who, e.what, event_text(e)) for e in shown])
    if len(shown) < len(events):
        say(f"{len(events) - len(shown):,} older ones; --limit shows more")


def _change(
    models: Path,
    who: str | None,
    expected: int | None,
    as_json: bool,
    change: Callable[[Clusters, Author], Event | None],
) -> None:
    from disc_stream.registry import Author

    with open_registry(models) as registry:
        event = change(registry.clusters, Author(whoever(who), expected))
        revision = registry.revision
        names = {cluster.id: cluster for cluster in registry.clusters.list()}
    if as_json:
        print_json({"revision": revision, "event": None if event is None else event_facts(event)})
        return
    if event is None:
        say("it is so already; nothing was changed")
        return
    say(f"event {event.number}: {event_text(event)}")
    for hint in _hints(event, names):
        say(hint)
    if event.what != "undo":
        say(f"to take it back: disc-stream clusters undo {event.number} --models {models}")


def _hints(event: Event, clusters: dict[int, Cluster]) -> list[str]:
    """What somebody may not have meant, or may want next."""
    hints = []
    for change in event.changes:
        cluster = clusters.get(change.id)
        if cluster is None:
            continue
        if change.field == "merged_into" and change.after is not None:
            into = clusters.get(change.after)
            if cluster.name and into is not None and not into.name:
                hints.append(
                    f"{into.id} has no name; to give it that of {cluster.id}: "
                    f'disc-stream clusters name {into.id} "{cluster.name}"'
                )
        if change.field == "name" and cluster.public_id != cluster.id:
            hints.append(f"it is published as {cluster.public_id} ({cluster.label}), which it is merged into")
        same = [c.id for c in clusters.values() if c.id != cluster.id and c.name and c.name == change.after]
        if change.field == "name" and same:
            hints.append(
                f"{same[0]} has that name, too; if they are one: "
                f"disc-stream clusters merge {cluster.id} {same[0]}"
            )
    return hints


def _description(cluster: Cluster) -> str:
    if cluster.proposals and not cluster.name:
        return f"{cluster.description} ({cluster.proposals[0].name}?)".strip()
    return cluster.description


def _state(cluster: Cluster) -> str:
    states = []
    if cluster.merged_into is not None:
        states.append(f"published as {cluster.public_id}")
    if cluster.muted:
        states.append("muted")
    if cluster.retired:
        states.append("retired")
    return ", ".join(states)
