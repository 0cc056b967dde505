"""The layers with a hand-written backward pass: both ways, and stacked with feedback; against autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from disc_stream.models.both_ways import scan_both_ways
from disc_stream.models.feedback import run_feedback
from disc_stream.models.layers import GRUWeights
from disc_stream.models.scan import torch_step

D, T, B, H, C = 2, 4, 3, 3, 2


def doubles(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def layer(inputs: int, seed: int) -> GRUWeights:
    shapes = ((D, 3 * H, inputs), (D, 3 * H, H), (D, 3 * H), (D, 3 * H))
    return GRUWeights(*(doubles(*shape, seed=10 * seed + n) for n, shape in enumerate(shapes)))


def stack(layers: int, feedback: str) -> tuple[list[GRUWeights], tuple[Tensor, Tensor] | None]:
    """Weights of a stack whose bottom layer reads the output (C values) or the top layer's state."""
    widths = [C if feedback == "output" else H] + [H] * (layers - 1)
    feed = (doubles(D, H, C, seed=1), doubles(D, 1, C, seed=2)) if feedback == "output" else None
    return [layer(width, 3 + number) for number, width in enumerate(widths)], feed


@pytest.mark.parametrize("steps", [1, 2, T])
def test_gradients_both_ways_are_those_of_finite_differences(steps: int) -> None:
    x, weights = doubles(steps, B, C, seed=0), layer(C, 1)
    assert torch.autograd.gradcheck(lambda x, *w: scan_both_ways(x, GRUWeights(*w)), (x, *weights))


@pytest.mark.parametrize("wanted", [0, 1], ids=["sequence", "last"])
def test_each_result_alone_carries_its_gradient(wanted: int) -> None:
    """Of a stack's top layer only the last states are used, of the others only the sequence."""
    x, weights = doubles(T, B, C, seed=0), layer(C, 1)
    assert torch.autograd.gradcheck(lambda x, *w: scan_both_ways(x, GRUWeights(*w))[wanted], (x, *weights))


@pytest.mark.parametrize("feedback", ["output", "hidden"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_gradients_with_feedback_are_those_of_finite_differences(layers: int, feedback: str) -> None:
    weights, feed = stack(layers, feedback)
    flat = [part for w in weights for part in w]

    def run(h0: Tensor, *rest: Tensor) -> Tensor:
        given = (rest[0], rest[1]) if feed else None
        parts = rest[2:] if feed else rest
        grouped = [GRUWeights(*parts[i : i + 4]) for i in range(0, len(parts), 4)]
        return run_feedback(h0, grouped, given, T)

    assert torch.autograd.gradcheck(run, (doubles(D, B, H, seed=0), *(feed or ()), *flat))


@pytest.mark.numeric
@pytest.mark.parametrize("feedback", ["output", "hidden"])
def test_one_step_reads_nothing(feedback: str) -> None:
    """Nothing has been made yet that could be fed back: those weights have no gradient but a zero one."""
    weights, feed = stack(2, feedback)
    run_feedback(doubles(D, B, H, seed=0), weights, feed, 1).sum().backward()
    assert weights[0].w_ih.grad is not None
    assert weights[0].b_ih.grad is not None
    assert (weights[0].w_ih.grad == 0).all()
    assert (weights[0].b_ih.grad != 0).any()
    assert feed is None or feed[0].grad is None or bool((feed[0].grad == 0).all())


def plain_feedback(h0: Tensor, weights: list[GRUWeights], feed: tuple[Tensor, Tensor] | None) -> Tensor:
    """The definition, differentiated by autograd."""
    states, tops = [h0] * len(weights), []
    x = h0.new_zeros(D, B, weights[0].w_ih.shape[2])
    for _ in range(T):
        for number, w in enumerate(weights):
            gi = x @ w.w_ih.transpose(1, 2) + w.b_ih.unsqueeze(1)
            states[number] = torch_step(gi, states[number], w.w_hh.transpose(1, 2), w.b_hh.unsqueeze(1))
            x = states[number]
        tops.append(x)
        x = x @ feed[0] + feed[1] if feed else x
    return torch.stack(tops, dim=1)


@pytest.mark.numeric
@pytest.mark.parametrize("feedback", ["output", "hidden"])
def test_feedback_equals_single_steps_under_autograd(feedback: str) -> None:
    h0 = doubles(D, B, H, seed=0)
    weights, feed = stack(2, feedback)
    parameters = (h0, *(feed or ()), *(part for w in weights for part in w))
    actual, expected = run_feedback(h0, weights, feed, T), plain_feedback(h0, weights, feed)
    torch.testing.assert_close(actual, expected)
    target = torch.arange(1.0, 1.0 + expected.numel(), dtype=torch.float64).view_as(expected)
    wanted = torch.autograd.grad((expected * target).sum(), parameters)
    for got, want in zip(torch.autograd.grad((actual * target).sum(), parameters), wanted, strict=True):
        torch.testing.assert_close(got, want)


def test_without_gradients_the_states_are_the_same() -> None:
    """Then the buffers of the backward pass are left out, and one step's memory serves all steps."""
    h0 = doubles(D, B, H, seed=0)
    weights, feed = stack(2, "output")
    x, both = doubles(T, B, C, seed=5), layer(C, 1)
    learned = run_feedback(h0, weights, feed, T), *scan_both_ways(x, both)
    with torch.no_grad():
        evaluated = run_feedback(h0, weights, feed, T), *scan_both_ways(x, both)
    for got, want in zip(evaluated, learned, strict=True):
        torch.testing.assert_close(got, want, atol=1e-14, rtol=1e-12)


def test_bfloat16_products_stay_close_and_reach_every_gradient() -> None:
    weights, feed = stack(2, "output")
    assert feed is not None
    single = [GRUWeights(*(p.detach().float().requires_grad_() for p in w)) for w in weights]
    w_feed, b_feed = (p.detach().float().requires_grad_() for p in feed)
    h0 = doubles(D, B, H, seed=0).detach().float().requires_grad_()
    parameters = (h0, w_feed, b_feed, *(part for w in single for part in w))
    exact = run_feedback(h0, single, (w_feed, b_feed), T)
    rough = run_feedback(h0, single, (w_feed, b_feed), T, torch.bfloat16)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, atol=0.05, rtol=0)
    wanted = torch.autograd.grad(exact.sum(), parameters)
    for got, want in zip(torch.autograd.grad(rough.sum(), parameters), wanted, strict=True):
        assert torch.nn.functional.cosine_similarity(got.flatten(), want.flatten(), dim=0) > 0.99
