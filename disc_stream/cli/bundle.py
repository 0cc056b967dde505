"""``disc-stream bundle``: what is in a bundle, whether it is sound, how two differ, how fast one is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from disc_stream.cli.common import JsonOption, TrustedKeyOption, print_json, require_extras, require_path, say

if TYPE_CHECKING:
    from disc_stream.artifacts.bundle import Bundle
    from disc_stream.artifacts.bundlediff import BundleDifference, LabelChange
    from disc_stream.artifacts.runtime import Provider

app = typer.Typer(
    no_args_is_help=True,
    help="Bundles: what is in one, whether it is sound, how two differ, how fast one is here.\n\n"
    "Example: disc-stream bundle verify bundles/hapt",
)

BundleArgument = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="Folder or zip that `disc-stream export` wrote.")
]
ProviderOption = Annotated[
    str, typer.Option("--provider", help="What runs the graph: cpu, cuda, or auto for the best there is.")
]
_BATCHES = (1, 4, 16, 64, 256)


@app.command()
def inspect(
    bundle: BundleArgument, trusted_key: TrustedKeyOption = None, as_json: JsonOption = False
) -> None:
    """Show what a model expects and gives, where it comes from, and how large it is.

    Every file is checked against its hash first. Nothing is run.

    Example: disc-stream bundle inspect bundles/hapt
    """
    from disc_stream.artifacts.bundle import Bundle
    from disc_stream.artifacts.sizes import SizeInfo

    facts = _facts(Bundle.open(bundle, trusted_keys=trusted_key), checked=trusted_key is not None)
    if as_json:
        print_json(facts)
        return
    window, size, parity = facts["window"], facts["sizes"], facts["parity"]
    made, rate = facts["training"], facts["fs"]
    channels = ", ".join(f"{one['name']} ({one['unit']})" for one in facts["channels"])
    preset = "" if made["preset"] == made["method"] else f" ({made['preset']})"
    rows = {
        "bundle": facts["bundle"],
        "model": f"{facts['name']}, version {facts['version']}, schema {facts['schema_version']}",
        "method": f"{made['method']}{preset}, seed {made['seed']}",
        "learned": f"{made['n_windows']:,} windows of {made['dataset']} (sha256 {made['fingerprint'][:12]}…)",
        "exported": facts["created"],
        "channels": channels,
        "rate": f"{rate:g} Hz",
        "window": f"{window['samples']} samples ({window['samples'] / rate:.2f} s) every {window['hop']}",
        "input": f"the first {window['input_samples']} samples ({window['input_samples'] / rate:.2f} s)",
        "outputs": f"{facts['n_clusters']} clusters, embedding of {facts['embedding_dim']}",
        "size": f"{size['graph_bytes'] / 1024:.0f} KiB graph, {size['bundle_bytes'] / 1024:.0f} KiB in all, "
        f"{size['multiplications'] / 1e6:.2f} million multiplications a window, {size['nodes']} nodes",
        "parity": f"{parity['n_windows']} windows and {parity['n_probes']} probes, "
        f"labels {parity['labels_equal']:.2%} equal; embedding within {parity['max_abs_embedding']:.1e}, "
        f"q within {parity['max_abs_q']:.1e}",
        "self-test": f"{facts['selftest_windows']} windows" if facts["selftest_windows"] else "none",
        "signed": _signed(facts),
        "software": ", ".join(f"{name} {version}" for name, version in facts["software"].items()),
    }
    if (network := SizeInfo.of(made["metrics"])) is not None:
        rows["network"] = str(network)
        if network.agreement is not None:
            rows["agreement"] = str(network.agreement)
    for title, value in rows.items():
        say(f"{title:<11}{value}")
    from disc_stream.cli.registries import print_table

    print_table(
        ("cluster", "windows", "name"),
        [(c["id"], f"{c['size']:,}", _name(c)) for c in facts["clusters"]],
    )


def _signed(facts: dict[str, Any]) -> str:
    if not facts["signed"]:
        return "no"
    return "yes, with a trusted key" if facts["signature_checked"] else "yes, not checked (--trusted-key)"


def _name(cluster: dict[str, Any]) -> str:
    description = cluster.get("description")
    return f"{cluster['name']} ({description})" if description else str(cluster["name"])


def _facts(bundle: Bundle, *, checked: bool) -> dict[str, Any]:
    from disc_stream.artifacts.bundle import INPUT
    from disc_stream.artifacts.graph import read_graph
    from disc_stream.artifacts.graphcost import BATCH, cost_of
    from disc_stream.artifacts.manifest import SIGNATURE_FILE
    from disc_stream.artifacts.verification import own_test

    manifest = bundle.manifest
    graph = read_graph(bundle.model_bytes)
    cost = cost_of(graph, INPUT, (manifest.window.input_samples, len(manifest.channels)))
    test = own_test(bundle)
    facts = {"bundle": str(bundle.path), **manifest.model_dump(mode="json")}
    facts["clusters"] = [cluster.model_dump(mode="json") for cluster in bundle.catalogue.clusters]
    facts["sizes"] = {
        "graph_bytes": len(bundle.model_bytes),
        "bundle_bytes": sum(map(len, bundle.files.values())),
        "nodes": len(graph.nodes),
        "multiplications": cost.multiplications // BATCH,
    }
    facts["selftest_windows"] = 0 if test is None else len(test.windows)
    facts["signed"] = SIGNATURE_FILE in bundle.files
    facts["signature_checked"] = checked
    return facts


@app.command()
def verify(
    bundle: BundleArgument,
    trusted_key: TrustedKeyOption = None,
    provider: ProviderOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Check hashes, form and signature, and that the graph computes here what it computed when exported.

    The graph is run on the windows that the bundle carries for this, alone and in
    batches, and on windows of sensors that rest, fail or saturate. The exit code
    is 0 if all is well and 1 if anything is not.

    Example: disc-stream bundle verify bundles/hapt --trusted-key key.pub.pem
    """
    require_extras("disc-stream bundle verify", "cpu")
    from disc_stream.artifacts.verification import verify_bundle

    checks = verify_bundle(bundle, trusted_key, _provider(provider))
    passed = all(check.passed is not False for check in checks)
    if as_json:
        print_json({"bundle": str(bundle), "passed": passed, "checks": [check._asdict() for check in checks]})
    else:
        words = {True: "passed", False: "FAILED", None: "-"}
        for check in checks:
            say(f"{words[check.passed]:<8}{check.name}: {check.detail}")
            if check.passed is False and check.remedy:
                say(f"        {check.remedy}")
        say(f"{bundle} is {'sound' if passed else 'not sound'}")
    if not passed:
        raise typer.Exit(1)


def _provider(name: str) -> Provider:
    """What the encoder is told; it says itself which names it knows."""
    return cast("Provider", name)


@app.command()
def diff(
    old: BundleArgument,
    new: BundleArgument,
    recording: Annotated[
        list[str] | None,
        typer.Option(
            "--recording",
            help="Also label this: recording.csv, hapt:exp07-user04 … as in `label`. Repeatable.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", envvar="DISC_STREAM_DATA", help="The dataset's zip or folder, or a folder of these."
        ),
    ] = None,
    provider: ProviderOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Compare two bundles: settings, clusters, centroids, and the labels of the same windows.

    Clusters are matched by their ids. How versions of a registry differ, and which
    clusters went on in which, says `disc-stream models diff`.

    Example: disc-stream bundle diff bundles/old bundles/new --recording walk.csv
    """
    require_extras("disc-stream bundle diff", "cpu")
    from disc_stream.artifacts.bundle import Bundle
    from disc_stream.artifacts.bundlediff import compare_bundles

    bundles = Bundle.open(old), Bundle.open(new)
    found = compare_bundles(*bundles, _provider(provider))
    labels = _on_recordings(bundles, recording, data, provider) if recording else None
    if as_json:
        print_json(_diff_facts(bundles, found, labels))
        return
    say(f"{bundles[0].version} → {bundles[1].version}" + (" (the same graph)" if found.same_graph else ""))
    for name, (before, after) in found.facts.items():
        say(f"{name}: {_short(before)} → {_short(after)}")
    _print_clusters(bundles, found)
    if found.moved is None and not found.same_graph:
        say("centroids: of different networks, whose embeddings cannot be compared")
    if found.probes is None:
        say("labels: the models take different windows, so there are none to compare")
    else:
        _print_labels("synthetic windows", found.probes)
    if labels is not None:
        _print_labels("windows of the recordings", labels)


def _print_clusters(bundles: tuple[Bundle, Bundle], found: BundleDifference) -> None:
    from disc_stream.cli.registries import print_table

    names = {cluster.id: cluster.name for cluster in bundles[1].catalogue.clusters}
    moved = found.moved or {}
    rows: list[tuple[object, ...]] = []
    for own, changes in found.kept.items():
        said = "; ".join(
            f"{field} {_short(before)} → {_short(after)}" for field, (before, after) in changes.items()
        )
        shift = f"{moved[own]:.3g}" if own in moved else ""
        rows.append((own, names[own], shift, said or "as it was"))
    rows += [(own, name, "", "gone") for own, name in found.gone.items()]
    rows += [(own, name, "", "new") for own, name in found.new.items()]
    print_table(("cluster", "name", "centroid moved", "what differs"), rows)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _print_labels(what: str, change: LabelChange) -> None:
    share = change.other / change.n if change.n else 0.0
    say(f"{change.other:,} of {change.n:,} {what} ({share:.1%}) have another label")
    if change.other:
        say(f"  {change.regrouped:,} when clusters are matched by the windows they share, whatever their ids")
    for (before, after), count in list(change.moves.items())[:10]:
        say(f"  {before} → {after}: {count:,}")


def _on_recordings(
    bundles: tuple[Bundle, Bundle], specs: list[str], data: Path | None, provider: str
) -> LabelChange:
    """Labels of the windows that both models have one for, by recording and time."""
    import numpy as np

    from disc_stream.artifacts.bundlediff import LabelChange
    from disc_stream.artifacts.model import Model
    from disc_stream.artifacts.runtime import OnnxEncoder
    from disc_stream.data.readers import load_recordings_spec
    from disc_stream.data.series import group_series
    from disc_stream_server.offline import label_recording

    recordings = group_series(load_recordings_spec(specs, data))
    found = []
    for bundle in bundles:
        model = Model.of(bundle, OnnxEncoder(bundle, _provider(provider)))
        found.append(
            {
                (number, label.t0_us): label.best.label
                for number, recording in enumerate(recordings)
                for label in label_recording(recording, model).labels
            }
        )
    both = sorted(found[0].keys() & found[1].keys())
    return LabelChange.between(*(np.array([one[key] for key in both], dtype=np.int64) for one in found))


def _diff_facts(
    bundles: tuple[Bundle, Bundle], found: BundleDifference, labels: LabelChange | None
) -> dict[str, Any]:
    def pairs(changes: dict[str, tuple[Any, Any]]) -> dict[str, Any]:
        return {name: {"old": before, "new": after} for name, (before, after) in changes.items()}

    def change_facts(change: LabelChange | None) -> dict[str, Any] | None:
        if change is None:
            return None
        moves = [{"old": a, "new": b, "windows": n} for (a, b), n in change.moves.items()]
        return {
            "windows": change.n,
            "other_label": change.other,
            "regrouped": change.regrouped,
            "moves": moves,
        }

    return {
        "old": bundles[0].version,
        "new": bundles[1].version,
        "same_graph": found.same_graph,
        "facts": pairs(found.facts),
        "clusters": {
            "kept": {str(own): pairs(changes) for own, changes in found.kept.items()},
            "gone": {str(own): name for own, name in found.gone.items()},
            "new": {str(own): name for own, name in found.new.items()},
            "centroids_moved": None if found.moved is None else {str(k): v for k, v in found.moved.items()},
        },
        "synthetic_windows": change_facts(found.probes),
        "recordings": change_facts(labels),
    }


@app.command()
def bench(
    bundle: BundleArgument,
    provider: ProviderOption = "auto",
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Of one call on the CPU; default one per core.")
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.05, max=60.0, help="How long to measure each batch size.")
    ] = 1.0,
    as_json: JsonOption = False,
) -> None:
    """Measure how many windows a second the model encodes on this machine, at batches of 1 to 256.

    One batch after the other, without a server or a broker; other work on the
    machine slows it down. The median of all calls is what is shown.

    Example: disc-stream bundle bench bundles/hapt --threads 1
    """
    require_path(bundle, "bundle")
    require_extras("disc-stream bundle bench", "cpu")
    from disc_stream.artifacts.bundle import Bundle
    from disc_stream.artifacts.runtime import OnnxEncoder
    from disc_stream.artifacts.verification import usual_windows

    opened = Bundle.open(bundle)
    encoder = OnnxEncoder(opened, _provider(provider), threads)
    measured = []
    for batch in _BATCHES:
        x = usual_windows(opened, batch)
        encoder.encode(x)
        took: list[float] = []
        end = time.perf_counter() + seconds
        while len(took) < 3 or time.perf_counter() < end:
            began = time.perf_counter()
            encoder.encode(x)
            took.append(time.perf_counter() - began)
        median = sorted(took)[len(took) // 2]
        measured.append(
            {"batch": batch, "calls": len(took), "median_ms": median * 1e3, "windows_per_s": batch / median}
        )
    if as_json:
        print_json(
            {
                "bundle": str(bundle),
                "version": opened.version,
                "provider": encoder.provider,
                "threads": threads,
                "batches": measured,
            }
        )
        return
    say(f"{opened.manifest.name} {opened.version} on {encoder.provider}")
    say(f"{'batch':>6}{'windows/s':>14}{'ms a batch':>13}")
    for one in measured:
        say(f"{one['batch']:>6}{one['windows_per_s']:>14,.0f}{one['median_ms']:>13.3f}")
