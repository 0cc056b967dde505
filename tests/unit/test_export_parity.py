"""The comparison with torch: it sees what differs, and says in which output and window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.manifest import ParityInfo
from disc_stream.errors import ParityError
from disc_stream.types import Float32Array
from disc_stream_export.parity import Tolerances, compare
from tests.support.tiny_bundle import CENTROIDS, write_tiny_bundle

MARK = 100.0  # a window that starts with this value is answered wrongly


class MeanNet(nn.Module):
    """What the tiny bundle computes, in torch, with errors put into the marked windows."""

    def __init__(
        self, embedding: float = 0.0, q: float = 0.0, distance: float = 1.0, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.errors = (embedding, q, distance)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        z = x.mean(1)
        distance = (z.unsqueeze(1) - torch.from_numpy(CENTROIDS)).square().sum(2)
        t = 1 / (1 + distance)
        q = t / t.sum(1, keepdim=True)
        marked = x[:, 0, :1] == MARK
        add, shift, factor = self.errors
        return (
            torch.where(marked, z + add, z),
            torch.where(marked, q + shift, q),
            torch.where(marked, distance * factor, distance),
        )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("bundles") / "tiny"
    write_tiny_bundle(path)
    return Bundle.open(path)


def windows(n: int = 300, marked: int | None = None) -> Float32Array:
    x = np.random.default_rng(0).normal(0, 0.3, size=(n, 8, 3)).astype(np.float32)
    if marked is not None:
        x[marked, 0, 0] = MARK
    return x


def check(net: nn.Module, bundle: Bundle, x: Float32Array) -> ParityInfo:
    return compare(net, bundle, x, Tolerances())


def test_agreement_is_measured(bundle: Bundle) -> None:
    parity = check(MeanNet(), bundle, windows())
    assert parity.n_windows == 300
    assert parity.labels_equal == 1.0
    assert 0 <= parity.max_abs_embedding < 1e-6
    assert 0 <= parity.max_abs_q < 1e-6
    assert 0 <= parity.max_rel_distance < 1e-4


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_few_windows_are_enough(n: int, bundle: Bundle) -> None:
    assert check(MeanNet(), bundle, windows(n)).n_windows == n


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (MeanNet(embedding=0.05), r"'embedding' of the graph differs from torch by 5\.00e-02 in window 9 "),
        (MeanNet(q=-0.001), r"'q' of the graph differs from torch by 1\.00e-03 in window 9 "),
        (MeanNet(distance=1.02), r"'distance' of the graph differs from torch by \d\.\d\de-02 in window 9 "),
        (MeanNet(embedding=1e30), "'embedding' of the graph differs"),
    ],
    ids=["embedding", "q", "distance", "huge"],
)
def test_the_output_the_window_and_the_figure_are_named(net: nn.Module, message: str, bundle: Bundle) -> None:
    with pytest.raises(ParityError, match=message):
        check(net, bundle, windows(marked=9))


def test_windows_beyond_the_small_batches_are_compared_too(bundle: Bundle) -> None:
    with pytest.raises(ParityError, match=r"in window 250 \(in batches of 300\)"):
        check(MeanNet(q=0.01), bundle, windows(marked=250))


def test_rounding_passes(bundle: Bundle) -> None:
    parity = check(MeanNet(embedding=2e-5, q=2e-5, distance=1.0001), bundle, windows(marked=9))
    assert parity.max_abs_q == pytest.approx(2e-5, rel=0.1)
    assert parity.max_abs_embedding == pytest.approx(2e-5, rel=0.1)


def test_a_network_that_is_itself_broken_is_named(bundle: Bundle) -> None:
    with pytest.raises(ParityError, match=r"'q' of the network itself is not finite in window 9"):
        check(MeanNet(q=float("nan")), bundle, windows(marked=9))


def test_no_windows_are_no_proof(bundle: Bundle) -> None:
    with pytest.raises(ParityError, match="no sample windows"):
        check(MeanNet(), bundle, windows(0))


def test_a_graph_that_does_not_fit_the_manifest_is_a_parity_error(bundle: Bundle, tmp_path: Path) -> None:
    smaller = bundle.manifest.model_copy(update={"clusters": bundle.manifest.clusters[:2]})
    with pytest.raises(ParityError, match=r"q is \[3\] a window, the manifest says \[2\]"):
        check(MeanNet(), Bundle(tmp_path, smaller, bundle.model_bytes), windows())
