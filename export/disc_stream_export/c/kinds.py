"""What the generator needs to know of a kind of model: how its encoder is written in C.

Everything behind the encoder is the same for all kinds: the ring, the hop, the assignment, the smoothing.
A new kind is a module with one object of this protocol, named in ``KINDS``.
"""

from __future__ import annotations

from typing import Protocol

from disc_stream.artifacts.bundle import Bundle
from disc_stream.errors import ConfigError
from disc_stream_export.c.descriptors import DESCRIPTORS
from disc_stream_export.c.parts import EncoderParts


class Kind(Protocol):
    """One kind of model."""

    name: str

    def fits(self, bundle: Bundle) -> bool:
        """Whether a bundle holds a model of this kind."""
        ...

    def parts(self, bundle: Bundle) -> EncoderParts:
        """Its encoder.

        Raises:
            BundleError: if the graph is not as exports of this kind are.
        """
        ...


KINDS: tuple[Kind, ...] = (DESCRIPTORS,)


def kind_of(bundle: Bundle) -> Kind:
    """The kind of a bundle's model.

    Raises:
        ConfigError: if there is no encoder in C for it.
    """
    for kind in KINDS:
        if kind.fits(bundle):
            return kind
    known = " and ".join(kind.name for kind in KINDS)
    raise ConfigError(
        f"a model of the method {bundle.manifest.training.method} cannot be exported as C; {known} can",
        remedy="Use `disc-stream train --method disc-plus`, or run the bundle's graph with onnxruntime",
    )
