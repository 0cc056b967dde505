"""``disc-stream export --target c``."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disc_stream.cli.common import say

if TYPE_CHECKING:
    from disc_stream_export import Choices

C_STEPS = 3
"""What an export of C announces."""


def export_source(
    source: Path,
    out: Path,
    choices: Choices,
    tell: Callable[[str], None],
    *,
    prefix: str | None,
    with_test: bool,
    unchecked: bool,
    force: bool,
) -> dict[str, Any]:
    """Write a model as C source; what was written, for people and machines."""
    from disc_stream_export.c import COptions, export_c

    options = COptions(
        choices, prefix=prefix or "disc", with_test=with_test, unchecked=unchecked, force=force
    )
    written = export_c(source, out, options, tell)
    manifest = written.bundle.manifest
    return {
        "files": [str(file) for file in written.files],
        "name": manifest.name,
        "version": manifest.version,
        "state_bytes": written.state_bytes,
        "clusters": [{"id": c.id, "name": c.name, "size": c.size} for c in written.bundle.catalogue.clusters],
        "compiler": written.compiler,
        "real": asdict(written.real) if written.real else None,
        "synthetic": asdict(written.synthetic) if written.synthetic else None,
    }


def print_source(summary: dict[str, Any]) -> None:
    """The same as a table."""
    rows = {
        "source": " · ".join(summary["files"]),
        "name": summary["name"],
        "version": summary["version"],
        "state": f"{summary['state_bytes']:,} bytes for each device"
        if summary["compiler"]
        else "not measured",
        "clusters": ", ".join(cluster["name"] for cluster in summary["clusters"]),
        "compared": _compared(summary),
        "next": f"cc -std=c99 -O2 -c {shlex.quote(summary['files'][0])}; see docs/guides/microcontroller.md",
    }
    for title, value in rows.items():
        say(f"{title:<10}{value}")


def _compared(summary: dict[str, Any]) -> str:
    if not summary["compiler"]:
        return "not at all (--unchecked)"
    parts = [
        f"{part['n_windows']} {what}, labels {part['labels_equal']:.2%} equal"
        for what in ("real", "synthetic")
        if (part := summary[what])
    ]
    return f"with onnxruntime, by {summary['compiler']}: {'; '.join(parts)}"
