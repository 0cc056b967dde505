"""The trained network as it is used: raw physical units in; embedding, soft assignment and distances out."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from disc_stream.artifacts.manifest import ScalerInfo
from disc_stream.models.bounds import bounded, unless_nan
from disc_stream.models.cluster import soft_labels
from disc_stream.models.encoder import RecurrentEncoder, frames
from disc_stream.models.layers import GRUWeights, weights_of
from disc_stream.models.scan import paper_step


class InferenceNet(nn.Module):
    """Normalisation, encoder and Student-t assignment in one graph; what exports trace.

    The recurrence is a ``torch.nn.GRU`` that holds the encoder's weights (convolutions written out as
    matrices), except in the paper's form of the reset gate, which PyTorch does not have: there the steps
    are unrolled over the fixed input length. Always in evaluation mode.

    Args:
        encoder: the trained encoder; its weights are copied.
        centroids: (K, d).
        scaler: x' = (x - offset) * scale per channel.
    """

    offset: Tensor
    scale: Tensor
    centroids: Tensor

    def __init__(self, encoder: RecurrentEncoder, centroids: Tensor, scaler: ScalerInfo) -> None:
        super().__init__()
        layers = [detached(weights) for weights in weights_of(encoder.layers)]
        self.recurrence = as_torch_gru(layers) if encoder.reset_after else PaperRecurrence(layers)
        self.project, self.shift = _folded_bottleneck(encoder)
        self.frame = encoder.frame
        self.squash = encoder.bottleneck.squash
        self.n_channels = len(scaler.offset)
        # Of all samples of a step, so that a runtime has long rows to work on.
        for name, of_channels in (("offset", scaler.offset), ("scale", scaler.scale)):
            of_step = np.tile(np.array(of_channels, dtype=np.float32), self.frame)
            self.register_buffer(name, torch.from_numpy(of_step))
        self.register_buffer("centroids", centroids.detach().cpu().clone())
        self.requires_grad_(False)
        self.eval()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode the inputs of windows.

        Args:
            x: (B, input_samples, C) float32, in the channels' physical units.

        Returns:
            embedding (B, d); q (B, K), equation 13; squared Euclidean distance to each centroid (B, K).
        """
        _, top = self.recurrence(bounded((frames(x, self.frame) - self.offset) * self.scale))
        z = torch.cat([top[-2], top[-1]], dim=1) @ self.project + self.shift
        if self.squash:
            z = torch.tanh(z)
        z = unless_nan(z, x)
        return (z, *soft_labels(z, self.centroids))


class PaperRecurrence(nn.Module):
    """Bidirectional layers with the reset gate before the product (equations 1–4), unrolled.

    Args:
        layers: weights of each layer, forward and backward direction stacked.
    """

    def __init__(self, layers: list[GRUWeights]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.ParameterList(weights) for weights in layers)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, I) -> outputs (B, T, 2H) and the last layer's final states (2, B, H)."""
        h = x
        for layer in self.layers:
            w_ih, w_hh, b_ih, b_hh = cast("nn.ParameterList", layer)
            both = torch.stack([x, x.flip(1)])  # (2, B, T, I)
            gi = both @ w_ih.transpose(1, 2).unsqueeze(1) + b_ih[:, None, None]
            h = torch.zeros_like(gi[:, :, 0, : w_hh.shape[2]])
            states = []
            for gi_t in gi.unbind(2):
                h = paper_step(gi_t, h, w_hh.transpose(1, 2), b_hh.unsqueeze(1))
                states.append(h)
            forward, backward = torch.stack(states, dim=2).unbind(0)
            x = torch.cat([forward, backward.flip(1)], dim=2)
        return x, h


def as_torch_gru(layers: list[GRUWeights]) -> nn.GRU:
    """A ``torch.nn.GRU`` (bidirectional, batch first) with these weights."""
    hidden, inputs = layers[0].w_hh.shape[2], layers[0].w_ih.shape[2]
    gru = nn.GRU(
        inputs, hidden, num_layers=len(layers), bidirectional=True, batch_first=True, device="meta"
    ).to_empty(device="cpu")
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    with torch.no_grad():
        for number, weights in enumerate(layers):
            for direction, suffix in enumerate(("", "_reverse")):
                for name, value in zip(names, weights, strict=True):
                    getattr(gru, f"{name}_l{number}{suffix}").copy_(value[direction])
    return gru


def detached(weights: GRUWeights) -> GRUWeights:
    """The weights as constants on the CPU."""
    return GRUWeights(*(part.detach().cpu().clone() for part in weights))


def _folded_bottleneck(encoder: RecurrentEncoder) -> tuple[nn.Parameter, nn.Parameter]:
    """Linear and batch normalisation with its running statistics as one affine map, in double precision."""
    linear, norm = encoder.bottleneck.linear, encoder.bottleneck.norm
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None  # noqa: S101 - BatchNorm1d tracks its statistics by default
    assert var is not None  # noqa: S101
    gain = (norm.weight.double() / torch.sqrt(var.double() + norm.eps)).detach().cpu()
    project = linear.weight.double().detach().cpu() * gain.unsqueeze(1)
    shift = (linear.bias.double() - mean.double()).detach().cpu() * gain + norm.bias.double().detach().cpu()
    return nn.Parameter(project.t().float().contiguous()), nn.Parameter(shift.float())
