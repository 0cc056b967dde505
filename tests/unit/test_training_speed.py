"""The training benchmark: its reference is the same network, and its figures add up."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from disc_stream.benchmarks.eager import ConvCell, EagerAutoencoder
from disc_stream.benchmarks.training_speed import measure, training_flops
from disc_stream.errors import ConfigError
from disc_stream.models.autoencoder import MultiTaskAutoencoder
from disc_stream.training.presets import resolve

TINY = {"hidden": 6, "decoder_hidden": 6, "embedding": 4, "batch_size": 8}


def windows(n: int = 20) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 12, 3)).astype(np.float32)


def copy_gru(cell: torch.nn.Module, weights: tuple[torch.Tensor, ...], number: int) -> None:
    """Put the weights of one of our stacked GRUs into a cell of the reference."""
    w_ih, w_hh, b_ih, b_hh = (part[number] for part in weights)
    with torch.no_grad():
        if isinstance(cell, torch.nn.GRUCell):
            for name, part in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), weights, strict=True):
                getattr(cell, name).copy_(part[number])
            return
        cell.of_input.weight.copy_(w_ih.unsqueeze(2))  # type: ignore[union-attr,operator]
        cell.of_input.bias.copy_(b_ih)  # type: ignore[union-attr,operator]
        cell.of_state.weight.copy_(w_hh.unsqueeze(2))  # type: ignore[union-attr,operator]
        cell.of_state.bias.copy_(b_hh)  # type: ignore[union-attr,operator]


@pytest.mark.parametrize("cell", [ConvCell, torch.nn.GRUCell])
def test_the_reference_computes_what_disc_computes(cell: type[torch.nn.Module]) -> None:
    config = resolve("released", TINY)
    ours = MultiTaskAutoencoder(config.network, 3, torch.Generator().manual_seed(0)).eval()
    eager = EagerAutoencoder(config.network, 3, cell).eval()
    for number, layer in enumerate(ours.encoder.layers):
        copy_gru(eager.forward_cells[number], layer.weights(), 0)  # type: ignore[operator]
        copy_gru(eager.backward_cells[number], layer.weights(), 1)  # type: ignore[operator]
    for decoder in range(2):
        for number, layer in enumerate(ours.decoders.layers):
            copy_gru(eager.decoders[decoder][number], layer.weights(), decoder)  # type: ignore[index,operator]
        with torch.no_grad():
            eager.outputs[decoder].weight.copy_(ours.decoders.w_out[decoder].t())  # type: ignore[union-attr,operator]
            eager.outputs[decoder].bias.copy_(ours.decoders.b_out[decoder, 0])  # type: ignore[union-attr,operator]
    eager.bottleneck[0].load_state_dict(ours.encoder.bottleneck.linear.state_dict())
    eager.context[0].load_state_dict(ours.decoders.context.linear.state_dict())  # type: ignore[union-attr,arg-type]
    x = torch.from_numpy(windows())
    with torch.no_grad():
        wanted = sum(ours.encode_with_losses(x)[1].values())
        torch.testing.assert_close(eager(x), wanted, atol=1e-5, rtol=1e-5)


def test_operations_are_counted_by_hand() -> None:
    config = resolve("released", {"hidden": 2, "decoder_hidden": 2, "layers": 1, "decoder_layers": 1})
    # A step: 2 directions of 3·2·(3 + 2), 2 decoders of 3·2·(3 + 2) + 2·3; a product is a multiplication and
    # an addition; 4 steps; backwards is twice forwards.
    assert training_flops(config.network, 8, 3) == 3 * 2 * 4 * (2 * 30 + 2 * (30 + 6))  # type: ignore[arg-type]


def test_figures_add_up() -> None:
    facts = measure(windows(), resolve("released", TINY), rounds=2, device_name="cpu")
    assert facts["measured_batches"] == 2
    assert facts["batches_per_epoch"] == 3
    ours, eager = facts["ours"], facts["eager_fp32"]
    assert ours["batch_s_min"] <= ours["batch_s_median"] <= ours["batch_s_max"]
    assert ours["epoch_s"] == pytest.approx(3 * ours["batch_s_median"])
    assert facts["ratio"] == pytest.approx(eager["batch_s_median"] / ours["batch_s_median"])
    assert facts["windows_per_s"] == pytest.approx(8 / ours["batch_s_median"])
    assert 0 < facts["share_of_peak"] == pytest.approx(facts["gflop_per_s"] / facts["peak_gflop_per_s"])


def test_shapes_without_a_reference_are_refused() -> None:
    with pytest.raises(ConfigError, match="the reference is written for the layout 'channels'"):
        measure(windows(), resolve("small"), rounds=1, device_name="cpu")


def test_the_command_prints_json() -> None:
    settings = [part for name, value in TINY.items() for part in ("--set", f"{name}={value}")]
    command = [
        sys.executable,
        "-m",
        "disc_stream",
        "benchmark",
        "train",
        "--batches",
        "1",
        "--json",
        *settings,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin", "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["dataset"] == "noise"
    assert facts["windows"] == 7352
    assert facts["ratio"] > 0
