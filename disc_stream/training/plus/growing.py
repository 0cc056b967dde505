"""disc-plus from a trained model: the same map with a coordinate more for every group of new motion."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from disc_stream.clustering.newmotion import NewMotion, Whitening
from disc_stream.errors import ConfigError
from disc_stream.models.descriptors import DescriptorNet
from disc_stream.training.births import MOST, offset_of, untouched
from disc_stream.training.centroids import nearest
from disc_stream.training.fitting import infer
from disc_stream.training.plus.config import PlusConfig
from disc_stream.training.plus.fitting import FittedPlus
from disc_stream.training.plus.searchlog import PHASE
from disc_stream.training.task import Task
from disc_stream.training.warm import Carried, WarmStart
from disc_stream.types import Float32Array, IntArray

Array = npt.NDArray[np.float64]

_BATCH = 2048
_TINY = 1e-9


def grow_plus(
    windows: Float32Array, devices: IntArray, task: Task, config: PlusConfig, warm: WarmStart
) -> FittedPlus:
    """Go on from a model: its map and its centroids stay, and it gets as many more or fewer as it takes.

    The map separates what the old clusters were, and may put a new kind of motion among them. So a group of
    new motion, found by descriptors (``clustering.newmotion``), gets a coordinate of its own: the direction
    that tells it from the known windows where it was put, among those that the map does not use. The old
    centroids have 0 there. That adds the same to the distances to all of them: no window changes from one old
    cluster to another, whatever is added, and what goes to the fresh centroid is bounded (``births``).

    Args:
        windows: (n, T, C), by device and time.
        devices: (n,).
        task: number of clusters, whether it may grow, seed.
        config: hyper-parameters; those of the descriptors must be those of the model.
        warm: the model.

    Raises:
        ConfigError: if the model is no disc-plus of these windows and settings.
    """
    began = time.perf_counter()
    net = _network_of(warm, windows, config)
    z = infer(net, windows)[0]
    if warm.known is not None and warm.known.fits(windows):
        rows = nearest(z, warm.centroids.numpy())
        most = MOST if task.grow else min(MOST, max(0, task.n_clusters - len(warm.centroids)))
        net = _with_groups(net, windows, rows, warm.known.new_in(windows, rows, devices), most)
        z = infer(net, windows)[0]
    born = len(net.centroids) - len(warm.centroids)
    n_clusters = task.n_clusters + born if task.grow else task.n_clusters
    radius = None if warm.radius is None else np.append(warm.radius, np.full(born, np.inf, dtype=np.float32))
    grown = replace(warm, centroids=net.centroids, radius=radius)
    centroids = Carried.of(grown, z).centroids(z, n_clusters, seed=task.seed)

    net = DescriptorNet(net.descriptors, net.project, net.shift, torch.from_numpy(centroids))
    labels = nearest(z, centroids)
    far = np.square(z - centroids[labels], dtype=np.float64).sum(1)
    seconds = time.perf_counter() - began
    history = [
        {"phase": PHASE, "kind": "grown", "score": -float(far.mean()), "seconds": seconds, "groups": born}
    ]
    return FittedPlus(net, labels, 0, -float(far.mean()), history)


def _network_of(warm: WarmStart, windows: Float32Array, config: PlusConfig) -> DescriptorNet:
    try:
        state = {**warm.state, "centroids": warm.centroids}
        net = DescriptorNet.of_state(state, windows.shape[1], bands=config.bands, axes=config.axes)
        infer(net, windows[:1])
    except (KeyError, RuntimeError) as error:
        raise ConfigError(
            "a training cannot go on from a model of another shape or method",
            remedy="Use the method, settings, window and channels of that model, or start from scratch",
        ) from error
    return net


def _with_groups(
    net: DescriptorNet, windows: Float32Array, rows: IntArray, new: NewMotion, most: int
) -> DescriptorNet:
    """The network with a coordinate and a centroid more for each group that can be told apart."""
    if not new.groups or most == 0:
        return net
    with torch.no_grad():
        parts = [net.descriptors(part) for part in torch.split(torch.from_numpy(windows), _BATCH)]
    x = torch.cat(parts).numpy().astype(np.float64)
    known, n_old = untouched(new), len(net.centroids)
    whiten = Whitening.of(x[known], rows[known])
    for group in new.groups:
        if len(net.centroids) - n_old == most:
            break
        now = nearest(infer(net, windows[group])[0], net.centroids.numpy())
        if 2 * (now >= n_old).sum() > len(group):
            continue  # the centroid of a larger group has it already
        direction = _direction(net, whiten, x, rows, group, known)
        net = _with_centroid(net, x, direction, group, known) or net
    return net


def _direction(
    net: DescriptorNet,
    whiten: Whitening,
    x: Array,
    rows: IntArray,
    group: IntArray,
    known: npt.NDArray[np.bool_],
) -> tuple[Array, float]:
    """Column and offset of a coordinate, the group as far as possible from the known windows beside it.

    Those have a mean of 0 and a variance of about 1 there; directions of the network's own map are left out.
    """
    y = whiten(x)
    old = whiten.directions_of(net.project.numpy().astype(np.float64))
    basis, lengths, _ = np.linalg.svd(old, full_matrices=False)
    basis = basis[:, lengths > _TINY * lengths.max()]
    y -= (y @ basis) @ basis.T
    share = np.bincount(rows[group], minlength=1 + int(rows.max())) / len(group)
    weight = np.where(known, share[rows], 0.0)
    middle = weight @ y / max(float(weight.sum()), _TINY)
    apart = y[group].mean(0) - middle
    unit = apart / max(float(np.linalg.norm(apart)), _TINY)
    column = whiten.project @ unit
    return column, -float(whiten.mean @ column + middle @ unit)


def _with_centroid(
    net: DescriptorNet,
    x: Array,
    direction: tuple[Array, float],
    group: IntArray,
    known: npt.NDArray[np.bool_],
) -> DescriptorNet | None:
    """None where the group cannot be told from known windows."""
    project, shift = net.project.numpy().astype(np.float64), net.shift.numpy().astype(np.float64)
    project = np.column_stack([project, direction[0]])
    shift = np.append(shift, direction[1])
    old = np.pad(net.centroids.numpy().astype(np.float64), ((0, 0), (0, 1)))
    z = x @ project + shift
    centroid = z[group].mean(0)
    offset = offset_of(z, old, centroid, group, known)
    # A coordinate that is 0 for every window: centroids have their clusters' shares there (Discriminant).
    idle = np.flatnonzero(~project.any(0) & (shift == 0.0))
    if offset is None or (offset > 0.0 and not len(idle)):
        return None
    if len(idle):
        centroid[idle[0]] = np.sqrt(offset)
    parts = (torch.from_numpy(part) for part in (project, shift, np.vstack([old, centroid])))
    return DescriptorNet(net.descriptors, *parts)
