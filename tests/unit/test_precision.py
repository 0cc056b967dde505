"""Full precision in evaluation, and the settings of the program around put back."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from disc_stream.models import precision
from disc_stream.models.precision import full_float32
from disc_stream.training.estimators import DISC
from disc_stream.training.phases import embed
from disc_stream.training.task import FitOptions
from tests.support.motion import TINY, grouped_windows


def settings() -> list[object]:
    return [getattr(place, name) for place, name, _ in precision._places()]


@pytest.fixture
def fast() -> Iterator[list[object]]:
    """A program that has chosen speed, as far as this build of torch can be told."""
    before = settings()
    for place, name, exact in precision._places():
        setattr(place, name, "tf32" if exact == "ieee" else True)
    yield settings()
    for (place, name, _), value in zip(precision._places(), before, strict=True):
        setattr(place, name, value)


def exact() -> list[object]:
    return [value for _, _, value in precision._places()]


def test_settings_are_put_back(fast: list[object]) -> None:
    with full_float32():
        assert settings() == exact()
    assert settings() == fast != exact()


def test_settings_are_put_back_after_an_error(fast: list[object]) -> None:
    with pytest.raises(RuntimeError, match="inside"), full_float32():
        raise RuntimeError("inside")
    assert settings() == fast


class Witness(nn.Module):
    """An encoder that notes the settings it runs under."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[object]] = []

    def encode(self, windows: torch.Tensor) -> torch.Tensor:
        self.seen.append(settings())
        return windows[:, 0]


def test_embeddings_are_made_in_full_precision(fast: list[object]) -> None:
    witness = Witness()
    embed(witness, torch.zeros(3, 4, 2))
    assert witness.seen == [exact()]
    assert settings() == fast


def test_training_leaves_the_settings_alone(fast: list[object]) -> None:
    DISC(3, epochs=1, refine_epochs=1, settings=TINY).fit(grouped_windows()[0])
    assert settings() == fast


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device with TensorFloat-32")
def test_on_cuda_the_embeddings_do_not_depend_on_tensorfloat32(fast: list[object]) -> None:
    x = grouped_windows()[0]
    disc = DISC(3, epochs=1, refine_epochs=1, settings={**TINY, "hidden": 128})
    model = disc.fit(x, options=FitOptions("cpu"))
    windows, autoencoder = torch.from_numpy(x), model.fitted_.module
    wanted = embed(autoencoder, windows)
    on_cuda = embed(autoencoder.cuda(), windows.cuda()).cpu()
    np.testing.assert_allclose(on_cuda, wanted, atol=2e-5)
