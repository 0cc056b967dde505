"""Which provider was fastest, kept in the user's cache folder for each model and machine."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

from disc_stream.artifacts.runtimes.cpus import cpu_model
from disc_stream.artifacts.runtimes.session import Concrete

SCHEMA = "disc-stream.provider/1"
_LIBRARIES = ("onnxruntime", "onnxruntime-gpu", "openvino")
_GPUS = Path("/proc/driver/nvidia")
_MOST_BYTES = 1 << 16
_KEPT = 256

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a candidate did.

    Args:
        windows_per_s: in batches of the size that was measured; 0 if it was not measured.
        labels_equal: share of the probe windows with the label that onnxruntime gives on the processor.
        refused: why it is not to be chosen, "" if it may be.
    """

    windows_per_s: float
    labels_equal: float
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The provider to take, and why.

    Args:
        provider: chosen.
        candidates: what was measured, by provider.
    """

    provider: Concrete
    candidates: Mapping[str, Measured] = field(default_factory=dict)

    def told(self) -> str:
        """In words, such as ``openvino 957, cpu 727 windows/s; openvino-bf16 not: …``."""
        ranked = sorted(self.candidates.items(), key=lambda one: -one[1].windows_per_s)
        rates = [f"{name} {one.windows_per_s:,.0f}" for name, one in ranked if not one.refused]
        refused = [f"{name} not: {one.refused}" for name, one in ranked if one.refused]
        return "; ".join([f"{', '.join(rates)} windows/s", *refused])


def key_of(version: str, threads: int, candidates: Sequence[str]) -> dict[str, Any]:
    """What an answer depends on.

    Args:
        version: content hash of the model's graph.
        threads: of one call.
        candidates: that there are.
    """
    return {
        "model": version, "threads": threads, "candidates": list(candidates), "cpu": cpu_model(),
        "gpus": _gpus() if "cuda" in candidates else [],
        "libraries": {name: found for name in _LIBRARIES if (found := _version(name))},
    }  # fmt: skip


def default_folder() -> Path:
    """The user's cache folder for answers (XDG Base Directory Specification).

    Raises:
        RuntimeError: if the user has no home folder.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "disc-stream" / "providers"


def recall(key: Mapping[str, Any], folder: Path) -> Answer | None:
    """The answer of an earlier start; None if there is none, or none that can be read."""
    file = _file(key, folder)
    try:
        with file.open("rb") as opened:
            found = json.loads(opened.read(_MOST_BYTES))
        if found["schema"] != SCHEMA or found["key"] != key:
            return None
        candidates = {str(name): Measured(**one) for name, one in found["candidates"].items()}
        names: dict[str, Concrete] = {name: name for name in get_args(Concrete) if name in key["candidates"]}
        answer = Answer(names[found["provider"]], candidates)
        answer.told()  # whatever is not a number shows here
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        _log.info("%s cannot be used; the providers are measured again", file)
        return None
    return answer


def remember(answer: Answer, key: Mapping[str, Any], folder: Path) -> None:
    """Keep an answer, and the 255 latest others; nothing happens where that is not possible."""
    text = json.dumps({"schema": SCHEMA, "key": key, **asdict(answer)}, indent=1)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=folder, prefix=".new-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as opened:
                opened.write(text)
            Path(name).replace(_file(key, folder))
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
        _prune(folder)
    except OSError as error:
        _log.info("which provider is fastest is not kept in %s: %s", folder, error.strerror or error)


def _file(key: Mapping[str, Any], folder: Path) -> Path:
    text = json.dumps(key, sort_keys=True)
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def _prune(folder: Path) -> None:
    files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime)
    for file in files[:-_KEPT]:
        file.unlink(missing_ok=True)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gpus() -> list[str]:
    """The driver and the GPUs, as the driver names them."""
    found = []
    for file in (_GPUS / "version", *sorted(_GPUS.glob("gpus/*/information"))):
        with contextlib.suppress(OSError):
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            found.append(lines[0].strip() if lines else "")
    return found
