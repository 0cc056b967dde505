"""What the encoder needs of a runtime, whichever it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from disc_stream.types import Float32Array

Provider = Literal["auto", "cpu", "cuda", "openvino", "openvino-bf16", "numpy"]
Concrete = Literal["cpu", "cuda", "openvino", "openvino-bf16", "numpy"]

FLOAT = "tensor(float)"
OUTPUTS = ("embedding", "q", "distance")

Outputs = tuple[Float32Array, Float32Array, Float32Array]


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph as the runtime has read it.

    Args:
        name: in the graph.
        type: of its elements, as ONNX writes it.
        shape: a number for each fixed axis, None for a free one.
    """

    name: str
    type: str
    shape: Sequence[int | None]


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What a graph says of itself.

    Args:
        inputs: in order.
        outputs: in order.
        metadata: the text under ``METADATA_KEY``, None if there is none.
    """

    inputs: Sequence[Port]
    outputs: Sequence[Port]
    metadata: str | None


class Session(Protocol):
    """A graph ready to run; may be called from several threads."""

    @property
    def provider(self) -> Concrete:
        """What runs it."""
        ...

    @property
    def buckets(self) -> Sequence[int]:
        """Batch sizes that batches are padded to, ascending; none where every size runs equally well."""
        ...

    def facts(self) -> GraphFacts:
        """What the graph says of itself."""
        ...

    def warm_up(self, shape: tuple[int, int], most: int) -> None:
        """Run windows of zeros (T, C), in every size that batches of at most ``most`` are padded to."""
        ...

    def run(self, x: Float32Array) -> Outputs:
        """Embedding (B, D), q (B, K) and distance (B, K), all float32, of windows (B, T, C), B at least 1.

        What is returned is the caller's: no later call writes into it.
        """
        ...
