"""Models of earlier demos, kept in the user's cache folder with all that the registry is told of them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from disc_stream.artifacts.bundle import Bundle
from disc_stream.errors import ConfigError, DiscStreamError
from disc_stream.registry import Lineage, RowIds, VersionInfo

FACTS_FILE = "facts.json"
_VERSION_FILE, _BUNDLE, _RUN = "version.json", "bundle", "run"


@dataclass(frozen=True, slots=True)
class Facts:
    """How a kept model came about.

    Args:
        windows: it learned from.
        motion_s: seconds of motion that were collected, all devices together.
        devices: how many they were.
        messages: they came in.
        collect_s: seconds that collecting took.
        training_s: seconds from there to its promotion.
    """

    windows: int
    motion_s: float
    devices: int
    messages: int
    collect_s: float
    training_s: float


class Origin(BaseModel):
    """What the registry is told of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lineage: Lineage
    proposal: RowIds


@dataclass(frozen=True, slots=True)
class KeptModel:
    """A model of an earlier demo.

    Args:
        bundle: where it is.
        run: its training, which a retraining can go on from.
        facts: how it came about.
        origin: what the registry is told of it.
    """

    bundle: Path
    run: Path
    facts: Facts
    origin: Origin


@dataclass(frozen=True, slots=True)
class KeptModels:
    """Where models of earlier demos are, and whether they may be used.

    Args:
        folder: of them all.
        retrain: learn anew in any case.
    """

    folder: Path
    retrain: bool

    def require(self) -> None:
        """Check that a model can be kept, before anything is begun.

        Raises:
            ConfigError: if not.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.folder, prefix=".learning-"):
                pass
        except OSError as error:
            raise self._unusable(error) from error

    def find(self, key: str) -> KeptModel | None:
        """The model of this key, if there is one and it may be used.

        Raises:
            ConfigError: if there is one that cannot be used.
        """
        folder = self.folder / key
        if self.retrain or not (folder / FACTS_FILE).is_file():
            return None
        try:
            facts = Facts(**json.loads((folder / FACTS_FILE).read_text(encoding="utf-8")))
            origin = Origin.model_validate_json((folder / _VERSION_FILE).read_bytes())
            Bundle.open(folder / _BUNDLE)
        except (DiscStreamError, OSError, ValueError, TypeError) as error:
            raise ConfigError(f"the model kept in {str(folder)!r} cannot be used ({error})") from error
        return KeptModel(folder / _BUNDLE, folder / _RUN, facts, origin)

    def keep(self, key: str, info: VersionInfo, run: Path, facts: Facts) -> KeptModel:
        """Copy a version of a registry and its training here, in one step.

        Raises:
            ConfigError: if the folder cannot be written.
        """
        folder = self.folder / key
        origin = Origin(lineage=info.lineage, proposal=info.proposal)
        try:
            with tempfile.TemporaryDirectory(dir=self.folder, prefix=".learning-") as scratch:
                new = Path(scratch) / "new"
                shutil.copytree(info.path, new / _BUNDLE)
                shutil.copytree(run, new / _RUN)
                (new / _VERSION_FILE).write_text(origin.model_dump_json(indent=2) + "\n", encoding="utf-8")
                (new / FACTS_FILE).write_text(json.dumps(asdict(facts), indent=2) + "\n", encoding="utf-8")
                shutil.rmtree(folder, ignore_errors=True)
                new.replace(folder)
        except OSError as error:
            raise self._unusable(error) from error
        return KeptModel(folder / _BUNDLE, folder / _RUN, facts, origin)

    def _unusable(self, error: OSError) -> ConfigError:
        return ConfigError(
            f"the model cannot be kept in {str(self.folder)!r}: {error.strerror or error}",
            remedy="Name another folder with --cache",
        )


def default_cache() -> Path:
    """The user's cache folder for models of the demo (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME")
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "disc-stream" / "demo"
