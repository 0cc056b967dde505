"""``disc-stream models``: versions of models, which is in production, and why."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from disc_stream.cli.common import JsonOption, TrustedKeyOption, print_json, say
from disc_stream.cli.registries import (
    ModelsOption,
    WhoOption,
    WhyOption,
    deployment_facts,
    open_registry,
    print_table,
    time_text,
    version_facts,
    whoever,
)
from disc_stream.cli.streams import state_folder

if TYPE_CHECKING:
    from disc_stream.registry import Deployment, VersionInfo

app = typer.Typer(
    no_args_is_help=True,
    help="Versions of models in a registry: which is in production, since when and why.\n\n"
    "Example: disc-stream models list --models models",
)

RefArgument = Annotated[
    str,
    typer.Argument(
        help="Number of the version, its hash or the beginning of it, 'current' or 'previous'.",
        metavar="VERSION",
    ),
]


@app.command()
def init(models: ModelsOption, as_json: JsonOption = False) -> None:
    """Make a registry in a new or empty folder.

    Example: disc-stream models init --models models
    """
    from disc_stream.registry import Registry

    Registry.create(models).close()
    if as_json:
        print_json({"models": str(models)})
        return
    say(f"{models} is a registry of models now")
    say(f"next: disc-stream models add BUNDLE --models {models}")
    say(f"or, to learn the first model from what devices send: disc-stream serve --models {models}")


@app.command()
def add(
    bundle: Annotated[Path, typer.Argument(help="Folder or zip that `disc-stream export` wrote.")],
    models: ModelsOption,
    note: Annotated[str, typer.Option("--note", help="One line about it, for people.")] = "",
    trusted_key: TrustedKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a bundle in as a new version: the first model of a fleet, or one that was trained elsewhere.

    All its clusters get fresh ids when it is promoted, and the names of the bundle.

    Example: disc-stream models add bundles/hapt --models models
    """
    from disc_stream.artifacts.bundle import Bundle
    from disc_stream.registry import Lineage, RowIds

    opened = Bundle.open(bundle, trusted_keys=trusted_key)
    with open_registry(models) as registry:
        current = registry.current()
        based_on = None if current is None else current.version
        info = registry.add(
            bundle,
            Lineage.of_bundle(opened, created_us=time.time_ns() // 1_000, note=note),
            RowIds.all_fresh(len(opened.catalogue), based_on),
            trusted_keys=trusted_key,
        )
    if as_json:
        print_json(version_facts(info, current))
        return
    say(f"version {info.number} is {info.version}, with {len(info.proposal.rows)} clusters")
    if current is not None:
        say(f"its clusters would be new ones beside those of {current.version}: none keeps an id or a name")
    say(f"next: disc-stream models promote {info.number} --models {models}")


@app.command("list")
def list_versions(models: ModelsOption, as_json: JsonOption = False) -> None:
    """List the versions, oldest first, and what was in production when.

    Example: disc-stream models list --models models
    """
    with open_registry(models) as registry:
        versions, deployments = registry.versions(), registry.deployments()
        strangers, revision = registry.strangers(), registry.revision
    current = deployments[-1] if deployments else None
    if as_json:
        print_json(
            {
                "revision": revision,
                "current": None if current is None else current.version,
                "versions": [version_facts(info, current) for info in versions],
                "deployments": [deployment_facts(one) for one in deployments],
                "strangers": strangers,
            }
        )
        return
    for name in strangers:
        say(f"{name} is not the registry's own, and is left alone", err=True)
    if not versions:
        say("no versions yet")
        say(f"next: disc-stream models add BUNDLE --models {models}")
        return
    columns = ("no.", "version", "added (UTC)", "method", "windows", "clusters", "state")
    print_table(columns, [_row(info, current) for info in versions])
    if deployments:
        say("")
        print_table(
            ("in production from (UTC)", "version", "who", "why"),
            [(time_text(d.at_us), d.version, d.who, _why(d)) for d in deployments[-10:]],
        )
    elif not versions[-1].rejected:
        say(f"next: disc-stream models promote {versions[-1].number} --models {models}")


@app.command()
def show(version: RefArgument, models: ModelsOption, as_json: JsonOption = False) -> None:
    """Show where a version comes from, what the acceptance gate said, and its clusters.

    Example: disc-stream models show current --models models
    """
    with open_registry(models) as registry:
        info, current = registry.version(version), registry.current()
        rows = registry.rows(info.number)
        deployments = [one for one in registry.deployments() if one.version_number == info.number]
    if as_json:
        facts = version_facts(info, current)
        facts["deployments"] = [deployment_facts(one) for one in deployments]
        facts["rows"] = [
            {"row": r.row, "id": r.id, "size": r.size, "description": r.description} for r in rows
        ]
        print_json(facts)
        return
    from disc_stream.registry import state_of

    lineage = info.lineage
    facts = {
        "version": f"{info.version} (number {info.number})", "state": state_of(info, current),
        "rejected": info.rejected, "marked": info.marked, "folder": info.path,
        "added": time_text(info.added_us), "parent": lineage.parent, "method": lineage.method,
        "settings": lineage.settings, "seed": lineage.seed,
        "data": lineage.fingerprint, "windows": f"{lineage.windows:,}", "devices": lineage.devices or None,
        "metrics": lineage.metrics, "note": lineage.note, "gate": lineage.gate_summary(),
    }  # fmt: skip
    for name, value in facts.items():
        if value not in (None, "", {}):
            say(f"{name:<10}{value}")
    for check in lineage.gate:
        limit = "" if check.limit is None else f" (limit {check.limit:g})"
        value = "" if check.value is None else f" {check.value:g}{limit}"
        say(f"  {'passed' if check.passed else 'FAILED'}  {check.measure}{value}: {check.reason}")
    for one in deployments:
        say(f"from {time_text(one.at_us)} in production: {_why(one)} ({one.who})")
    print_table(
        ("row", "id", "windows", "description"),
        [(r.row, "fresh" if r.id is None else r.id, f"{r.size:,}", r.description or r.name) for r in rows],
    )


@app.command()
def diff(
    old: RefArgument,
    new: RefArgument,
    models: ModelsOption,
    as_json: JsonOption = False,
) -> None:
    """Compare two versions: clusters by id, their sizes, metrics, settings and data.

    Example: disc-stream models diff previous current --models models
    """
    from disc_stream.registry.comparison import compare

    with open_registry(models) as registry:
        found = compare(registry, old, new)
    if as_json:
        print_json(found.as_dict())
        return
    say(f"{found.old.version} (number {found.old.number}) → {found.new.version} (number {found.new.number})")
    rows: list[tuple[object, ...]] = []
    rows += [(own, "kept", f"{a:,}", f"{b:,}") for own, (a, b) in found.kept.items()]
    rows += [(own, "gone", f"{a:,}", "") for own, a in found.gone.items()]
    rows += [(own, "new", "", f"{b:,}") for own, b in found.new_ids.items()]
    rows += [(f"row {row}", "fresh", "", f"{b:,}") for row, b in found.fresh.items()]
    print_table(("cluster", "", "windows before", "after"), rows)
    for name, (before, after) in found.facts.items():
        say(f"{name}: {before} → {after}")


@app.command()
def promote(
    version: RefArgument,
    models: ModelsOption,
    why: WhyOption = "by hand",
    who: WhoOption = None,
    even_rejected: Annotated[
        bool, typer.Option("--even-rejected", help="Also a version that was rejected.")
    ] = False,
    trusted_key: TrustedKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a version into production.

    Example: disc-stream models promote 2 --why "fewer flips" --models models
    """
    with open_registry(models) as registry:
        deployment = registry.promote(
            version, whoever(who), why, trusted_keys=trusted_key, even_rejected=even_rejected
        )
    _say_deployed(deployment, models, as_json)


@app.command()
def rollback(
    models: ModelsOption,
    why: WhyOption = "by hand",
    who: WhoOption = None,
    trusted_key: TrustedKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put the version before back into production, with its clusters; names stay as they are.

    Example: disc-stream models rollback --why "too many flips" --models models
    """
    with open_registry(models) as registry:
        deployment = registry.rollback(whoever(who), why, trusted_keys=trusted_key)
    _say_deployed(deployment, models, as_json)


@app.command()
def reject(
    version: RefArgument,
    models: ModelsOption,
    why: Annotated[str, typer.Option("--why", help="Why; '' takes a rejection back.")],
    who: WhoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say of a version that it is not to be promoted. It stays and can be looked at.

    Example: disc-stream models reject 3 --why "mixes stairs and walking" --models models
    """
    with open_registry(models) as registry:
        info, current = registry.reject(version, whoever(who), why), registry.current()
    if as_json:
        print_json(version_facts(info, current))
    else:
        now = f"rejected: {info.rejected}" if info.rejected else "a candidate again"
        say(f"version {info.number} is {now}")


@app.command()
def prune(
    models: ModelsOption,
    keep: Annotated[int, typer.Option("--keep", min=0, help="How many of the newest versions stay.")] = 10,
    state: Annotated[
        list[Path] | None,
        typer.Option("--state", help="State folder of a server, whose labels' versions stay; repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Remove the files of old versions. Their history, ids and lineage stay.

    The version in production and the one before are never removed.

    Example: disc-stream models prune --keep 5 --state state --models models
    """
    from disc_stream_server.storage.queries import StateReader

    referenced: set[str] = set()
    for folder in state or []:
        labels = StateReader(state_folder(folder))
        try:
            referenced |= labels.models()
        finally:
            labels.close()
    with open_registry(models) as registry:
        gone = registry.prune(keep, referenced)
        left = sum(info.pruned_us is None for info in registry.versions())
    if as_json:
        print_json({"pruned": [info.version for info in gone], "left": left})
        return
    for info in gone:
        say(f"version {info.number} ({info.version}) is pruned")
    say(f"{len(gone)} versions were pruned, {left} are left")


def _row(info: VersionInfo, current: Deployment | None) -> tuple[object, ...]:
    from disc_stream.registry import state_of

    state = state_of(info, current)
    lineage = info.lineage
    gate = lineage.gate_summary() if lineage.gate else ""
    notes = "; ".join(note for note in (state, info.rejected, gate, info.marked) if note)
    return (
        info.number, info.version, time_text(info.added_us)[:-3], lineage.method, f"{lineage.windows:,}",
        len(info.proposal.rows), notes,
    )  # fmt: skip


def _why(deployment: Deployment) -> str:
    return f"rolled back: {deployment.why}" if deployment.kind == "rollback" else deployment.why


def _say_deployed(deployment: Deployment, models: Path, as_json: bool) -> None:
    if as_json:
        print_json(deployment_facts(deployment))
        return
    instead = f" instead of {deployment.replaced}" if deployment.replaced else ""
    say(f"version {deployment.version_number} ({deployment.version}) is in production{instead}")
    say(f"next: disc-stream clusters list --models {models}")
