"""The shape of the network, frozen and checked once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from disc_stream.errors import ConfigError

Layout = Literal["channels", "grid"]
Feedback = Literal["hidden", "output"]


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Hyper-parameters of the multi-task autoencoder.

    Args:
        layout: ``channels`` treats a sample as one vector (a kernel of 1 on a grid of one cell, which is
            a plain GRU); ``grid`` lays it out as sensors × axes and convolves over that.
        axes: channels per sensor, for ``grid``.
        kernel: odd side of the convolution kernel, for ``grid``.
        hidden: hidden units per direction; per cell of the grid for ``grid``.
        layers: encoder layers.
        frame: consecutive samples that one step of the recurrences takes (and makes) together; the paper has
            1, a larger one is that many times faster.
        reset_after: apply the reset gate after the recurrent product (PyTorch, cuDNN) instead of before
            it (the paper's equation 3).
        dropout: between encoder layers.
        embedding: size d of the embedding z.
        squash: tanh after the bottleneck's batch normalisation.
        context_norm: batch normalisation and tanh after the context's linear map.
        decoder_hidden: hidden units of each decoder.
        decoder_layers: layers of each decoder; all of them start from the context vector.
        feedback: what a decoder reads at t > 0: its last ``hidden`` state or its last ``output``.
    """

    layout: Layout = "channels"
    axes: int = 3
    kernel: int = 3
    hidden: int = 256
    layers: int = 2
    frame: int = 1
    reset_after: bool = True
    dropout: float = 0.2
    embedding: int = 256
    squash: bool = False
    context_norm: bool = False
    decoder_hidden: int = 512
    decoder_layers: int = 1
    feedback: Feedback = "hidden"

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: naming the field, its value and what is possible.
        """
        if self.layout not in ("channels", "grid"):
            raise ConfigError(f"layout must be 'channels' or 'grid', got {self.layout!r}")
        if self.feedback not in ("hidden", "output"):
            raise ConfigError(f"feedback must be 'hidden' or 'output', got {self.feedback!r}")
        sizes = (
            "axes",
            "kernel",
            "hidden",
            "layers",
            "frame",
            "embedding",
            "decoder_hidden",
            "decoder_layers",
        )
        for name in sizes:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.kernel % 2 == 0:
            raise ConfigError(f"kernel must be odd, got {self.kernel}")
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"dropout must be at least 0 and below 1, got {self.dropout}")

    def grid(self, n_channels: int) -> tuple[int, int]:
        """Rows and columns of the grid that one sample of ``n_channels`` is laid out on.

        Raises:
            ConfigError: if the channels do not fill the grid.
        """
        if self.layout == "channels":
            return (1, 1)
        if n_channels % self.axes:
            raise ConfigError(
                f"layout 'grid' needs a multiple of axes={self.axes} channels, got {n_channels}",
                remedy="Choose the channels of whole sensors, set axes, or use layout 'channels'",
            )
        return (n_channels // self.axes, self.axes)
