"""The comparison with torch: it sees what differs, and says in which output and window."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from disc_stream.artifacts.agreement import Differences, radius
from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.manifest import ParityInfo
from disc_stream.artifacts.runtime import Encoded
from disc_stream.errors import ParityError
from disc_stream.types import Float32Array
from disc_stream_export.parity import Tolerances, compare
from disc_stream_export.probes import HUGE, Probe, probes
from tests.support.tiny_bundle import CENTROIDS, write_tiny_bundle

pytestmark = pytest.mark.numeric

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


def check(net: nn.Module, bundle: Bundle, x: Float32Array, synthetic: Sequence[Probe] = ()) -> ParityInfo:
    return compare(net, bundle, x, Tolerances(), synthetic)


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


def test_who_is_wrong_is_told_by_double_precision(bundle: Bundle) -> None:
    with pytest.raises(
        ParityError, match=r"The graph is wrong: .* torch is off by \d.\de-07, the graph"
    ) as found:
        check(MeanNet(embedding=0.05), bundle, windows(marked=9))
    assert "deploy/pins" in (found.value.remedy or "")


def test_where_float32_is_not_enough_the_channel_is_named(bundle: Bundle) -> None:
    with pytest.raises(ParityError, match="float32 is not enough for this network, most of all") as found:
        check(RoughChannel(), bundle, windows(marked=9))
    assert "channel 'acc_y'" in found.value.message
    assert "--channels acc_x,acc_z" in (found.value.remedy or "")


def test_differences_are_told_in_radii_of_a_cluster() -> None:
    random = np.random.default_rng(0)
    z = random.normal(size=(500, 2)).astype(np.float32)
    far = np.square(z).sum(1, keepdims=True)
    q = np.ones_like(far)
    one = Encoded(z, q, far)
    assert radius(one) == pytest.approx(np.median(np.sqrt(far)), rel=1e-4)
    z[0] = 1e30  # one window far off does not make all differences small
    assert radius(Encoded(z, q, far)) < 2.0
    at = Encoded(np.zeros((4, 2), np.float32), np.ones((4, 1), np.float32), np.full((4, 1), 9.0, np.float32))
    off = Encoded(np.full((4, 2), 0.03, np.float32), at.q, np.full((4, 1), 9.06, np.float32))
    found = Differences.between(off, at, 2.0)
    np.testing.assert_allclose(found.judged["embedding"], 0.03 * np.sqrt(2) / 3.0, rtol=1e-4)
    np.testing.assert_allclose(found.judged["distance"], 0.01 / 3.0, rtol=1e-2)


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


def still(n: int = 20, marked: int | None = None) -> Float32Array:
    x = np.zeros((n, 8, 3), dtype=np.float32)
    if marked is not None:
        x[marked, 0, 0] = MARK
    return x


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (MeanNet(q=0.01), r"'q' of the graph differs from torch by 1\.00e-02 in window 4 of dead sensors; "),
        (MeanNet(q=float("nan")), r"'q' of the network itself is not finite in window 4 of dead sensors"),
    ],
    ids=["differs", "not finite"],
)
def test_probes_are_compared_too(net: nn.Module, message: str, bundle: Bundle) -> None:
    with pytest.raises(ParityError, match=message):
        check(net, bundle, windows(), [Probe("dead sensors", still(marked=4))])


class Rough(MeanNet):
    """Computes a difference of large numbers, of which single precision keeps little."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        z, q, distance = super().forward(x)
        marked = x[:, 0, :1] == MARK
        return torch.where(marked, (z + 3e6) - 3e6, z), q, distance


class RoughChannel(MeanNet):
    """Loses the digits of its second channel."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        z, q, distance = super().forward(x)
        lost = (x[:, :, 1].mean(1) * 1e6 + 3e6) / 1e6 - 3.0 - z[:, 1]
        return z + 1e6 * lost[:, None], q, distance


def test_where_single_precision_says_no_more_probes_ask_for_no_more(bundle: Bundle) -> None:
    x = windows(20)
    x[:, 0, 0] = MARK
    assert check(Rough(), bundle, windows(), [Probe("rough", x)]).n_probes == 20
    with pytest.raises(ParityError, match=r"'embedding' of the graph differs"):
        check(MeanNet(embedding=2e-2), bundle, windows(), [Probe("rough", x)])


def test_probes_are_of_every_kind_and_the_same_every_time() -> None:
    x = windows(300)
    made, again = list(probes(x)), list(probes(x))
    by_kind = {probe.kind: probe.windows for probe in made}
    assert len(by_kind) == len(made) == 12
    for one, other in zip(made, again, strict=True):
        np.testing.assert_array_equal(one.windows, other.windows)
        assert one.windows.dtype == np.float32
        assert one.windows.shape[1:] == (8, 3)
        assert np.isfinite(one.windows).all()
    assert not by_kind["zeros"].any()
    assert (np.ptp(by_kind["constants"], axis=1) == 0).all()
    dead = np.ptp(by_kind["one dead channel"], axis=1) == 0
    assert (dead.sum(axis=1) == 1).all()
    assert dead.any(axis=0).all()  # every channel has its turn
    assert (np.ptp(by_kind["one live channel"], axis=1) > 0).sum(axis=1).tolist() == [1] * 24
    assert np.abs(by_kind["huge samples"]).max() >= HUGE
    steps = by_kind["rest with single steps"]
    assert ((np.diff(np.sort(steps, axis=1), axis=1) != 0).sum(axis=1) == 1).all()


def test_the_readable_form_is_compared_too(bundle: Bundle) -> None:
    x = windows(20, marked=9)
    compare(MeanNet(), bundle, x, Tolerances(), (), MeanNet())
    message = (
        r"'q' of the graph differs from torch by 1\.00e-02 in window 9 of those compared with models/ref"
    )
    with pytest.raises(ParityError, match=message):
        compare(MeanNet(), bundle, x, Tolerances(), (), MeanNet(q=0.01))


def test_no_windows_are_no_proof(bundle: Bundle) -> None:
    with pytest.raises(ParityError, match="no sample windows"):
        check(MeanNet(), bundle, windows(0))


def test_a_graph_that_does_not_fit_the_manifest_is_a_parity_error(bundle: Bundle, tmp_path: Path) -> None:
    smaller = bundle.manifest.model_copy(update={"n_clusters": 2})
    with pytest.raises(ParityError, match=r"q is \[3\] a window, the manifest says \[2\]"):
        check(MeanNet(), Bundle(tmp_path, smaller, bundle.model_bytes, bundle.catalogue), windows())
