"""The provider numpy: the labels of onnxruntime, and an answer where it cannot run a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.runtime import OnnxEncoder
from disc_stream.artifacts.runtimes.probes import probe_windows
from disc_stream.artifacts.verification import verify_bundle
from disc_stream.errors import BundleError
from tests.support.providers import check_same
from tests.support.recurrent_bundle import write_recurrent_bundle
from tests.support.tiny_bundle import write_tiny_bundle


def test_a_model_without_a_recurrence_labels_alike(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "tiny")
    bundle = Bundle.open(tmp_path / "tiny")
    check_same(bundle)
    ours, theirs = (verify_bundle(tmp_path / "tiny", None, provider) for provider in ("numpy", "cpu"))
    assert [(one.name, one.passed) for one in ours] == [(one.name, one.passed) for one in theirs]
    encoder = OnnxEncoder(bundle, "numpy", 1)
    x = probe_windows(bundle.manifest)
    alone = np.concatenate([encoder.encode(x[k : k + 1]).q for k in range(8)])
    np.testing.assert_allclose(alone, encoder.encode(x[:8]).q, atol=1e-6)


def test_a_recurrence_is_refused_with_what_to_do(tmp_path: Path) -> None:
    bundle = write_recurrent_bundle(tmp_path / "recurrent")
    with pytest.raises(BundleError, match="has GRU, which the provider numpy does not run") as raised:
        OnnxEncoder(bundle, "numpy", 1)
    assert "--provider cpu" in (raised.value.remedy or "")
