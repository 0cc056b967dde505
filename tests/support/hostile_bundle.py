"""Bundles whose hashes are all right and whose content is somebody else's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from disc_stream.artifacts.bundle import content_version
from disc_stream.artifacts.catalogue import Catalogue


def replace_graph(folder: Path, graph: bytes) -> None:
    """Put another graph into a bundle, with the hashes, the version and the catalogue of that graph."""
    from hashlib import sha256

    (folder / "model.onnx").write_bytes(graph)
    version = content_version(graph)

    def follow(raw: dict[str, Any]) -> None:
        raw["version"], raw["files"] = version, {"model.onnx": sha256(graph).hexdigest()}

    edit_manifest(folder, follow)
    catalogue = json.loads((folder / "catalogue.json").read_text())
    catalogue.pop("sha256")
    catalogue["model"] = version
    (folder / "catalogue.json").write_bytes(Catalogue.model_validate(catalogue).to_bytes())


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change ``manifest.json``, which is under no hash."""
    file = folder / "manifest.json"
    raw = json.loads(file.read_text())
    change(raw)
    file.write_text(json.dumps(raw))
