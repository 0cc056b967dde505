"""Small changes of windows that leave their activity as it is."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disc_stream.models.layers import Seeded
from disc_stream.training.guided.config import GuidedConfig

_MOST = 2.0  # standard deviations that a sensor is turned
_ALIKE = 30.0  # ratio of the levels of channels that may be one sensor's axes


class Augmentation(Seeded):
    """Warps time, turns sensors a little, scales channels and adds noise; every window in its own way.

    Nothing is negated, and gravity stays about where it is: it tells postures apart.

    Args:
        config: how much of each.
        windows: (n, T, C) of the training, in physical units.
    """

    deviation: Tensor

    def __init__(self, config: GuidedConfig, windows: Tensor) -> None:
        super().__init__()
        self._config = config
        self.register_buffer("deviation", windows.std((0, 1)), persistent=False)
        self._axes = config.network.axes
        self._sensors = _sensors(windows, self._axes)

    def forward(self, windows: Tensor, start: int, length: int) -> Tensor:
        """Changed parts of windows.

        Args:
            windows: (B, T, C) in physical units.
            start: sample at which the part begins.
            length: n, samples of it.

        Returns:
            (B, n, C).
        """
        config, random = self._config, self.generator(windows.device)
        part = windows[:, start : start + length]
        if config.warp > 0.0:
            part = self._warped(windows, start, length)
        if config.rotation > 0.0 and self._sensors:
            part = self._turned(part)
        batch, _, channels = part.shape
        if config.scaling > 0.0:
            size = torch.randn(batch, 1, channels, generator=random, device=part.device)
            part = part * torch.exp(config.scaling * size)
        if config.noise > 0.0:
            most = config.noise * torch.rand(batch, 1, 1, generator=random, device=part.device)
            part = part + most * self.deviation * torch.randn(
                part.shape, generator=random, device=part.device
            )
        return part

    def _warped(self, windows: Tensor, start: int, length: int) -> Tensor:
        """The part faster or slower about its middle; what lies beyond the window's ends is mirrored."""
        batch, samples, channels = windows.shape
        draw = torch.rand(batch, 1, generator=self.generator(windows.device), device=windows.device)
        speed = 1.0 + self._config.warp * (2.0 * draw - 1.0)
        middle = (length - 1) / 2
        at = start + middle + speed * (torch.arange(length, device=windows.device) - middle)
        last = samples - 1
        at = (last - (last - at.abs()).abs()).clamp(0.0, last)
        before = at.floor().long().clamp(max=last - 1)
        weight = (at - before).unsqueeze(2)
        index = before.unsqueeze(2).expand(-1, -1, channels)
        return torch.lerp(windows.gather(1, index), windows.gather(1, index + 1), weight)

    def _turned(self, part: Tensor) -> Tensor:
        """Each sensor of three axes about an axis of its own (Rodrigues' formula)."""
        batch, length, channels = part.shape
        groups = channels // self._axes
        random, device = self.generator(part.device), part.device
        axis = torch.randn(batch, groups, 3, generator=random, device=device)
        axis = axis / axis.norm(dim=2, keepdim=True).clamp_min(1e-6)
        angle = torch.randn(batch, groups, 1, generator=random, device=device)
        angle = angle.clamp(-_MOST, _MOST) * math.radians(self._config.rotation)
        chosen = torch.zeros(groups, 1, device=device)
        chosen[self._sensors] = 1.0
        angle = (angle * chosen).unsqueeze(1)
        v, k = part.view(batch, length, groups, 3), axis.unsqueeze(1).expand(-1, length, -1, -1)
        along = (v * k).sum(3, keepdim=True)
        turned: Tensor = v * torch.cos(angle) + torch.linalg.cross(k, v) * torch.sin(angle)
        turned = turned + k * along * (1.0 - torch.cos(angle))
        return turned.reshape(part.shape)


def _sensors(windows: Tensor, axes: int) -> list[int]:
    """Groups of three successive channels that can be the axes of one sensor: their levels are comparable."""
    channels = windows.shape[2]
    if axes != 3 or channels % 3:
        return []
    level = windows.square().mean((0, 1)).sqrt().view(-1, 3)
    alike = level.amax(1) <= _ALIKE * level.amin(1)
    return [int(group) for group in alike.nonzero().flatten()]
