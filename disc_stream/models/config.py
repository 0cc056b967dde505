"""The shape of the network, frozen and checked once."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from disc_stream.errors import ConfigError
from disc_stream.models.settings import Settings

Layout = Literal["channels", "grid"]
Feedback = Literal["hidden", "output"]


class NetworkConfig(Settings):
    """Hyper-parameters of the multi-task autoencoder.

    Raises:
        ConfigError: naming the field, its value and what is possible.
    """

    layout: Layout = Field(
        "channels",
        title="Layout of a sample",
        description="`channels` treats a sample as one vector (a kernel of 1 on a grid of one cell, which is "
        "a plain GRU); `grid` lays it out as sensors × axes and convolves over that",
    )
    axes: int = Field(3, ge=1, title="Channels of a sensor", description="for `grid`")
    kernel: int = Field(3, ge=1, title="Kernel", description="odd side of the convolution kernel, for `grid`")
    hidden: int = Field(
        256, ge=1, title="Hidden units", description="for each direction; for `grid`, also of each cell"
    )
    layers: int = Field(2, ge=1, title="Encoder layers", description="of the recurrent encoder")
    frame: int = Field(
        1,
        ge=1,
        title="Samples of a step",
        description="consecutive samples that one step of the recurrences takes (and makes) together; the "
        "paper has 1, a larger one is that many times faster",
    )
    reset_after: bool = Field(
        True,
        title="Form of the reset gate",
        description="apply it after the recurrent product (PyTorch, cuDNN), not before it (equation 3)",
    )
    dropout: float = Field(0.2, ge=0, lt=1, title="Dropout", description="share, between encoder layers")
    embedding: int = Field(256, ge=1, title="Size of the embedding", description="d of the embedding z")
    squash: bool = Field(
        False, title="Bounded embedding", description="tanh after the bottleneck's batch normalisation"
    )
    context_norm: bool = Field(
        False,
        title="Normalised context",
        description="batch normalisation and tanh after the context's linear map",
    )
    decoder_hidden: int = Field(512, ge=1, title="Hidden units of a decoder", description="of each of both")
    decoder_layers: int = Field(
        1,
        ge=1,
        title="Decoder layers",
        description="of each decoder; all of them start from the context vector",
    )
    feedback: Feedback = Field(
        "hidden",
        title="What a decoder reads",
        description="at t > 0: its last `hidden` state or its last `output`",
    )

    @model_validator(mode="after")
    def _odd_kernel(self) -> Self:
        if self.kernel % 2 == 0:
            raise ConfigError(f"kernel must be odd, got {self.kernel}")
        return self

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
