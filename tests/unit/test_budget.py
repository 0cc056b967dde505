"""One number for the memory: the bounds that follow from it, and that they hold."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import pytest

from disc_stream.config import ServeConfig
from disc_stream.errors import ConfigError
from disc_stream_server.budget import BASE_BYTES, FLOW_BYTES, Bounds, bounds


def config(**settings: int) -> ServeConfig:
    return ServeConfig.model_validate({"bundle": Path("bundle"), **settings})


def test_the_defaults_fit_into_the_default_memory() -> None:
    found = bounds(config())
    assert (found.receive_maximum, found.queue_bytes, found.max_devices) == (1_000, 16 * 2**20, 20_000)


@pytest.mark.parametrize("memory_mb", [256, 300, 512, 700, 1024, 4096])
@pytest.mark.parametrize("payload", [4_096, 262_144, 1_000_000])
def test_full_queues_never_exceed_the_memory_and_grow_with_it(memory_mb: int, payload: int) -> None:
    found = bounds(config(memory_mb=memory_mb, max_payload_bytes=payload))
    assert found.need(payload) + BASE_BYTES + FLOW_BYTES <= memory_mb * 2**20
    more = bounds(config(memory_mb=2 * memory_mb, max_payload_bytes=payload))
    assert all(high >= low for low, high in zip(astuple(found), astuple(more), strict=True))


def test_a_setting_is_an_upper_limit_and_none_is_raised() -> None:
    given = config(memory_mb=10_000, receive_maximum=5, queue_bytes=2**16, max_devices=3)
    assert bounds(given) == Bounds(5, 2**16, 20_000, 200_000, 16 * 2**20, 3)


def test_too_little_memory_is_refused_with_how_much_is_enough() -> None:
    with pytest.raises(ConfigError) as caught:
        bounds(config(memory_mb=128, max_payload_bytes=8 * 2**20))
    assert "128 MiB" in caught.value.message
    assert caught.value.remedy is not None
    enough = int(caught.value.remedy.split("--memory-mb ")[1].split()[0])
    assert bounds(config(memory_mb=enough, max_payload_bytes=8 * 2**20)).receive_maximum >= 16
    with pytest.raises(ConfigError):
        bounds(config(memory_mb=enough - 1, max_payload_bytes=8 * 2**20))
