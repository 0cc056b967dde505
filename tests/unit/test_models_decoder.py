"""The conditional decoders: what they start from, what they read, what they give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from disc_stream.models.autoencoder import MultiTaskAutoencoder
from disc_stream.models.config import NetworkConfig
from disc_stream.models.decoder import ConditionalDecoders
from disc_stream.models.decoder_free import UnconditionalDecoders
from disc_stream.models.layers import weights_of

pytestmark = pytest.mark.numeric

B, N, C = 4, 7, 3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def decoders(**network: Any) -> ConditionalDecoders:
    config = NetworkConfig(**{"embedding": 5, "decoder_hidden": 6, **network})
    return ConditionalDecoders(config, C, generator()).eval()


def embeddings() -> Tensor:
    return torch.randn(B, 5, generator=generator(1))


@pytest.mark.parametrize("feedback", ["hidden", "output"])
@pytest.mark.parametrize("steps", [1, 2, N])
def test_the_merged_matrix_is_the_plain_recurrence(feedback: str, steps: int) -> None:
    net = decoders(feedback=feedback)
    h0 = torch.randn(2, B, 6, generator=generator(2))
    torch.testing.assert_close(
        net._merged(h0, steps, torch.float32),
        net._step_by_step(h0, steps, torch.float32),
        atol=1e-5,
        rtol=1e-4,
    )


@pytest.mark.parametrize("feedback", ["hidden", "output"])
@pytest.mark.parametrize("layers", [2, 3])
def test_stacked_layers_are_the_plain_recurrence(feedback: str, layers: int) -> None:
    net = decoders(feedback=feedback, decoder_layers=layers)
    h0 = torch.randn(2, B, 6, generator=generator(2))
    torch.testing.assert_close(
        net._stacked(h0, N, torch.float32), net._step_by_step(h0, N, torch.float32), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("feedback", ["hidden", "output"])
def test_a_decoder_reads_zero_and_then_itself(feedback: str) -> None:
    """One decoder worked out with torch.nn.GRUCell: x_0 = 0, then x_t = h_{t-1} or its projection."""
    net = decoders(feedback=feedback)
    weights = weights_of(net.layers)[0]
    width = C if feedback == "output" else 6
    cell = torch.nn.GRUCell(width, 6)
    future = 1
    with torch.no_grad():
        for name, value in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), weights, strict=True):
            getattr(cell, name).copy_(value[future])
    z = embeddings()
    h, x, expected = net.context(z), torch.zeros(B, width), []
    for _ in range(N):
        h = cell(x, h)
        y = h @ net.w_out[future] + net.b_out[future]
        expected.append(y)
        x = y if feedback == "output" else h
    torch.testing.assert_close(net(z, N)[future], torch.stack(expected, dim=1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "network",
    [
        {},
        {"decoder_layers": 2, "feedback": "output"},
        {"decoder_layers": 2},
        {"reset_after": False},
        {"frame": 3},
    ],
    ids=str,
)
def test_outputs_have_the_inputs_shape(network: dict[str, Any]) -> None:
    rec, fut = decoders(**network)(embeddings(), N)
    assert rec.shape == fut.shape == (B, N, C)
    assert not torch.allclose(rec, fut)


def test_targets_are_the_flipped_first_half_and_the_second_half(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equation 11 by hand: decoders that always say 0 leave the mean squares of the two targets."""
    net = MultiTaskAutoencoder(NetworkConfig(hidden=2, embedding=2, decoder_hidden=2), 1, generator())
    window = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]).view(1, 5, 1).repeat(2, 1, 1)  # the fifth is not used
    monkeypatch.setattr(
        net.decoders, "forward", lambda z, n: (torch.zeros(2, n, 1), torch.full((2, n, 1), 4.0))
    )
    _, terms = net.encode_with_losses(window)
    assert terms["rec"].item() == pytest.approx((1.0 + 4.0) / 2)  # against 2, 1
    assert terms["fut"].item() == pytest.approx((1.0 + 0.0) / 2)  # 4 against 3, 4
    monkeypatch.setattr(net.decoders, "forward", lambda z, n: (window[:, :2].flip(1), window[:, 2:4]))
    _, terms = net.encode_with_losses(window)
    assert (terms["rec"].item(), terms["fut"].item()) == (0.0, 0.0)


def test_only_the_first_half_is_encoded() -> None:
    net = MultiTaskAutoencoder(NetworkConfig(hidden=3, embedding=2, decoder_hidden=2), C, generator()).eval()
    x = torch.randn(B, 8, C, generator=generator(3))
    changed = x.clone()
    changed[:, 4:] += 10.0
    torch.testing.assert_close(net.encode(x), net.encode(changed), atol=1e-6, rtol=1e-5)
    changed[:, 3] += 1.0
    assert not torch.allclose(net.encode(x), net.encode(changed))


@pytest.mark.parametrize("layers", [1, 2])
def test_unconditional_decoders_are_grus_that_read_zeros(layers: int) -> None:
    config = NetworkConfig(hidden=5, embedding=4, decoder_hidden=6, decoder_layers=layers)
    decoders = UnconditionalDecoders(config, 3, torch.Generator().manual_seed(0))
    z = torch.randn(7, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
    made = decoders(z, 9)
    context = decoders.context(z).expand(layers, -1, -1).contiguous()
    for number in range(2):
        gru = torch.nn.GRU(1, 6, num_layers=layers)
        with torch.no_grad():
            for level, layer in enumerate(decoders.layers):
                w_ih, w_hh, b_ih, b_hh = (part[number] for part in layer.weights())  # type: ignore[operator]
                if level:  # the bottom layer has no weights for what it does not read
                    getattr(gru, f"weight_ih_l{level}").copy_(w_ih)
                getattr(gru, f"weight_hh_l{level}").copy_(w_hh)
                getattr(gru, f"bias_ih_l{level}").copy_(b_ih)
                getattr(gru, f"bias_hh_l{level}").copy_(b_hh)
        states, _ = gru(torch.zeros(9, 7, 1), context)
        wanted = (states @ decoders.w_out[number] + decoders.b_out[number]).transpose(0, 1)
        torch.testing.assert_close(made[number], wanted, atol=1e-5, rtol=1e-4)
        (ours,) = torch.autograd.grad(made[number].square().sum(), z, retain_graph=True)
        (theirs,) = torch.autograd.grad(wanted.square().sum(), z, retain_graph=True)
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)
