"""Fingerprints of training windows."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from disc_stream.types import Float32Array


def sha256(windows: Float32Array) -> str:
    """Fingerprint of windows: their shape and every byte."""
    digest = hashlib.sha256(json.dumps(windows.shape).encode())
    digest.update(np.ascontiguousarray(windows).data)
    return digest.hexdigest()
