"""One cell of the table: a method on a dataset, under a protocol, from one seed."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from disc_stream.errors import DataError

Protocol = Literal["paper", "stream", "adapted"]
PROTOCOLS: tuple[Protocol, ...] = ("paper", "stream", "adapted")
NO_PRESET = "none"


@dataclass(frozen=True, slots=True)
class CellKey:
    """What makes a cell.

    Args:
        dataset: name, or a .npz file.
        protocol: ``paper``, ``stream`` or ``adapted``.
        method: name of the method.
        preset: of hyper-parameters; ``none`` for methods without.
        seed: of the method.
    """

    dataset: str
    protocol: Protocol
    method: str
    preset: str
    seed: int

    @property
    def dataset_name(self) -> str:
        """Of a file its name alone, which is the same on every machine and stays inside the results."""
        return Path(self.dataset).name

    def path(self, root: Path, config_hash: str) -> Path:
        """Its file."""
        name = f"{self.method}-{self.preset}-{config_hash[:8]}-seed{self.seed}.json"
        return root / self.dataset_name / self.protocol / name


class Cell(BaseModel):
    """A finished cell, as it lies in its file; metrics are between 0 and 1.

    ``scores`` has ``train`` and ``test``, and in the ``stream`` protocol ``test_causal`` (smoothed by what
    came before) and ``test_noncausal`` (by all before and after): each NMI, ACC, ARI and AMI. In the
    ``adapted`` protocol the centroids of all three follow each device: those of ``test_noncausal`` by all
    of its windows, the others by what came before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    protocol: Protocol
    method: str
    preset: str
    seed: int
    config: dict[str, Any] = Field(description="every hyper-parameter, of the method and of the protocol")
    config_hash: str = Field(description="sha256 of config and dataset fingerprint")
    fingerprint: str = Field(description="of the training windows")
    split: str = Field(description="how training and test part were told apart")
    n_clusters: int
    scores: dict[str, dict[str, float]]
    epochs: dict[str, int]
    seconds: float = Field(description="fit, with the training of a shared autoencoder, and prediction")
    hardware: str
    software: dict[str, str]
    date: str


def hash_of(config: dict[str, Any], fingerprint: str) -> str:
    """The same settings on the same windows give the same hash."""
    text = json.dumps({"config": config, "windows": fingerprint}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_cell(path: Path, cell: Cell) -> None:
    """Write a cell so that its file is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(cell.model_dump_json(indent=1) + "\n")
    temporary.replace(path)


def read_cell(path: Path) -> Cell:
    """Read a cell.

    Raises:
        DataError: if the file is not one.
    """
    try:
        return Cell.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(
            f"{str(path)!r} is not a cell of the table: {str(error).splitlines()[0]}",
            remedy="Remove it, to compute it again",
        ) from error


def read_cells(root: Path) -> list[Cell]:
    """All cells under a folder, in the order of their paths."""
    return [read_cell(path) for path in sorted(root.rglob("*-seed*.json"))]


def hardware() -> str:
    """Processor, cores used and GPU, in words."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    words = f"{model}, {os.cpu_count()} cores"
    import torch

    words += f", {torch.get_num_threads()} threads"
    return f"{words}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else words


def unique_in_order(items: Iterable[str]) -> list[str]:
    """Without repetitions."""
    return list(dict.fromkeys(items))
