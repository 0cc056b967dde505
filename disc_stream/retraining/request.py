"""What a retraining is asked to do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from disc_stream.retraining.gate import GateLimits


class RetrainRequest(BaseModel):
    """Everything that has an influence on the result, and where things are."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    models: Path = Field(description="folder of the registry")
    state: Path = Field(description="state folder of the server")
    prefix: str = "ds/v1"
    method: str = Field("disc", description="recipe")
    preset: str = Field("default", description="of the method; default: as in production, or its own")
    settings: dict[str, Any] = Field(default_factory=dict, description="replace those of the preset")
    clusters: Annotated[int, Field(ge=2, le=4096)] | Literal["auto"] | None = Field(
        None,
        description="K, or `auto` to find it in the motion alone; default: as many as in production, and one "
        "for each group of new motion; found in the motion for a first model",
    )
    seed: int = Field(0, ge=0, lt=2**32)
    windows: int = Field(20_000, ge=8, description="that are learned from, at most")
    half_life_days: float = Field(
        7.0, gt=0, description="age at which windows have half the odds of being chosen"
    )
    window_s: float = Field(2.56, ge=0.1, description="length of windows, for a first model")
    from_scratch: bool = Field(False, description="do not go on from the weights in production")
    examples: bool = Field(True, description="keep some windows of each cluster with the new version")
    device: str = Field("auto", description="auto, cpu or cuda")
    threads: int | None = Field(None, ge=1, description="of the candidate while it is judged; None for all")
    trusted_key: tuple[Path, ...] | None = None
    sign_key: Path | None = None
    promote: bool = Field(True, description="put the candidate into production if it passes the gate")
    who: str = "disc-stream retrain"
    why: str = "asked for"
    limits: GateLimits = Field(default_factory=GateLimits)

    def digest(self) -> str:
        """Stands for everything that has an influence on what is learned."""
        names = {
            "method", "preset", "settings", "clusters", "seed", "windows", "half_life_days", "window_s",
            "from_scratch", "prefix",
        }  # fmt: skip
        text = json.dumps(self.model_dump(mode="json", include=names), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Progress(NamedTuple):
    """How far a retraining is.

    Args:
        phase: ``replay``, ``train``, ``export``, ``align``, ``gate`` or ``promote``.
        done: of ``total``.
        total: None if it is not known.
        words: for people.
    """

    phase: str
    done: int
    total: int | None
    words: str


Tell = Callable[[Progress], None]


def tell_nobody(_progress: Progress) -> None:
    """For whoever does not want to know."""
