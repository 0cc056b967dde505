"""The recurrence with its hand-written backward pass, against autograd and the definition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from disc_stream.models.scan import scan_gru, scan_gru_paper, torch_step

D, T, B, H = 2, 5, 3, 4


def doubles(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("blocks", [3, 4])
def test_gradients_are_those_of_finite_differences(blocks: int) -> None:
    gi = doubles(D, T, B, 3 * H, seed=1)
    parameters = (
        doubles(D, B, H, seed=2),
        doubles(D, H, blocks * H, seed=3),
        doubles(D, 1, blocks * H, seed=4),
    )
    assert torch.autograd.gradcheck(lambda *a: scan_gru(*a, T), (gi, *parameters))


def test_gradients_without_input() -> None:
    parameters = (doubles(D, B, H, seed=2), doubles(D, H, 4 * H, seed=3), doubles(D, 1, 4 * H, seed=4))
    assert torch.autograd.gradcheck(lambda *a: scan_gru(None, *a, T), parameters)


@pytest.mark.numeric
def test_equals_single_steps_under_autograd() -> None:
    gi, h0 = doubles(D, T, B, 3 * H, seed=1), doubles(D, B, H, seed=2)
    w, b = doubles(D, H, 3 * H, seed=3), doubles(D, 1, 3 * H, seed=4)
    h, states = h0, []
    for gi_t in gi.unbind(1):
        h = torch_step(gi_t, h, w, b)
        states.append(h)
    expected = torch.stack(states, dim=1)
    weights = torch.arange(1.0, 1.0 + expected.numel(), dtype=torch.float64).view_as(expected)
    wanted = torch.autograd.grad((expected * weights).sum(), (gi, h0, w, b))
    actual = scan_gru(gi, h0, w, b, T)
    torch.testing.assert_close(actual, expected)
    for got, want in zip(torch.autograd.grad((actual * weights).sum(), (gi, h0, w, b)), wanted, strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.numeric
def test_the_papers_form_follows_equations_1_to_4() -> None:
    """Two steps of one unit, worked out with every gate written as in the paper.

    g (the paper's gate on h in the candidate) is PyTorch's r, and the paper's r is PyTorch's z.
    """
    gi = doubles(1, 2, 1, 3, seed=5)
    h0, w, b = doubles(1, 1, 1, seed=6), doubles(1, 1, 3, seed=7), doubles(1, 1, 3, seed=8)
    h, expected = h0.item(), []
    for t in range(2):
        x_g, x_r, x_c = gi[0, t, 0].tolist()
        w_g, w_r, w_c = w[0, 0].tolist()
        b_g, b_r, b_c = b[0, 0].tolist()
        g = 1 / (1 + torch.tensor(-(x_g + w_g * h + b_g), dtype=torch.float64).exp().item())
        r = 1 / (1 + torch.tensor(-(x_r + w_r * h + b_r), dtype=torch.float64).exp().item())
        candidate = torch.tanh(torch.tensor(x_c + w_c * (g * h) + b_c, dtype=torch.float64)).item()
        h = (1 - r) * candidate + r * h
        expected.append(h)
    actual = scan_gru_paper(gi, h0, w, b)[0, :, 0, 0]
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.numeric
def test_the_two_forms_differ_by_the_place_of_the_reset_gate() -> None:
    gi, h0 = doubles(D, T, B, 3 * H, seed=1), doubles(D, B, H, seed=2)
    w, b = doubles(D, H, 3 * H, seed=3), doubles(D, 1, 3 * H, seed=4)
    assert not torch.allclose(scan_gru(gi, h0, w, b, T), scan_gru_paper(gi, h0, w, b))


def test_bfloat16_products_stay_close_and_reach_every_gradient() -> None:
    arguments = [
        doubles(D, T, B, 3 * H, seed=1),
        doubles(D, B, H, seed=2),
        doubles(D, H, 3 * H, seed=3),
        doubles(D, 1, 3 * H, seed=4),
    ]
    single = [a.detach().float().requires_grad_() for a in arguments]
    exact = scan_gru(*single, T)
    rough = scan_gru(*single, T, torch.bfloat16)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, atol=0.05, rtol=0)
    wanted = torch.autograd.grad(exact.sum(), single)
    for got, want in zip(torch.autograd.grad(rough.sum(), single), wanted, strict=True):
        assert torch.nn.functional.cosine_similarity(got.flatten(), want.flatten(), dim=0) > 0.99
