"""DCEC: a convolutional autoencoder of whole windows."""

from __future__ import annotations

from disc_stream.models.convolutional import ConvAutoencoder, ConvConfig
from disc_stream.training.families import (
    Family,
    WholeWindowNet,
    presets_of_whole_windows,
    whole_window,
)
from disc_stream.training.recipes.deep import DeepRecipe

CONVOLUTIONAL_FAMILY = Family(
    "cae",
    ConvAutoencoder,
    presets_of_whole_windows(ConvConfig(), ConvConfig(filters=(16, 32, 64))),
    whole_window,
    WholeWindowNet,
)

DCEC = DeepRecipe("dcec", "DCEC", CONVOLUTIONAL_FAMILY)
