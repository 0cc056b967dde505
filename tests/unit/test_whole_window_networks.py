"""The autoencoders of DEC, IDEC and DCEC, and BDEC's subset."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from disc_stream.errors import ConfigError
from disc_stream.models.convolutional import ConvAutoencoder, ConvConfig
from disc_stream.models.dense import StackedAutoencoder, StackedConfig
from disc_stream.training.recipes.stacked import balanced_subset

pytestmark = pytest.mark.numeric


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("shape", [(4, 1), (5, 3), (16, 2), (50, 7)])
@pytest.mark.parametrize("kind", [StackedAutoencoder, ConvAutoencoder])
def test_windows_of_any_shape_are_encoded_and_restored(kind: type, shape: tuple[int, int]) -> None:
    config = (
        StackedConfig(widths=(8, 6), embedding=3)
        if kind is StackedAutoencoder
        else ConvConfig(filters=(4, 5, 6), embedding=3)
    )
    net = kind(config, *shape, generator())
    x = torch.randn(6, *shape, generator=generator())
    z, losses = net.encode_with_losses(x)
    assert z.shape == (6, 3)
    torch.testing.assert_close(z, net.encode(x))
    losses["rec"].backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())


def test_the_continuation_of_a_window_does_not_count() -> None:
    net = ConvAutoencoder(ConvConfig(filters=(4, 5, 6), embedding=3), 13, 2, generator())
    x = torch.randn(3, 13, 2, generator=generator())
    z, losses = net.encode_with_losses(x)
    made = net.up(net.from_embedding(z).view(3, 6, -1))
    assert made.shape == (3, 2, 16)
    wanted = (made[:, :, :13].transpose(1, 2) - x).square().mean()
    torch.testing.assert_close(losses["rec"], wanted)


def test_a_stacked_autoencoder_can_learn_its_windows() -> None:
    net = StackedAutoencoder(StackedConfig(widths=(32,), embedding=4), 8, 2, generator())
    x = torch.randn(20, 1, 2, generator=generator()).expand(-1, 8, -1).contiguous()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    first = net.encode_with_losses(x)[1]["rec"].item()
    for _ in range(150):
        optimizer.zero_grad()
        loss = net.encode_with_losses(x)[1]["rec"]
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05 * first


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StackedConfig(widths=()), "widths must have at least one value"),
        (lambda: StackedConfig(widths=(3,), embedding=0), "embedding must be at least 1"),
        (lambda: ConvConfig(filters=(3, 4)), "filters and kernels must be as many"),
        (lambda: ConvConfig(kernels=(5, 4, 3)), "kernels must be odd"),
    ],
)
def test_shapes_that_cannot_be(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()  # type: ignore[operator]


def test_the_subset_is_balanced_over_regions_of_unequal_weight() -> None:
    random = np.random.default_rng(0)
    sizes = (600, 60, 60)
    z = np.concatenate([random.normal((12.0 * i, 0.0), size=(n, 2)) for i, n in enumerate(sizes)])
    subset = balanced_subset(z.astype(np.float32), 3, 0)
    assert len(set(subset.tolist())) == len(subset)
    large, *small = (int(((subset >= a) & (subset < b)).sum()) for a, b in ((0, 600), (600, 660), (660, 720)))
    before, after = 600 / 60, large / min(small)
    assert after < 0.6 * before
    assert min(small) > 0.5 * 60
