"""The readable forward pass and the fast one compute the same, in every shape that there is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from disc_stream.artifacts.manifest import ScalerInfo
from disc_stream.models.autoencoder import MultiTaskAutoencoder
from disc_stream.models.config import NetworkConfig
from disc_stream.models.inference import InferenceNet
from disc_stream.models.reference import ReferenceAutoencoder, ReferenceNet

C = 6
SHAPES: dict[str, dict[str, Any]] = {
    "released": {"squash": True, "context_norm": True, "decoder_layers": 2, "feedback": "output"},
    "one layer": {"layers": 1},
    "three layers": {"layers": 3, "decoder_layers": 3},
    "reset before": {"reset_after": False},
    "reset before, fed-back output": {"reset_after": False, "feedback": "output", "decoder_layers": 2},
    "frames": {"frame": 3},
    "grid": {"layout": "grid", "hidden": 4},
    "grid of the paper": {"layout": "grid", "hidden": 4, "reset_after": False, "kernel": 5},
    "grid of frames": {"layout": "grid", "hidden": 3, "frame": 2, "axes": 2},
}


def networks(shape: str) -> tuple[MultiTaskAutoencoder, NetworkConfig]:
    """A fast network with running statistics that do something, and its configuration."""
    sizes = {"hidden": 6, "decoder_hidden": 7, "embedding": 5}
    config = NetworkConfig(**{**sizes, **SHAPES[shape]})
    fast = MultiTaskAutoencoder(config, C, torch.Generator().manual_seed(0)).eval()
    random = torch.Generator().manual_seed(1)
    for part in fast.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.running_mean.normal_(generator=random)  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 2.0, generator=random)  # type: ignore[union-attr]
    return fast, config


def windows() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(9, 20, C)).astype(np.float32))


@pytest.mark.parametrize("shape", SHAPES)
def test_embeddings_and_losses_are_those_of_the_fast_form(shape: str) -> None:
    fast, config = networks(shape)
    reference = ReferenceAutoencoder(config, C).eval()
    reference.take(fast)
    x = windows()
    with torch.no_grad():
        z, losses = fast.encode_with_losses(x)
        torch.testing.assert_close(reference.encoder(x[:, :10]), z, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(reference(x), sum(losses.values()), atol=1e-5, rtol=1e-5)


def test_with_pytorchs_cells_too() -> None:
    fast, config = networks("released")
    reference = ReferenceAutoencoder(config, C, nn.GRUCell).eval()
    reference.take(fast)
    with torch.no_grad():
        losses = fast.encode_with_losses(windows())[1]
        torch.testing.assert_close(reference(windows()), sum(losses.values()), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_those_of_the_fast_form(shape: str) -> None:
    fast, config = networks(shape)
    reference = ReferenceAutoencoder(config, C).eval()
    reference.take(fast)
    sum(fast.encode_with_losses(windows())[1].values()).backward()  # type: ignore[union-attr]
    reference(windows()).backward()
    ours, theirs = fast.encoder.bottleneck.linear, reference.encoder.bottleneck[0]
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, atol=1e-5, rtol=1e-4)
    first, cell = fast.encoder.layers[0], reference.encoder.forward_cells[0]
    kernel = first.k_ih if config.layout == "grid" else first.w_ih
    grad = cell.of_input.weight.grad.reshape(kernel[0].shape)  # type: ignore[union-attr,operator]
    torch.testing.assert_close(kernel.grad[0], grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_exported_is_what_the_reference_says(shape: str) -> None:
    fast, config = networks(shape)
    scaler = ScalerInfo(kind="minmax", offset=[0.1 * c for c in range(C)], scale=[1.0 + c for c in range(C)])
    x = windows()[:, :10]
    with torch.no_grad():
        centroids = fast.encoder(x[:4])
        expected = ReferenceNet(fast.encoder, config, centroids, scaler)(x)
        for got, wanted in zip(InferenceNet(fast.encoder, centroids, scaler)(x), expected, strict=True):
            torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)


def test_the_reference_notices_another_kernel() -> None:
    """It does not share the fast form's matrices: a tap written to the wrong cell would be seen."""
    fast, config = networks("grid")
    reference = ReferenceAutoencoder(config, C).eval()
    reference.take(fast)
    with torch.no_grad():
        fast.encoder.layers[0].taps.copy_(fast.encoder.layers[0].taps.flip(0))  # type: ignore[operator,union-attr]
        z = fast.encode(windows())
        assert (reference.encoder(windows()[:, :10]) - z).abs().max() > 1e-3
