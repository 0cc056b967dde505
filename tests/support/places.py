"""A state folder and a registry beside it, in which retrainings are made within the test's process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from disc_stream.registry import Author, Registry
from disc_stream.retraining.pipeline import Outcome, retrain
from disc_stream.retraining.request import Progress, RetrainRequest, Tell, tell_nobody
from tests.support.spools import TINY_SETTINGS, WINDOW_S, label_all, write_fleet

ANN = Author("ann")
DEVICES = ["arm", "hip", "leg"]
BATCHES = 36
NAMES = ("Anna lies", "Anna stands", "Anna shakes")
SETTINGS = ["--preset", "small"] + [
    word for name, value in TINY_SETTINGS.items() for word in ("--set", f"{name}={value}")
]


@dataclass
class Place:
    """A state folder and a registry."""

    path: Path

    @property
    def state(self) -> Path:
        return self.path / "state"

    @property
    def models(self) -> Path:
        return self.path / "models"

    @property
    def work(self) -> Path:
        return self.state / "retraining"

    def request(self, **changes: object) -> RetrainRequest:
        """Of the tiny settings."""
        values = {
            "models": self.models, "state": self.state, "window_s": WINDOW_S,
            "preset": "small", "settings": TINY_SETTINGS, "clusters": 3, "threads": 1, "device": "cpu",
        }  # fmt: skip
        return RetrainRequest.model_validate({**values, **changes})

    def retrain(self, tell: Tell = tell_nobody, *, discard: bool = False, **changes: object) -> Outcome:
        """Within this process, on one thread."""
        torch.set_num_threads(1)
        return retrain(self.request(**changes), tell, discard=discard)

    def words(self, *more: object) -> list[object]:
        """Of the command, without settings."""
        return [
            "retrain", "--models", self.models, "--state", self.state, "--nice", 0, "--threads", 1,
            "--device", "cpu", *more,
        ]  # fmt: skip

    def grow(self, batches: int, first: int, **how: object) -> None:
        """More is received and labelled."""
        write_fleet(self.state, DEVICES, batches, first=first, **how)
        with Registry.open(self.models) as registry:
            label_all(self.state, registry)

    def leftovers(self) -> set[str]:
        """What is in the working folder."""
        return {path.name for path in self.work.iterdir()} - {"lock"}


def write_collected(folder: Path) -> Path:
    """A server without a model has collected; the folder of a place."""
    place = Place(folder)
    write_fleet(place.state, DEVICES, BATCHES)
    Registry.create(place.models).close()
    return place.path


def write_grown(collected: Path, folder: Path) -> Path:
    """A first model is in production, its clusters have names, and more was received since."""
    place = Place(Path(shutil.copytree(collected, folder / "place")))
    first = place.retrain()
    assert not first.rejected
    assert first.deployment is not None
    with Registry.open(place.models) as registry:
        for own, name in enumerate(NAMES):
            registry.clusters.name(own, name, ANN)
    place.grow(18, BATCHES)
    return place.path


def names_of(models: Path) -> dict[int, str]:
    """Own id -> name, of what is in production."""
    with Registry.open(models) as registry:
        catalogue = registry.catalogue_of("current")
    return dict(zip(catalogue.ids, catalogue.names, strict=True))


def current(models: Path) -> int | None:
    with Registry.open(models) as registry:
        deployment = registry.current()
    return None if deployment is None else deployment.version_number


class Stopped(BaseException):
    """Whoever watched has had enough."""


def at(phase: str, do: Callable[[], object], nth: int = 1) -> Tell:
    """Do something when a phase tells of itself for the nth time."""
    count = 0

    def tell(progress: Progress) -> None:
        nonlocal count
        if progress.phase == phase:
            count += 1
            if count == nth:
                do()

    return tell


def stop() -> None:
    raise Stopped
