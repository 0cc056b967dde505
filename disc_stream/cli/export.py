"""``disc-stream export``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import JsonOption, print_json, require_extras, require_path, require_writable, say
from disc_stream.errors import UsageError

if TYPE_CHECKING:
    from disc_stream.artifacts.manifest import Manifest
    from disc_stream.artifacts.run import LabelAt

_STEPS = 4  # what export_run announces


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `disc-stream train` wrote.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Bundle to write: a folder, or a zip for NAME.zip.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the model; default DATASET-PRESET.")
    ] = None,
    names: Annotated[
        Path | None, typer.Option("--names", help="YAML or JSON file that maps cluster ids to names.")
    ] = None,
    sign_key: Annotated[
        Path | None, typer.Option("--sign-key", help="Ed25519 private key (PEM) to sign the bundle with.")
    ] = None,
    label_at: Annotated[
        str | None,
        typer.Option(
            "--label-at",
            help="half: label a window when its first half is there; whole: later, and better. Runs of disc "
            "with targets that carry over can do either; default half there.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an older bundle at --out.")] = False,
    json: JsonOption = False,
) -> None:
    """Turn a trained run into a bundle that `disc-stream serve` runs.

    Its ONNX graph reads raw physical samples and gives the embedding, the
    soft assignment q and the squared distances. The graph is compared with
    torch on real windows of the run; unless they agree, nothing is written.

    For example: disc-stream export runs/hapt --out bundles/hapt
    """
    at = _label_at(label_at)
    require_path(run, "run")
    require_writable(out)
    require_extras("disc-stream export", "export")
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("[{task.completed}/{task.total}] {task.description}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("Loading torch", total=_STEPS)
        from disc_stream_export import Naming, export_run
        from disc_stream_export.names import load_names

        manifest = export_run(
            run,
            out,
            naming=Naming(name, load_names(names) if names else {}),
            label_at=at,
            sign_key=sign_key,
            force=force,
            progress=lambda step: bar.update(task, advance=1, description=step),
        )
    summary = _summary(out, manifest, signed=sign_key is not None)
    if json:
        print_json(summary)
    else:
        _print_table(summary)


def _label_at(given: str | None) -> LabelAt | None:
    known: dict[str | None, LabelAt | None] = {None: None, "half": "half", "whole": "whole"}
    if given not in known:
        raise UsageError(f"--label-at is half or whole, not {given!r}")
    return known[given]


def _summary(out: Path, manifest: Manifest, *, signed: bool) -> dict[str, Any]:
    from disc_stream.artifacts.bundle import Bundle

    window, channels, k = manifest.window, len(manifest.channels), manifest.n_clusters
    bundle = Bundle.open(out)
    return {
        "bundle": str(out),
        "name": manifest.name,
        "version": manifest.version,
        "graph_bytes": len(bundle.model_bytes),
        "label_at": "half" if window.input_samples < window.samples else "whole",
        "inputs": {"x": ["batch", window.input_samples, channels]},
        "outputs": {
            "embedding": ["batch", manifest.embedding_dim],
            "q": ["batch", k],
            "distance": ["batch", k],
        },
        "clusters": [{"id": c.id, "name": c.name, "size": c.size} for c in bundle.catalogue.clusters],
        "parity": manifest.parity.model_dump(mode="json"),
        "signed": signed,
    }


def _print_table(summary: dict[str, Any]) -> None:
    parity = summary["parity"]
    ports = summary["inputs"] | summary["outputs"]
    shapes = [f"{port} ({', '.join(map(str, shape))})" for port, shape in ports.items()]
    rows = {
        "bundle": summary["bundle"],
        "name": summary["name"],
        "version": summary["version"],
        "graph": f"{summary['graph_bytes'] / 1e6:.2f} MB",
        "input": shapes[0],
        "outputs": " · ".join(shapes[1:]),
        "labels": "at half a window" if summary["label_at"] == "half" else "at the whole window",
        "clusters": ", ".join(cluster["name"] for cluster in summary["clusters"]),
        "parity": f"{parity['n_windows']} windows, labels {parity['labels_equal']:.2%} equal",
        "": f"largest difference: embedding {parity['max_abs_embedding']:.1e}, q {parity['max_abs_q']:.1e}, "
        f"distance {parity['max_rel_distance']:.1e} (relative)",
        "signed": "yes" if summary["signed"] else "no",
        "next": f"disc-stream serve --bundle {shlex.quote(summary['bundle'])}",
    }
    for title, value in rows.items():
        say(f"{title:<10}{value}")
