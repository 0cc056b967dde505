"""Refinement by hand: when the target is refreshed, and which clusters are revived."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from disc_stream.models.cluster import ClusterHead, hardening_loss, target_distribution
from disc_stream.training.phases import ClusterModel, Refinement, assign
from disc_stream.training.presets import resolve
from tests.support.motion import TINY


class Plain(nn.Module):
    """An autoencoder whose embedding of a window is its first sample, moved by a learned step."""

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Parameter(torch.zeros(2))

    def encode(self, windows: Tensor) -> Tensor:
        return windows[:, 0] + self.step

    def encode_with_losses(self, windows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.encode(windows), {}


def windows_at(*groups: tuple[int, float]) -> Tensor:
    """Windows (n, 1, 2) whose embeddings lie closely around points of the first axis: how many, and where."""
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(n, 1, 2, generator=generator) * 0.01 + torch.tensor([x, 0.0]) for n, x in groups]
    return torch.cat(parts)


def refinement(windows: Tensor, centroids: list[float], **changes: object) -> Refinement:
    head = ClusterHead(torch.tensor([[x, 0.0] for x in centroids]))
    kept = len(windows) if changes.get("refresh_steps") else 0
    return Refinement(ClusterModel(Plain(), head, kept), windows, resolve("small", {**TINY, **changes}))


def optimizer_of(phase: Refinement) -> torch.optim.Optimizer:
    """Adam after a step, so that it has moments of every parameter."""
    optimizer = torch.optim.Adam(phase.module.parameters(), lr=1e-9)
    phase.losses(torch.arange(phase.n_windows))["cah"].backward()
    optimizer.step()
    return optimizer


def target_now(phase: Refinement, windows: Tensor) -> Tensor:
    model = phase.module
    return target_distribution(assign(model.autoencoder.encode(windows), model.head.centroids).detach())  # type: ignore[operator]


# -- the target ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refresh_steps", "refreshed"),
    [
        (0, [True, True, True, True, True]),
        (3, [True, True, True, True, True]),  # 72 windows in batches of 32: three steps an epoch
        (6, [False, True, False, True, True]),  # the last epoch always is looked at
        (9, [False, False, True, False, True]),
        (100, [False, False, False, False, True]),
    ],
)
def test_the_target_is_refreshed_every_so_many_steps(refresh_steps: int, refreshed: list[bool]) -> None:
    windows = windows_at((40, -1.0), (32, 1.0))
    phase = refinement(windows, [-1.0, 1.0], refresh_steps=refresh_steps, refine_epochs=5)
    phase.prepare()
    optimizer = optimizer_of(phase)
    everything = torch.arange(len(windows))
    target = target_now(phase, windows)
    for epoch, expected in enumerate(refreshed):
        with torch.no_grad():
            phase.module.head.centroids[0, 1] += 0.3  # the weights move on in every epoch
        end = phase.end_epoch(epoch, optimizer)
        if expected:
            target = target_now(phase, windows)
        assert (end.label_change is not None) is expected, epoch
        q = assign(phase.module.autoencoder.encode(windows), phase.module.head.centroids)  # type: ignore[operator]
        torch.testing.assert_close(phase.losses(everything)["cah"], hardening_loss(q, target))


def test_the_change_of_labels_is_that_since_the_last_look() -> None:
    windows = windows_at((40, -1.0), (32, 1.0))
    phase = refinement(windows, [-1.0, 1.0], refresh_steps=6, refine_epochs=4)
    phase.prepare()
    optimizer = optimizer_of(phase)
    assert phase.end_epoch(0, optimizer) == (False, None, ())
    with torch.no_grad():
        phase.module.head.centroids.copy_(phase.module.head.centroids.flip(0))
    assert phase.end_epoch(1, optimizer) == (False, 1.0, ())  # all labels have changed
    assert phase.end_epoch(2, optimizer) == (False, None, ())
    assert phase.end_epoch(3, optimizer) == (True, 0.0, ())  # none has: it is done


def test_a_kept_target_serves_on_after_a_checkpoint() -> None:
    windows = windows_at((40, -1.0), (32, 1.0))
    first = refinement(windows, [-1.0, 1.0], refresh_steps=6)
    first.prepare()
    kept = first.module.target.clone()
    with torch.no_grad():
        first.module.head.centroids[0, 1] += 1.0
    again = Refinement(first.module, windows, resolve("small", {**TINY, "refresh_steps": 6}))
    again.prepare()
    torch.testing.assert_close(again.module.target, kept)
    q = assign(again.module.autoencoder.encode(windows), again.module.head.centroids)  # type: ignore[operator]
    torch.testing.assert_close(again.losses(torch.arange(72))["cah"], hardening_loss(q, kept))


# -- clusters that lose their windows -----------------------------------------------------------------


@pytest.mark.parametrize(("n_left", "revived"), [(0, True), (1, True), (2, True), (3, False), (30, False)])
def test_a_cluster_with_a_hundredth_of_its_share_is_revived(n_left: int, revived: bool) -> None:
    """Of 600 windows in three clusters a share is 200, and a hundredth of that 2."""
    windows = windows_at((300, -5.0), (300 - n_left, 5.0), (n_left, 100.0))
    phase = refinement(windows, [-5.0, 5.0, 100.0])
    phase.prepare()
    optimizer = optimizer_of(phase)
    moments = optimizer.state[phase.module.head.centroids]
    moments["exp_avg"].fill_(1.0)
    moments["exp_avg_sq"].fill_(1.0)
    end = phase.end_epoch(0, optimizer)
    assert end.reseeded == ((2,) if revived else ())
    assert end.done is not revived  # labels have not changed, but a new centroid has to settle
    for name in ("exp_avg", "exp_avg_sq"):  # of what it was before, and of no other
        assert moments[name][:, 0].tolist() == [1.0, 1.0, 0.0 if revived else 1.0]


def test_several_clusters_are_revived_one_after_another() -> None:
    """Each goes where windows are far from all centroids there are by then."""
    windows = windows_at((200, 0.0), (100, 8.0), (100, -8.0))
    phase = refinement(windows, [0.0, 500.0, -500.0])
    phase.prepare()
    end = phase.end_epoch(0, optimizer_of(phase))
    assert end.reseeded == (1, 2)
    found = sorted(phase.module.head.centroids[:, 0].tolist())
    assert found == pytest.approx([-8.0, 0.0, 8.0], abs=0.1)
    labels = assign(phase.module.autoencoder.encode(windows), phase.module.head.centroids).argmax(1)  # type: ignore[operator]
    assert sorted(labels.bincount(minlength=3).tolist()) == [100, 100, 200]
