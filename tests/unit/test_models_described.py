"""The discriminant of descriptors beside DISC's network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from disc_stream.models.described import Described, DescribedNet, evidence_of_targets, exponent_of_targets

pytestmark = pytest.mark.numeric


def described(n_samples: int = 32) -> Described:
    random = torch.Generator().manual_seed(4)
    found = Described(n_samples, 3, 5)
    found.project.copy_(torch.randn(found.project.shape, generator=random))
    found.shift.copy_(torch.randn(5, generator=random))
    return found


def windows(n: int, length: int) -> Tensor:
    return torch.randn(n, length, 3, generator=torch.Generator().manual_seed(9))


class Sure(nn.Module):
    """A network whose own assignment is given."""

    def __init__(self, q: Tensor) -> None:
        super().__init__()
        self.q = q

    def forward(self, _x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.q, self.q, self.q


@pytest.mark.parametrize("samples", [32, 33])
def test_a_whole_window_has_the_mean_of_its_halves(samples: int) -> None:
    net, x = described(samples), windows(7, samples)
    wanted = (net(x[:, :16]) + net(x[:, -16:])) / 2
    assert wanted.shape == (7, 5)
    torch.testing.assert_close(net(x), wanted)


def test_a_window_the_network_is_as_sure_of_as_it_was_taught_lies_on_its_centroid() -> None:
    centroids, apart = evidence_of_targets(4, 0.2)
    q = torch.full((4, 4), 0.05).fill_diagonal_(0.85)
    z, _, distance = DescribedNet(Sure(q), _silent(), _beside(centroids), 0.2)(windows(4, 16))
    torch.testing.assert_close(z[:, :4], centroids)
    torch.testing.assert_close(distance.diagonal(), torch.zeros(4))
    torch.testing.assert_close(distance[0, 1:], torch.full((3,), 2 * apart**2))


@pytest.mark.parametrize(("n_clusters", "doubt"), [(2, 0.1), (6, 0.1), (12, 0.3), (6, 0.0)])
def test_a_window_the_network_is_as_sure_of_as_it_was_taught_has_the_odds_of_its_targets_twice(
    n_clusters: int, doubt: float
) -> None:
    eps = max(doubt, 0.01) / n_clusters
    q = torch.full((n_clusters, n_clusters), eps).fill_diagonal_(1 - eps * (n_clusters - 1))
    centroids = _beside(evidence_of_targets(n_clusters, doubt)[0])
    _, found, _ = DescribedNet(Sure(q), _silent(), centroids, doubt)(windows(n_clusters, 16))
    likelihood = found[0] ** exponent_of_targets(n_clusters, doubt)
    torch.testing.assert_close(likelihood[0] / likelihood[1], (q[0, 0] / q[0, 1]) ** 2, rtol=1e-4, atol=0)


def test_both_add_up_as_log_probabilities_do() -> None:
    """Where the network leaves more than doubt, differences of distances are those of log probabilities."""
    doubt = 1e-2  # the least
    evidence, apart = evidence_of_targets(3, doubt)
    q = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    means = torch.tensor([[0.0, 1.0, 0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0]])
    net = DescribedNet(Sure(q), described(), torch.cat([evidence, apart**0.5 * means], dim=1), doubt)
    net.described.project.mul_(apart**0.5)
    net.described.shift.mul_(apart**0.5)
    x = windows(2, 16)
    _, _, distance = net(x)
    own = (described()(x)[:, None] - means).square().sum(2)
    wanted = 2.0 * torch.log(q + doubt / 3) - own
    got = -distance / apart
    np.testing.assert_allclose(got - got[:, :1], wanted - wanted[:, :1], rtol=1e-3, atol=1e-2)


def test_a_window_that_is_not_a_number_has_no_label() -> None:
    centroids, _ = evidence_of_targets(4, 0.2)
    x = windows(4, 16)
    x[1, 3, 0] = torch.nan
    z, q, _ = DescribedNet(Sure(torch.full((4, 4), 0.25)), _silent(), _beside(centroids), 0.2)(x)
    assert torch.isnan(z).all(1).tolist() == torch.isnan(q).all(1).tolist() == [False, True, False, False]


def _silent() -> Described:
    return Described(32, 3, 5)


def _beside(centroids: Tensor) -> Tensor:
    return torch.cat([centroids, torch.zeros(len(centroids), 5)], dim=1)
