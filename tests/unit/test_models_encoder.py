"""The encoder's two layouts, against torch.nn.GRU and against real convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from disc_stream.errors import ConfigError
from disc_stream.models.config import NetworkConfig
from disc_stream.models.encoder import RecurrentEncoder, _fused, frames, run_both_ways
from disc_stream.models.inference import as_torch_gru, detached
from disc_stream.models.layers import ConvRecurrence, SeededDropout, reseed_dropout, weights_of

pytestmark = pytest.mark.numeric

B, T, C = 4, 12, 6


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def encoder(**network: object) -> RecurrentEncoder:
    config = NetworkConfig(**{"hidden": 8, "embedding": 5, "dropout": 0.0, **network})  # type: ignore[arg-type]
    return RecurrentEncoder(config, C, generator()).eval()


def inputs(seed: int = 1) -> Tensor:
    return torch.randn(B, T, C, generator=generator(seed))


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_layout_channels_is_torchs_gru(layers: int) -> None:
    net = encoder(layers=layers)
    gru = as_torch_gru([detached(w) for w in weights_of(net.layers)])
    x = inputs()
    outputs, final = gru(x)
    expected = torch.cat([final[-2], final[-1]], dim=1)
    actual = net.top_state(x)
    assert (actual - expected).abs().max() <= 1e-5
    # forward state at the end, backward state at the start
    assert (actual[:, :8] - outputs[:, -1, :8]).abs().max() <= 1e-5
    assert (actual[:, 8:] - outputs[:, 0, 8:]).abs().max() <= 1e-5


def test_layout_channels_has_the_gradients_of_torchs_gru() -> None:
    net = encoder()
    gru = as_torch_gru([detached(w) for w in weights_of(net.layers)])
    x = inputs()
    net.top_state(x).square().sum().backward()
    _, final = gru(x)
    final[-2:].square().sum().backward()
    first = weights_of(net.layers)[0]
    assert first.w_hh.grad is not None
    assert first.w_ih.grad is not None
    torch.testing.assert_close(first.w_hh.grad[1], gru.weight_hh_l0_reverse.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(first.w_ih.grad[0], gru.weight_ih_l0.grad, atol=1e-5, rtol=1e-4)


def test_the_librarys_fused_kernel_gives_the_same() -> None:
    """The path that CUDA takes, run on the CPU."""
    weights = weights_of(encoder().layers)[0]
    x = inputs().transpose(0, 1)
    ours = run_both_ways(x, weights, torch.float32, reset_after=True)
    fused = _fused(x, weights, torch.float32)
    targets = [torch.arange(1.0, 1.0 + part.numel()).view_as(part) for part in ours]
    gradients = []
    for result in (ours, fused):
        loss = sum((part * target).sum() for part, target in zip(result, targets, strict=True))
        gradients.append(torch.autograd.grad(loss, tuple(weights)))  # type: ignore[arg-type]
    for got, want in zip(ours, fused, strict=True):
        torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-5)
    for got, want in zip(*gradients, strict=True):
        torch.testing.assert_close(got, want, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("grid", [(1, 3), (2, 3), (4, 3), (3, 1)])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_convolutions_matrix_is_the_convolution(grid: tuple[int, int], kernel: int) -> None:
    in_maps, maps, cells = 2, 3, grid[0] * grid[1]
    layer = ConvRecurrence(1, in_maps, maps, grid, kernel, generator())
    x = torch.randn(B, in_maps, *grid, generator=generator(2))
    weights = layer.weights()
    as_matrix = functional.linear(x.flatten(1), weights.w_ih[0], weights.b_ih[0])
    image_kernel = layer.k_ih[0].view(3 * maps, in_maps, kernel, kernel)
    as_image = functional.conv2d(x, image_kernel, layer.b_ih[0], padding=kernel // 2)
    assert weights.w_ih.shape == (1, 3 * maps * cells, in_maps * cells)
    torch.testing.assert_close(as_matrix, as_image.flatten(1), atol=1e-5, rtol=1e-5)


def conv_gru(x: Tensor, layer: ConvRecurrence, direction: int, grid: tuple[int, int]) -> Tensor:
    """Equations 1–4 with real convolutions: the last state (B, maps · cells) over x (B, T, cells)."""
    maps = layer.hidden // layer.cells

    def conv(image: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        return functional.conv2d(image, kernel.view(*kernel.shape[:2], 3, 3), bias, padding=1)

    k_ih, k_hh = layer.k_ih[direction].split(maps), layer.k_hh[direction].split(maps)
    b_ih, b_hh = layer.b_ih[direction].split(maps), layer.b_hh[direction].split(maps)
    h = x.new_zeros(len(x), maps, *grid)
    for x_t in x.unflatten(2, (1, *grid)).unbind(1):
        g = torch.sigmoid(conv(x_t, k_ih[0], b_ih[0]) + conv(h, k_hh[0], b_hh[0]))
        r = torch.sigmoid(conv(x_t, k_ih[1], b_ih[1]) + conv(h, k_hh[1], b_hh[1]))
        candidate = torch.tanh(conv(x_t, k_ih[2], b_ih[2]) + conv(g * h, k_hh[2], b_hh[2]))
        h = (1 - r) * candidate + r * h
    return h.flatten(1)


def test_layout_grid_in_the_papers_form_is_a_convolutional_gru() -> None:
    net = encoder(layout="grid", hidden=4, layers=1, reset_after=False)
    layer = net.layers[0]
    assert isinstance(layer, ConvRecurrence)
    x = inputs()
    forward = conv_gru(x, layer, 0, (2, 3))
    backward = conv_gru(x.flip(1), layer, 1, (2, 3))
    torch.testing.assert_close(net.top_state(x), torch.cat([forward, backward], dim=1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("reset_after", [True, False])
def test_layout_grid_runs_through_two_layers(reset_after: bool) -> None:
    net = encoder(layout="grid", hidden=4, reset_after=reset_after).train()
    net(inputs()).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.layers.parameters())


def test_a_grid_needs_whole_sensors() -> None:
    with pytest.raises(ConfigError, match="multiple of axes=4 channels, got 6"):
        encoder(layout="grid", axes=4)


def test_frames_join_samples_in_order_and_repeat_the_last() -> None:
    x = torch.arange(10.0).view(1, 5, 2)
    assert frames(x, 2)[0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 8, 9]]
    assert frames(x, 1) is x or torch.equal(frames(x, 1), x)


def test_dropout_has_its_own_reproducible_masks() -> None:
    dropout = SeededDropout(0.5)
    x = torch.ones(1000)
    before = torch.get_rng_state()
    reseed_dropout(dropout, 7)
    first, second = dropout(x), dropout(x)
    reseed_dropout(dropout, 7)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(first, second)
    assert set(first.tolist()) == {0.0, 2.0}
    assert 0.4 < (first == 0).float().mean() < 0.6
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(dropout.eval()(x), x)


def test_building_a_network_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    encoder()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden", 0),
        ("kernel", 2),
        ("dropout", 1.0),
        ("layout", "plane"),
        ("feedback", "input"),
        ("frame", 0),
    ],
)
def test_a_network_that_cannot_be_is_refused(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field):
        NetworkConfig(**{field: value})  # type: ignore[arg-type]
