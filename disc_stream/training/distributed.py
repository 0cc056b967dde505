"""Joining the processes that torchrun has started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed

from disc_stream.errors import ConfigError
from disc_stream.models.collectives import rank, world_size


@contextmanager
def joined(device: str = "auto") -> Iterator[None]:
    """Train together with the other processes of this torchrun; in a process of its own, alone.

    Processes on CUDA have a device each and talk through NCCL, others through gloo; where all of them are on
    this machine, gloo stays on the loopback interface.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``, the same as is given to the training.

    Raises:
        ConfigError: if there are fewer CUDA devices than processes here.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or distributed.is_initialized():
        yield
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    on_cuda = device != "cpu" and torch.cuda.is_available()
    if on_cuda:
        if local >= torch.cuda.device_count():
            raise ConfigError(
                f"process {local} has no CUDA device: there are {torch.cuda.device_count()}",
                remedy="Start at most one process for each, or use --device cpu",
            )
        torch.cuda.set_device(local)
    elif os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group("nccl" if on_cuda else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def own_share(batch: Tensor) -> Tensor:
    """This process's part of a batch of indices (B,); the parts are of nearly equal size."""
    return batch.tensor_split(world_size())[rank()]


def require_shares(n_windows: int, n_batches: int) -> None:
    """Check that every batch has a window for each process.

    Raises:
        ConfigError: if some has not.
    """
    if n_windows // n_batches < world_size():
        raise ConfigError(
            f"a batch of {n_windows // n_batches} windows cannot be shared by {world_size()} processes",
            remedy="Use larger batches or fewer processes",
        )
