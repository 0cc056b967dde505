"""One provider compared with another."""

from __future__ import annotations

import numpy as np

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.runtime import OnnxEncoder
from disc_stream.artifacts.runtimes.probes import limit_windows, probe_windows


def check_same(bundle: Bundle) -> None:
    """Labels, and what is finite, are onnxruntime's; numbers within what float32 leaves open."""
    theirs, ours = OnnxEncoder(bundle, "cpu", 1), OnnxEncoder(bundle, "numpy", 1)
    for x in (probe_windows(bundle.manifest), limit_windows(bundle.manifest)):
        a, b = theirs.encode(x), ours.encode(x)
        assert a.labels.tolist() == b.labels.tolist()
        for name in ("embedding", "q", "distance"):
            one, other = getattr(a, name), getattr(b, name)
            assert np.array_equal(np.isfinite(one), np.isfinite(other)), name
            there = np.isfinite(one)
            scale = float(np.abs(one[there]).max(initial=1e-6))
            np.testing.assert_allclose(other[there], one[there], atol=1e-4 * scale, err_msg=name)
