"""DSC's two decoders, which read nothing: all they know is the state they start from."""

from __future__ import annotations

import torch
from torch import Tensor

from disc_stream.models.both_ways import joint_bias
from disc_stream.models.config import NetworkConfig
from disc_stream.models.decoder import TwinDecoders
from disc_stream.models.layers import weights_of
from disc_stream.models.scan import product, scan_gru


class UnconditionalDecoders(TwinDecoders):
    """Two stacked GRU decoders without input.

    DSC (Abedin et al. 2020, "Towards deep clustering of human activities from wearables") starts both
    decoders from the embedding and lets them run; DISC's paper names the conditional input as its difference.

    Args:
        config: shape of the network; ``feedback`` and ``reset_after`` are not used.
        n_channels: C.
        generator: source of the initial weights.
    """

    def __init__(self, config: NetworkConfig, n_channels: int, generator: torch.Generator) -> None:
        super().__init__(config, n_channels, 0, generator)

    def states(self, h0: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
        """See ``TwinDecoders``."""
        bottom, *others = weights_of(self.layers)
        biases = joint_bias(bottom.b_ih, bottom.b_hh)
        states = scan_gru(None, h0, bottom.w_hh.transpose(1, 2), biases, steps, dtype)
        for w_ih, w_hh, b_ih, b_hh in others:
            read = states.to(dtype).flatten(1, 2)
            gi = product(b_ih.unsqueeze(1), read, w_ih.transpose(1, 2).to(dtype))
            gi = gi.view(len(gi), steps, h0.shape[1], -1)
            states = scan_gru(gi, h0, w_hh.transpose(1, 2), b_hh.unsqueeze(1), steps, dtype)
        return states
