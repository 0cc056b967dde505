"""disc-plus from a trained model: the same map, and clusters where the model finds windows unknown."""

from __future__ import annotations

import time

import numpy as np
import torch

from disc_stream.errors import ConfigError
from disc_stream.models.descriptors import DescriptorNet, Descriptors
from disc_stream.training.centroids import nearest
from disc_stream.training.fitting import infer
from disc_stream.training.plus.config import PlusConfig
from disc_stream.training.plus.fitting import FittedPlus
from disc_stream.training.plus.searchlog import PHASE
from disc_stream.training.task import Task
from disc_stream.training.warm import Carried, WarmStart
from disc_stream.types import Float32Array


def grow_plus(windows: Float32Array, task: Task, config: PlusConfig, warm: WarmStart) -> FittedPlus:
    """Go on from a model: its map and its centroids stay, and it gets as many more or fewer as it takes.

    The map separates what the old clusters were; a new kind of motion is found if the map puts it far from
    all of them. What it puts among them, only a training from scratch can tell apart.

    Args:
        windows: (n, T, C), by device and time.
        task: number of clusters, seed.
        config: hyper-parameters; those of the descriptors must be those of the model.
        warm: the model.

    Raises:
        ConfigError: if the model is no disc-plus of these windows and settings.
    """
    began = time.perf_counter()
    try:
        state = warm.state
        scale = state["descriptors.scale"]
        descriptors = Descriptors(windows.shape[1], scale, bands=config.bands, axes=config.axes)
        net = DescriptorNet(descriptors, state["project"], state["shift"], warm.centroids)
        net.load_state_dict({**state, "centroids": warm.centroids})
        z = infer(net, windows)[0]
    except (KeyError, RuntimeError) as error:
        raise ConfigError(
            "a training cannot go on from a model of another shape or method",
            remedy="Use the method, settings, window and channels of that model, or start from scratch",
        ) from error
    centroids = Carried.of(warm, z).centroids(z, task.n_clusters, seed=task.seed)
    net = DescriptorNet(descriptors, net.project, net.shift, torch.from_numpy(centroids))
    labels = nearest(z, centroids)
    far = np.square(z - centroids[labels], dtype=np.float64).sum(1)
    seconds = time.perf_counter() - began
    history = [{"phase": PHASE, "kind": "grown", "score": -float(far.mean()), "seconds": seconds}]
    return FittedPlus(net, labels, 0, -float(far.mean()), history)
