"""``disc-stream export``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import JsonOption, print_json, require_extras, require_path, require_writable, say
from disc_stream.cli.export_c import C_STEPS, export_source, print_source
from disc_stream.cli.export_progress import steps
from disc_stream.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from disc_stream.artifacts.manifest import Manifest
    from disc_stream.artifacts.run import LabelAt

_STEPS = 4  # what export_run announces


class Target(StrEnum):
    """What a model becomes."""

    ONNX = "onnx"
    C = "c"


def export(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="Folder that `disc-stream train` wrote; for C, also a bundle."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Bundle to write: a folder, or a zip for NAME.zip. For C: a file NAME.c."
        ),
    ],
    target: Annotated[
        Target,
        typer.Option("--target", help="onnx: a bundle. c: C99 source for microcontrollers, of disc-plus."),
    ] = Target.ONNX,
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
    examples: Annotated[
        bool,
        typer.Option(
            "--examples/--no-examples",
            help="Keep some training windows of each cluster in the bundle, for people to look at. They are "
            "the motion of whoever was recorded.",
        ),
    ] = True,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an older bundle, or older source, at --out.")
    ] = False,
    prefix: Annotated[
        str | None, typer.Option("--prefix", help="For C: how names begin in the source; default disc.")
    ] = None,
    with_test: Annotated[
        bool, typer.Option("--with-test", help="For C: also write NAME_test.c, a self-test for the device.")
    ] = False,
    unchecked: Annotated[
        bool,
        typer.Option("--unchecked", help="For C: do not compile the source and compare its labels here."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Turn a trained run into a bundle that `disc-stream serve` runs.

    Its ONNX graph reads raw physical samples and gives the embedding, the
    soft assignment q and the squared distances. The graph is compared with
    torch on real windows of the run; unless they agree, nothing is written.

    With --target c it becomes NAME.c and NAME.h, which label a stream on a
    microcontroller and are compared with the graph first.

    For example: disc-stream export runs/hapt --out bundles/hapt
    """
    at = _label_at(label_at)
    require_path(run, "run")
    require_writable(out)
    require_extras("disc-stream export", "export")
    c_only = {"--prefix": prefix is not None, "--with-test": with_test, "--unchecked": unchecked}
    _require_fitting(
        target, [option for option, given in c_only.items() if given], signed=sign_key is not None
    )
    if at is not None and target is Target.C:
        raise ConfigError("--label-at is for bundles", remedy="Export a bundle with it, and that to C")
    with steps("Loading torch", _STEPS if target is Target.ONNX else C_STEPS) as tell:
        from disc_stream_export import Choices, export_run
        from disc_stream_export.names import load_names

        choices = Choices(name, load_names(names) if names else {}, at, examples)
        if target is Target.C:
            summary = export_source(
                run, out, choices, tell, prefix=prefix, with_test=with_test, unchecked=unchecked, force=force
            )
        else:
            manifest = export_run(run, out, choices=choices, sign_key=sign_key, force=force, progress=tell)
            summary = _summary(out, manifest, signed=sign_key is not None)
    if json:
        print_json(summary)
    elif target is Target.C:
        print_source(summary)
    else:
        _print_table(summary)


def _label_at(given: str | None) -> LabelAt | None:
    known: dict[str | None, LabelAt | None] = {None: None, "half": "half", "whole": "whole"}
    if given not in known:
        raise UsageError(f"--label-at is half or whole, not {given!r}")
    return known[given]


def _require_fitting(target: Target, c_only: Sequence[str], *, signed: bool) -> None:
    """Check that options go with the target.

    Raises:
        ConfigError: choices one that does not.
    """
    if target is Target.C and signed:
        raise ConfigError("C source has no signature", remedy="Leave out --sign-key, or sign the bundle")
    if target is Target.ONNX and c_only:
        raise ConfigError(f"{c_only[0]} is for C source", remedy=f"Add --target c, or leave out {c_only[0]}")


def _summary(out: Path, manifest: Manifest, *, signed: bool) -> dict[str, Any]:
    from disc_stream.artifacts.bundle import Bundle
    from disc_stream.artifacts.examples import EXAMPLES_FILE

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
        "examples": EXAMPLES_FILE in bundle.files,
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
        "examples": "training windows of each cluster, for people to look at (--no-examples leaves them out)"
        if summary["examples"]
        else "none",
        "signed": "yes" if summary["signed"] else "no",
        "next": f"disc-stream serve --bundle {shlex.quote(summary['bundle'])}",
    }
    for title, value in rows.items():
        say(f"{title:<10}{value}")
