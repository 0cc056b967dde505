"""Trainings of a size: which shape fits, whom not to learn from, whether the result agrees enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from disc_stream.artifacts.sizes import Agreement, Multiplications, SizeInfo
from disc_stream.errors import ConfigError, TrainingError, did_you_mean
from disc_stream.training.fitting import infer
from disc_stream.training.guided.config import GuidedConfig
from disc_stream.training.guided.sizes import PRESET_OF_SIZE, SIZE_OF_PRESET, Cost, cost_of, is_smaller
from disc_stream.training.recipes import RECIPES
from disc_stream.training.recipes.base import DEFAULT_PRESET, Learned
from disc_stream.training.recipes.guided import LearnedGuided
from disc_stream.training.task import Task
from disc_stream.types import IntArray

FLOOR = 0.9
_SHARE = 0.2  # of the devices, which a smaller network does not learn from
_METHOD = "disc"


@dataclass(frozen=True, slots=True)
class SizeRequest:
    """What size a network may have.

    Args:
        name: of ``SIZES``; empty for the largest that fits.
        max_kib: of weights; None for any.
        max_mmac: million multiply-adds for half a window; None for any.
        floor: least share of the windows of people held out that must have the teacher's label.
        allow_below: keep a network below it.
    """

    name: str = ""
    max_kib: float | None = None
    max_mmac: float | None = None
    floor: float = FLOOR
    allow_below: bool = False

    def __post_init__(self) -> None:
        """Raises: ConfigError: if a value cannot be used."""
        if self.name and self.name not in PRESET_OF_SIZE:
            raise ConfigError(
                f"there is no size {self.name!r}{did_you_mean(self.name, PRESET_OF_SIZE)}",
                remedy=f"Use one of: {', '.join(PRESET_OF_SIZE)}",
            )
        for name, value in (("KiB", self.max_kib), ("MMAC", self.max_mmac)):
            if value is not None and not value > 0:
                raise ConfigError(f"the budget in {name} must be above 0, got {value:g}")
        if not 0 <= self.floor <= 1:
            raise ConfigError(f"the least agreement must be between 0 and 1, got {self.floor:g}")

    @property
    def budget(self) -> str:
        """In words; empty where there is none."""
        kib = "" if self.max_kib is None else f"{self.max_kib:g} KiB"
        mmac = "" if self.max_mmac is None else f"{self.max_mmac:g} MMAC"
        return " and ".join(part for part in (kib, mmac) if part)

    def admits(self, cost: Cost) -> bool:
        """Whether a network with that cost is within the budget."""
        return cost.kib <= (self.max_kib or np.inf) and cost.mmac_half <= (self.max_mmac or np.inf)


@dataclass(frozen=True, slots=True)
class Sized:
    """A size that was chosen.

    Args:
        preset: that trains it.
        cost: of its network.
    """

    preset: str
    cost: Cost

    @property
    def name(self) -> str:
        """Of ``SIZES``."""
        return SIZE_OF_PRESET[self.preset]

    def info(self, agreement: Agreement | None = None) -> SizeInfo:
        """For ``run.json``."""
        cost = self.cost
        return SizeInfo(
            name=self.name,
            weights_kib=round(cost.kib, 1),
            mmac=Multiplications(half=round(cost.mmac_half, 4), whole=round(cost.mmac_whole, 4)),
            agreement=agreement,
        )


def check_sizable(method: str, preset: str, settings: Mapping[str, Any]) -> None:
    """Check that a training with these can have a size.

    Raises:
        ConfigError: if it cannot.
    """
    if method != _METHOD:
        raise ConfigError(f"{method} has one size", remedy=f"Leave the size out, or use --method {_METHOD}")
    known = preset == DEFAULT_PRESET or preset in SIZE_OF_PRESET
    if not known or not isinstance(RECIPES[_METHOD].resolve(preset, settings), GuidedConfig):
        raise ConfigError(
            "sizes are those of the preset guided, with targets that carry over",
            remedy="Leave out --preset and targets, or the size",
        )


def choose(request: SizeRequest, shape: tuple[int, int], settings: Mapping[str, Any]) -> Sized:
    """The size of that name, or the largest within the budget.

    Args:
        request: name and budget.
        shape: T and C of the windows.
        settings: that replace the preset's, the network's among them.

    Raises:
        ConfigError: if it is not within the budget, or none is.
    """
    sizes = []
    for preset in [PRESET_OF_SIZE[request.name]] if request.name else SIZE_OF_PRESET:
        config: GuidedConfig = RECIPES[_METHOD].resolve(preset, settings)
        sizes.append(Sized(preset, cost_of(config.network, *shape)))
    for size in sizes:
        if request.admits(size.cost):
            return size
    cost = sizes[-1].cost
    which = f"size {request.name}" if request.name else f"the smallest size, {sizes[-1].name},"
    raise ConfigError(
        f"no network fits into {request.budget}: {which} has {cost.kib:.1f} KiB of weights and needs "
        f"{cost.mmac_half:.3f} MMAC for half a window of {shape[0]} samples × {shape[1]} channels",
        remedy="Allow as much, or use fewer channels",
    )


def held_out_windows(devices: IntArray, seed: int) -> npt.NDArray[np.bool_]:
    """Windows (n,) of a fifth of the devices, at random, at least one; none where there is one device."""
    names = np.unique(devices)
    if len(names) < 2:
        return np.zeros(len(devices), dtype=np.bool_)
    chosen = np.random.default_rng(seed).permutation(names)[: max(1, round(_SHARE * len(names)))]
    return np.isin(devices, chosen)


def measure(learned: Learned, task: Task, floor: float) -> Agreement | None:
    """How many of the windows held out have the teacher's label; None if none are held out."""
    out = task.held_out
    if out is None or not out.any() or not isinstance(learned, LearnedGuided):
        return None
    teacher, windows = learned.found[out], task.windows[out]
    half, whole = (
        float((infer(learned.net, windows[:, :n])[1].argmax(1) == teacher).mean())
        for n in (learned.n_input, learned.n_longer)
    )
    people = 1 if task.devices is None else len(np.unique(task.devices[out]))
    return Agreement(half=half, whole=whole, windows=int(out.sum()), people=people, floor=floor)


def judged(size: Sized, request: SizeRequest, learned: Learned, task: Task) -> dict[str, Any]:
    """What ``run.json`` says of a size, with the agreement of sizes smaller than the default one.

    Raises:
        TrainingError: if such a network agrees less with the teacher than it must.
    """
    if not is_smaller(size.name):
        return size.info().model_dump(mode="json")
    agreement = measure(learned, task, request.floor)
    if not request.allow_below:
        _require(agreement)
    return size.info(agreement).model_dump(mode="json")


def _require(agreement: Agreement | None) -> None:
    accept = "or accept it: the same command with --allow-below --resume"
    if agreement is None:
        raise TrainingError(
            "a smaller network's agreement with the teacher cannot be measured with one person",
            remedy=f"Learn from several people, {accept}",
        )
    if agreement.least < agreement.floor:
        raise TrainingError(
            f"the network agrees too little with its teacher: {agreement}",
            remedy=f"Train a larger size, {accept}",
        )
