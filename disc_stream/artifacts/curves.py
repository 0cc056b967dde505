"""How training went, epoch by epoch, as a bundle tells it: ``training.json``.

It is a picture for people and nothing is computed from it, so whatever is wrong in one is left out.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

CURVES_FILE = "training.json"
MAX_EPOCHS = 400
MAX_BYTES = 1 << 20

_MAX_FIELDS = 32
_NOT_SHOWN = {"epoch", "n_epochs", "seconds", "eta_s", "learning_rate", "span", "phase", "values", "losses"}
_MAX_NAME = 64


def curves_of(history: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Epochs as they are shown: phase, number and values by name; evenly thinned where there are many."""
    counts: Counter[str] = Counter()
    epochs = [one for entry in history if (one := _epoch(entry, counts)) is not None]
    if len(epochs) <= MAX_EPOCHS:
        return epochs
    last = len(epochs) - 1
    return [epochs[round(n * last / (MAX_EPOCHS - 1))] for n in range(MAX_EPOCHS)]


def encode_curves(epochs: list[dict[str, Any]]) -> bytes:
    """The content of ``training.json``."""
    return (json.dumps({"schema": "disc-stream.training/1", "epochs": epochs}) + "\n").encode()


def decode_curves(data: bytes) -> list[dict[str, Any]]:
    """Read ``training.json``; what cannot be read is left out."""
    return curves_of(entries) if isinstance(entries := _loaded(data).get("epochs"), list) else []


def read_history(lines: bytes) -> list[dict[str, Any]]:
    """The epochs of ``history.jsonl`` of a run; what cannot be read is left out."""
    return curves_of(_loaded(line) for line in lines.splitlines())


def _loaded(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data) if len(data) <= MAX_BYTES else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _epoch(entry: Mapping[str, Any], counts: Counter[str]) -> dict[str, Any] | None:
    if not isinstance(entry, dict) or not isinstance(phase := entry.get("phase"), str):
        return None
    counts[phase] += 1  # what is tried out, and not trained in epochs, has no number of its own
    number = entry.get("epoch", counts[phase])
    if type(number) is not int:
        return None
    values = {name: value for name, value in entry.items() if name not in _NOT_SHOWN}
    for field in ("values", "losses"):
        if isinstance(found := entry.get(field), dict):
            values |= found
    kept: dict[str, float] = {
        str(name)[:_MAX_NAME]: float(f"{value:.6g}")
        for name, value in list(values.items())[:_MAX_FIELDS]
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
    return {"phase": phase[:_MAX_NAME], "epoch": number, "values": kept}
