"""Equations 13–15 against values worked by hand, in torch and in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from disc_stream.clustering import assignment
from disc_stream.models.cluster import ClusterHead, hardening_loss, soft_assignment, target_distribution

pytestmark = pytest.mark.numeric

# Two points and two centroids on a line.
#   z = (0, 3), μ = (1, 3)
#   squared distances: 0 -> 1, 9      3 -> 4, 0
#   1/(1 + d²):        0 -> 1/2, 1/10  3 -> 1/5, 1
#   equation 13: q_1 = (1/2, 1/10) / (3/5) = (5/6, 1/6);  q_2 = (1/5, 1) / (6/5) = (1/6, 5/6)
Z, MU = [[0.0], [3.0]], [[1.0], [3.0]]
Q = [[5 / 6, 1 / 6], [1 / 6, 5 / 6]]
# Equation 14: both columns of Q sum to 1, so p_1 ∝ (25/36, 1/36) = (25/26, 1/26); p_2 mirrored.
P = [[25 / 26, 1 / 26], [1 / 26, 25 / 26]]
# Equation 15, per row: 25/26 ln((25/26)/(5/6)) + 1/26 ln((1/26)/(1/6)) = 25/26 ln(15/13) + 1/26 ln(3/13)
KL = 25 / 26 * math.log(15 / 13) + 1 / 26 * math.log(3 / 13)

# With unequal columns the frequency counts: q = ((3/4, 1/4), (1/2, 1/2)), column sums 5/4 and 3/4.
#   row 1: (9/16)/(5/4) = 9/20, (1/16)/(3/4) = 1/12 -> sum 32/60 -> (27/32, 5/32)
#   row 2: (1/4)/(5/4) = 1/5,   (1/4)/(3/4) = 1/3  -> sum 8/15  -> (3/8, 5/8)
Q_UNEQUAL = [[3 / 4, 1 / 4], [1 / 2, 1 / 2]]
P_UNEQUAL = [[27 / 32, 5 / 32], [3 / 8, 5 / 8]]


def tensor(values: list[list[float]]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_equation_13() -> None:
    torch.testing.assert_close(soft_assignment(tensor(Z), tensor(MU)), tensor(Q))
    np.testing.assert_allclose(assignment.soft_assignment(np.array(Z), np.array(MU)), Q, rtol=1e-12)


@pytest.mark.parametrize(("q", "p"), [(Q, P), (Q_UNEQUAL, P_UNEQUAL)])
def test_equation_14(q: list[list[float]], p: list[list[float]]) -> None:
    torch.testing.assert_close(target_distribution(tensor(q)), tensor(p))
    np.testing.assert_allclose(assignment.target_distribution(np.array(q)), p, rtol=1e-12)


def test_equation_15_is_a_mean_over_the_windows() -> None:
    assert hardening_loss(tensor(Q), tensor(P)).item() == pytest.approx(KL, rel=1e-12)
    twice = hardening_loss(tensor(Q).repeat(3, 1), tensor(P).repeat(3, 1))
    assert twice.item() == pytest.approx(KL, rel=1e-12)
    assert hardening_loss(tensor(P), tensor(P)).item() == 0.0


def test_a_certain_assignment_gives_no_nan() -> None:
    q = torch.tensor([[1.0, 0.0]], requires_grad=True)
    loss = hardening_loss(q, torch.tensor([[1.0, 0.0]]))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.isfinite(q.grad if q.grad is not None else torch.tensor(math.nan)).all()


def test_a_step_against_the_loss_draws_points_to_their_centroid() -> None:
    """The gradient of equation 15 pulls z towards the centroid it already prefers (Xie et al. 2016)."""
    head = ClusterHead(tensor(MU))
    z = tensor(Z).requires_grad_()
    hardening_loss(head(z), tensor(P)).backward()
    assert z.grad is not None
    assert head.centroids.grad is not None
    assert z.grad[0].item() < 0  # 0 moves up, towards 1
    assert head.centroids.grad[0].item() > 0  # and 1 moves down, towards 0
